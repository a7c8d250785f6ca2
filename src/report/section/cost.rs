//! What the run took: time and bytes, by round and in all.

use super::section;
use crate::report::markup;
use crate::report::number::{bytes, bytes_unit, count, quantile, ratio, seconds};
use crate::report::plot::Columns;
use crate::report::story::Story;

/// Bytes sent and received in committed rounds.
pub(super) fn totals(story: &Story) -> (u64, u64) {
    story
        .rounds
        .values()
        .fold((0, 0), |(down, up), line| (down.saturating_add(line.bytes_down), up.saturating_add(line.bytes_up)))
}

/// Both plots and the exact sums.
pub(super) fn cost(story: &Story) -> String {
    let title = "Time and bytes";
    if story.rounds.is_empty() {
        return section("cost", title, "No round was committed, so there is nothing to count.", "");
    }
    let (down, up) = totals(story);
    let clock =
        if story.run.mode == "sim" { " Durations and bytes are those of the simulated devices and links." } else { "" };
    let lead = format!(
        "In all, {} went to clients ({} bytes) and {} came back ({} bytes). The model has {} parameters in {}.{clock}",
        bytes(down),
        count(down),
        bytes(up),
        count(up),
        count(story.run.parameters),
        bytes(story.run.model_bytes)
    );
    section("cost", title, &lead, &format!("<div class=\"pair\">\n{}{}</div>\n", times(story), sizes(story)))
}

fn times(story: &Story) -> String {
    let mut sorted: Vec<f64> =
        story.rounds.values().map(|line| line.seconds).filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let longest = sorted.last().copied().unwrap_or(0.0);
    let median = quantile(&sorted, 0.5).unwrap_or(0.0);
    let (unit, name) = match longest {
        _ if longest < 1.0 => (1e-3, "milliseconds"),
        _ if longest < 180.0 => (1.0, "seconds"),
        _ if longest < 10_800.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let rows: Vec<Vec<String>> = story
        .rounds
        .values()
        .map(|line| {
            vec![
                line.round.to_string(),
                seconds(line.seconds),
                line.clients.to_string(),
                count(line.weight),
                line.attempt.to_string(),
            ]
        })
        .collect();
    let title = format!("Time of a round, in {name}");
    Columns {
        id: "time",
        title: &title,
        description: &format!("The median round took {}, the longest {}.", seconds(median), seconds(longest)),
        along: "round",
        parts: &["time"],
        columns: story
            .rounds
            .values()
            .map(|line| {
                let hint = format!("round {}: {}, {} clients", line.round, seconds(line.seconds), line.clients);
                (line.round.0, vec![line.seconds.max(0.0) / unit], hint)
            })
            .collect(),
        step: 1,
        numbers: markup::numbers(&title, &["round", "time", "updates", "weight", "attempt"], &rows),
    }
    .figure()
}

fn sizes(story: &Story) -> String {
    let most = story.rounds.values().map(|line| line.bytes_down.saturating_add(line.bytes_up)).max().unwrap_or(0);
    let (unit, name) = bytes_unit(most);
    let rows: Vec<Vec<String>> = story
        .rounds
        .values()
        .map(|line| vec![line.round.to_string(), count(line.bytes_down), count(line.bytes_up)])
        .collect();
    let title = format!("Bytes of a round, in {name}");
    Columns {
        id: "bytes",
        title: &title,
        description: &format!("At most {} in a round, both ways together.", bytes(most)),
        along: "round",
        parts: &["sent", "received"],
        columns: story
            .rounds
            .values()
            .map(|line| {
                let hint =
                    format!("round {}: {} sent, {} received", line.round, bytes(line.bytes_down), bytes(line.bytes_up));
                (line.round.0, vec![ratio(line.bytes_down, unit), ratio(line.bytes_up, unit)], hint)
            })
            .collect(),
        step: 1,
        numbers: markup::numbers(&title, &["round", "bytes sent", "bytes received"], &rows),
    }
    .figure()
}
