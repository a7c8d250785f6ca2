//! `tributary eval`: metrics of a saved model.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tributary_client::crew::Held;
use tributary_client::data::{Source, TestRows};
use tributary_client::trainer::{Examples, Local, Unwatched, evaluate_in_pieces};
use tributary_common::metrics::Metrics;
use tributary_common::parameters::safetensors;

use crate::arguments;
use crate::exit::{self, Failure, INVALID};
use crate::file::RunFile;
use crate::output::{Format, Output, table};

pub(super) fn run(arguments: &arguments::Eval, output: Output) -> Result<u8, Failure> {
    let file = RunFile::read(&arguments.run, &arguments.set)?;
    let device = super::device::open(arguments.device, output)?;
    let model = safetensors::read(&arguments.model).map_err(|error| Failure::new(INVALID, error))?;
    let held = match &arguments.data {
        Some(source) => {
            let loaded = Source::parse(source)?.load(Path::new(""), &file.plan.input, None)?;
            Held::all(loaded.split(TestRows::None)?.0)
        }
        None => {
            let test = file.deal()?.test.ok_or_else(|| {
                Failure::new(INVALID, "the run file names no test examples").with_hint(Some("give --data SOURCE"))
            })?;
            let indices = (0..u32::try_from(test.len()).expect("data sets are below 2^32")).collect();
            Held { dataset: test, indices }
        }
    };
    let examples = Examples { dataset: &held.dataset, indices: &held.indices };
    let metrics =
        evaluate_in_pieces(&mut Local::on(&device, Arc::clone(&file.plan)), &model, &examples, &mut Unwatched)
            .map_err(|error| {
                let (model, run) = (arguments.model.display(), arguments.run.display());
                Failure::new(INVALID, format!("could not measure `{model}` with `{run}`: {error}"))
                    .with_hint(error.hint())
            })?;
    let summary = metrics.summary();
    if output.format != Format::Text {
        let classes = match &metrics {
            Metrics::Classification(counts) => json!({ "scores": counts.scores(), "per_class": counts.per_class() }),
            Metrics::Regression(_) => json!({}),
        };
        output.document(&json!({ "model": model.digest(), "summary": summary, "classes": classes }));
        return Ok(exit::OK);
    }
    if let (Metrics::Classification(counts), Some(names)) = (&metrics, &file.plan.input.classes) {
        let rows = counts.per_class().into_iter().enumerate().map(|(index, score)| {
            let number = |value: f64| format!("{value:.3}");
            vec![
                names.name(index),
                number(score.precision),
                number(score.recall),
                number(score.f1),
                score.support.to_string(),
            ]
        });
        output.result(&format!("{}\n", table(&["class", "precision", "recall", "F1", "examples"], rows)));
        let scores = counts.scores();
        output.fact("accuracy", &format!("{:.6}", scores.accuracy));
        output.fact("macro F1", &format!("{:.6}", scores.macro_f1));
        output.fact("Cohen's kappa", &format!("{:.6}", scores.kappa));
        output.fact("MCC", &format!("{:.6}", scores.mcc));
    }
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.6}"));
    output.fact("loss", &number(summary.loss));
    if summary.rmse.is_some() {
        output.fact("RMSE", &number(summary.rmse));
        output.fact("MAE", &number(summary.mae));
        output.fact("R2", &number(summary.r2));
    }
    output.fact("examples", &summary.n.to_string());
    Ok(exit::OK)
}
