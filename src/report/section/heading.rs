//! The top of the page: which run, how it ended, and the numbers that matter.

use tributary_common::metrics::Summary;

use crate::report::markup;
use crate::report::number::{self, bytes, count, percent, plural, real, seconds};
use crate::report::story::Story;

/// Name, outcome and key figures.
pub(crate) fn heading(story: &Story) -> String {
    let (mark, outcome) = outcome(story);
    let torn = if story.is_torn {
        "<p class=\"aside\">The last line of the events was cut off in the middle and is left out.</p>\n"
    } else {
        ""
    };
    format!(
        "<header>\n<p class=\"eyebrow\">Tributary · run report</p>\n<h1>{}</h1>\n\
         <p class=\"outcome {mark}\"><span class=\"mark\" aria-hidden=\"true\"></span>{outcome}</p>\n{torn}\
         <dl class=\"figures\">\n{}</dl>\n</header>\n",
        markup::text(&story.run.name),
        figures(story)
    )
}

/// How it ended: a mark's class, and a sentence.
fn outcome(story: &Story) -> (&'static str, String) {
    let committed = plural(story.rounds.len() as u64, "round");
    let planned = count(story.run.rounds);
    let Some(done) = &story.done else {
        return ("open", format!("Not finished: {committed} of {planned} so far. The run goes on, or was cut off."));
    };
    match done.reason.as_str() {
        "rounds" => ("good", format!("Finished: {} committed as planned.", plural(done.rounds, "round"))),
        "stop_at" => {
            ("good", format!("Finished early: the target was reached after {committed} of at most {planned}."))
        }
        "suspended" => ("open", format!("Suspended after {committed} of {planned}. It can be resumed.")),
        "quorum" => ("bad", format!("Ended after {committed} of {planned}: too few clients took part.")),
        "postponed" => {
            ("bad", format!("Stopped after {committed} of {planned}: updates could not be taken. It can be resumed."))
        }
        "failed" => ("bad", format!("Stopped by a failure after {committed} of {planned}. It can be resumed.")),
        other => ("open", format!("Ended after {committed} of {planned}: {}.", markup::text(other))),
    }
}

fn figure(name: &str, value: &str, aside: &str) -> String {
    let aside = if aside.is_empty() { String::new() } else { format!("<dd class=\"small\">{aside}</dd>") };
    format!("<div><dt>{name}</dt><dd>{value}</dd>{aside}</div>\n")
}

fn figures(story: &Story) -> String {
    let (down, up) = super::cost::totals(story);
    let time =
        story.done.as_ref().map_or_else(|| story.rounds.values().map(|line| line.seconds).sum(), |done| done.seconds);
    let attempts: u64 = story.rounds.values().map(|line| u64::from(line.attempt)).sum();
    let aside = if attempts > 0 { format!("{} below quorum", plural(attempts, "attempt")) } else { String::new() };
    let active = story.participation.values().filter(|client| client.folded > 0).count() as u64;
    [
        quality(story),
        figure("Rounds", &count(story.rounds.len() as u64), &aside),
        figure("Clients", &count(story.run.clients), &format!("{} contributed", count(active))),
        figure("Sent to clients", &bytes(down), "models"),
        figure("Received", &bytes(up), "updates, never data"),
        figure("Time", &seconds(time), if story.run.mode == "sim" { "on the simulated clock" } else { "" }),
    ]
    .concat()
}

/// Final and best quality, on the side that stands for the run.
fn quality(story: &Story) -> String {
    let Some(side) = story.headline() else {
        return figure("Quality", number::NONE, "nothing was evaluated");
    };
    let curve = story.curve(side);
    let Some((last, summary)) = curve.last_key_value() else { return String::new() };
    let on = super::side_name(side);
    let best = |of: fn(&Summary) -> Option<f64>, sign: f64| {
        curve
            .iter()
            .filter_map(|(round, summary)| Some((*round, of(summary)?)))
            // The first of equals, so that "best" is when it was first reached.
            .reduce(|best, next| if sign * next.1 > sign * best.1 { next } else { best })
    };
    let mut figures = String::new();
    if let Some(accuracy) = summary.accuracy {
        figures += &figure("Final accuracy", &percent(accuracy), on);
        if let Some((round, accuracy)) = best(|summary| summary.accuracy, 1.0) {
            figures += &figure("Best accuracy", &percent(accuracy), &format!("in round {round}"));
        }
    } else if let Some(rmse) = summary.rmse {
        figures += &figure("Final RMSE", &real(rmse), on);
        if let Some(r2) = summary.r2 {
            figures += &figure("Final R²", &real(r2), "variance explained");
        }
    }
    let loss = summary.loss.map_or_else(|| number::NONE.to_owned(), real);
    let after = if summary.loss.is_some() { format!("after round {last}") } else { "not finite".to_owned() };
    figures += &figure("Final loss", &loss, &after);
    if let Some((round, loss)) = best(|summary| summary.loss, -1.0) {
        figures += &figure("Lowest loss", &real(loss), &format!("in round {round}"));
    }
    figures
}
