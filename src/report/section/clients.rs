//! How the model serves each client, not only their mean.

use std::collections::BTreeMap;

use tributary_common::id::{ClientId, Version};
use tributary_common::metrics::Summary;

use super::{section, side_name};
use crate::report::plot::{Band, Curve, Curves, DOTS_MAX, Dots, Unit, five};
use crate::report::story::{SIDES, Story};

/// A measure of a client: how to take it, and how it reads.
struct Measure {
    name: &'static str,
    unit: Unit,
    of: fn(&Summary) -> Option<f64>,
}

const MEASURES: [Measure; 3] = [
    Measure { name: "accuracy", unit: Unit::Share, of: |summary| summary.accuracy },
    Measure { name: "loss", unit: Unit::Real, of: |summary| summary.loss },
    Measure { name: "mean absolute error", unit: Unit::Real, of: |summary| summary.mae },
];

/// The spread over clients in the last evaluated version, and over rounds.
pub(super) fn clients(story: &Story) -> String {
    let title = "Across clients";
    // Held-out examples say more than those that were trained on; evaluators are seldom many.
    let side =
        ["local", "train", "central"].into_iter().find(|side| newest(story, side).is_some_and(|(_, c)| c.len() > 1));
    let Some((side, (version, last))) = side.and_then(|side| Some((side, newest(story, side)?))) else {
        let lead = "No measurements of single clients were taken. <code>[evaluate] on = [\"local\"]</code> with \
                    <code>data.holdout</code> makes every client measure the model on examples of its own.";
        return section("clients", title, lead, "");
    };
    let round = story.round_of(version);
    let plots: String = MEASURES.iter().map(|measure| plots(story, side, version, last, measure)).collect();
    let lead = format!(
        "A mean can hide clients that the model serves badly. {} clients: the model of round {round} on {}; \
         below, lowest, quartiles and highest.{}",
        if last.len() > DOTS_MAX {
            format!("Columns count {}", last.len())
        } else {
            format!("Each dot is one of {}", last.len())
        },
        side_name(side),
        if story.rounds.len() > 1 { " Over rounds, the dark band holds the middle half of the clients." } else { "" }
    );
    section("clients", title, &lead, &format!("<div class=\"pair\">\n{plots}</div>\n"))
}

fn newest<'a>(story: &'a Story, side: &str) -> Option<(Version, &'a BTreeMap<ClientId, Summary>)> {
    debug_assert!(SIDES.contains(&side), "sides are named in one place");
    let (version, clients) = story.measured.get(side)?.clients.last_key_value()?;
    Some((*version, clients))
}

fn plots(story: &Story, side: &str, version: Version, last: &BTreeMap<ClientId, Summary>, measure: &Measure) -> String {
    let id = measure.name.replace(' ', "-");
    let clients: Vec<_> =
        last.iter().filter_map(|(client, summary)| Some((client.as_str(), (measure.of)(summary)?))).collect();
    let together = story.measured.get(side).and_then(|measured| measured.totals.get(&version)).and_then(measure.of);
    let dots = Dots {
        id: &format!("clients-{id}"),
        title: &format!("Clients by {}", measure.name),
        unit: measure.unit,
        measure: measure.name,
        clients,
        together,
    };
    let band = band(story, side, measure);
    let middle = band.iter().map(|(round, five)| (*round, five[2])).collect();
    let over_rounds = Curves {
        id: &format!("band-{id}"),
        title: &format!("Client {} over rounds", measure.name),
        unit: measure.unit,
        curves: vec![Curve { name: "median", points: middle }],
        band: band.clone(),
        targets: Vec::new(),
    };
    // One evaluated round is no development: the dots already say all of it.
    let over_rounds = if band.len() > 1 { over_rounds.figure() } else { String::new() };
    dots.figure() + &over_rounds
}

fn band(story: &Story, side: &str, measure: &Measure) -> Band {
    let Some(measured) = story.measured.get(side) else { return Band::new() };
    let rounds: BTreeMap<Version, u64> =
        story.rounds.iter().map(|(round, line)| (line.version, round.0)).chain([(Version(0), 0)]).collect();
    measured
        .clients
        .iter()
        .filter_map(|(version, clients)| {
            let mut values: Vec<f64> =
                clients.values().filter_map(measure.of).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            Some((rounds.get(version).copied().unwrap_or(version.0), five(&values)?))
        })
        .collect()
}
