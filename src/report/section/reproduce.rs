//! How to get the same model again, and by what to tell that it is the same.

use super::section;
use crate::report::markup;
use crate::report::number::{bytes, count};
use crate::report::story::Story;

/// The command, the environment and the run file.
pub(super) fn reproduce(story: &Story) -> String {
    let command = if story.run.mode == "sim" {
        "tributary sim run.toml".to_owned()
    } else {
        "tributary coordinator run.toml --identity DIR".to_owned()
    };
    let last =
        story.done.as_ref().map(|done| done.model).or_else(|| story.rounds.values().next_back().map(|line| line.model));
    let last = last.unwrap_or(story.run.model);
    let lead = "Every random choice comes from the seed, and updates are summed exactly: the same run file and the same \
                updates give the same model, bit for bit, on the same kind of processor. Compare the digest of the last model.";
    let simulated = if story.run.mode == "sim" {
        ""
    } else {
        "<p>Without the clients’ machines, <code>tributary sim run.toml</code> simulates the run on data at hand.</p>\n"
    };
    let file = story.run_file.as_deref().map_or_else(
        || "<p>The run folder holds no readable <code>run.toml</code>.</p>\n".to_owned(),
        |text| {
            format!(
                "<pre class=\"file\" tabindex=\"0\" aria-label=\"run.toml\"><code>{}</code></pre>\n",
                markup::text(text)
            )
        },
    );
    let content = format!(
        "<pre class=\"command\" tabindex=\"0\"><code>{command}</code></pre>\n{simulated}<dl class=\"facts\">\n{}</dl>\n\
         <h3>Models by round</h3>\n{}<h3>Run file</h3>\n{file}",
        facts(story, &last.to_string()),
        models(story)
    );
    section("reproduce", "Reproduce", lead, &content)
}

fn facts(story: &Story, last: &str) -> String {
    let run = &story.run;
    let mode = if run.mode == "sim" { "simulation".to_owned() } else { markup::text(&run.mode) };
    let code = |value: &str| format!("<code>{}</code>", markup::text(value));
    let mut facts = vec![
        ("Last model", code(last)),
        ("Initial model", code(&run.model.to_string())),
        ("Configuration", code(&run.config.to_string())),
        ("Run", code(&run.run)),
        ("Seed", run.seed.to_string()),
        ("Mode", mode),
        ("Software", format!("tributary {}", markup::text(&run.software))),
        (
            "Model size",
            format!(
                "{} parameters, {} ({} bytes)",
                count(run.parameters),
                bytes(run.model_bytes),
                count(run.model_bytes)
            ),
        ),
    ];
    if story.resumed > 0 {
        facts.push(("Resumed", crate::report::number::plural(story.resumed as u64, "time")));
    }
    if let Some(done) = &story.done {
        facts.push(("Norm of the last model", crate::report::number::real(done.norm)));
        if let Some(path) = &done.path {
            facts.push(("Last model’s file", code(path)));
        }
    }
    facts.into_iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n")).collect()
}

fn models(story: &Story) -> String {
    if story.rounds.is_empty() {
        return "<p>No round was committed.</p>\n".to_owned();
    }
    let rows: Vec<Vec<String>> = story
        .rounds
        .values()
        .map(|line| vec![line.round.to_string(), line.version.to_string(), format!("<code>{}</code>", line.model)])
        .collect();
    let table = markup::table(&["round", "version", "digest of the model"], &rows);
    format!(
        "<details><summary>Digests of {}</summary>\n{table}</details>\n",
        crate::report::number::plural(rows.len() as u64, "model")
    )
}
