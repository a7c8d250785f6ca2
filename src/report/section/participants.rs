//! Who took part: slots, updates that counted, and what became of the rest.

use std::collections::BTreeMap;

use tributary_common::id::ClientId;

use super::section;
use crate::report::markup;
use crate::report::number::{NONE, count, percent, plural, ratio, seconds};
use crate::report::participation::{Participation, total};
use crate::report::plot::Columns;
use crate::report::story::Story;

/// Up to this many clients stand in one table.
const TABLE_MAX: usize = 50;

/// Of more clients, so many of the busiest and of the least busy.
const ENDS: usize = 10;

/// Columns of the histogram.
const BINS: u64 = 40;

/// One line per client, or a histogram and both ends.
pub(super) fn participants(story: &Story) -> String {
    let title = "Participation";
    let clients = &story.participation;
    if clients.is_empty() {
        return section("participation", title, "No client was chosen.", "");
    }
    let sum = total(clients);
    let lead = format!(
        "{} of {} clients were chosen, for {} in all: {} counted ({}), {} declined, {} lost, {} refused.",
        count(clients.len() as u64),
        count(story.run.clients),
        plural(sum.chosen, "slot"),
        plural(sum.folded, "update"),
        percent(ratio(sum.folded, sum.chosen)),
        count(sum.declined),
        count(sum.lost),
        count(sum.refused)
    );
    let lead = format!("{lead}{}", same(clients, sum.same));
    let most = clients.values().map(|client| client.weight).max().unwrap_or(0);
    if clients.len() <= TABLE_MAX {
        let rows: Vec<_> = clients.iter().map(|(id, client)| row(id, client, most)).collect();
        let content = [table("Every client that was chosen", rows), refusals(story)].concat();
        return section("participation", title, &lead, &content);
    }
    let mut order: Vec<_> = clients.iter().collect();
    order.sort_by(|a, b| b.1.folded.cmp(&a.1.folded).then(b.1.weight.cmp(&a.1.weight)).then(a.0.cmp(b.0)));
    let top = order.iter().take(ENDS).map(|(id, client)| row(id, client, most)).collect();
    let bottom = order.iter().rev().take(ENDS).rev().map(|(id, client)| row(id, client, most)).collect();
    let content = [
        histogram(story),
        table(&format!("The {ENDS} clients whose updates counted most often"), top),
        table(&format!("The {ENDS} clients whose updates counted least often"), bottom),
        refusals(story),
    ]
    .concat();
    section("participation", title, &lead, &content)
}

/// Who brought what another client brought too; nothing where nobody did.
fn same(clients: &BTreeMap<ClientId, Participation>, updates: u64) -> String {
    let who: Vec<&str> = clients.iter().filter(|(_, one)| one.same > 0).map(|(id, _)| id.as_str()).collect();
    if who.is_empty() {
        return String::new();
    }
    let named = who[..who.len().min(ENDS)].join(", ");
    let more = if who.len() > ENDS { ", …" } else { "" };
    format!(
        " {} that counted {} the same, byte for byte, as another client's in the round ({named}{more}).",
        plural(updates, "update"),
        if updates == 1 { "was" } else { "were" }
    )
}

/// Why updates were refused; nothing where none was.
fn refusals(story: &Story) -> String {
    let kinds = story.refusals.by_frequency();
    if kinds.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = kinds
        .iter()
        .map(|(kind, refused)| vec![markup::text(kind), count(refused.updates), count(refused.clients.len() as u64)])
        .collect();
    let table = markup::table(&["reason", "updates", "clients"], &rows);
    format!("<figure>\n<figcaption>Why updates were refused</figcaption>\n{table}</figure>\n")
}

fn row(id: &ClientId, client: &Participation, most: u64) -> Vec<String> {
    let share = ratio(client.weight, most) * 100.0;
    vec![
        markup::text(id.as_str()),
        count(client.chosen),
        count(client.folded),
        count(client.declined),
        count(client.lost),
        count(client.refused),
        format!(
            "{}<span class=\"meter\" aria-hidden=\"true\"><span style=\"width:{share:.1}%\"></span></span>",
            count(client.weight)
        ),
        client.seconds_mean().map_or_else(|| NONE.to_owned(), seconds),
        crate::report::number::bytes(client.bytes_up),
        client.reason.as_deref().map(markup::text).unwrap_or_default(),
    ]
}

fn table(title: &str, mut rows: Vec<Vec<String>>) -> String {
    let mut heads = vec![
        "client",
        "chosen",
        "counted",
        "declined",
        "lost",
        "refused",
        "total weight",
        "mean time",
        "received",
        "last reason",
    ];
    // A column that is empty for everyone only takes room.
    if rows.iter().all(|row| row.last().is_some_and(String::is_empty)) {
        heads.pop();
        for row in &mut rows {
            row.pop();
        }
    }
    format!("<figure class=\"fates\">\n<figcaption>{title}</figcaption>\n{}</figure>\n", markup::table(&heads, &rows))
}

fn histogram(story: &Story) -> String {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for client in story.participation.values() {
        *times.entry(client.folded).or_default() += 1;
    }
    // Clients that were never chosen are in no event, yet belong to the picture.
    let never = story.run.clients.saturating_sub(story.participation.len() as u64);
    if never > 0 {
        *times.entry(0).or_default() += never;
    }
    let last = times.keys().next_back().copied().unwrap_or(0);
    let wide = last / BINS + 1;
    let mut bins: BTreeMap<u64, u64> = BTreeMap::new();
    for (folded, clients) in &times {
        *bins.entry(folded / wide * wide).or_default() += clients;
    }
    let rows: Vec<Vec<String>> = times.iter().map(|(folded, clients)| vec![count(*folded), count(*clients)]).collect();
    let title = "Clients by number of updates that counted";
    Columns {
        id: "times-counted",
        title,
        description: &format!(
            "Updates of one client counted between {} and {last} times.",
            times.keys().next().unwrap_or(&0)
        ),
        along: &if wide > 1 { format!("updates, in steps of {wide}") } else { "updates that counted".to_owned() },
        parts: &["clients"],
        columns: bins
            .iter()
            .map(|(bin, clients)| (*bin, vec![ratio(*clients, 1)], format!("{bin}: {}", plural(*clients, "client"))))
            .collect(),
        step: wide,
        numbers: markup::numbers(title, &["updates that counted", "clients"], &rows),
    }
    .figure()
}
