//! `tributary bench link --identity DIR`: the way to a coordinator elsewhere, as far as a member may try it without taking
//! part in the run: down, and not up.

use std::path::Path;

use serde_json::{Value, json};
use tributary_certs::Credentials;
use tributary_client::agent::{self, Link};
use tributary_client::{cli, join};

use crate::command::bench::times::{Times, milliseconds};
use crate::exit::{self, Failure, INVALID, USAGE};
use crate::output::{Format, Output, bytes};

/// Why there is no number.
const NO_UPLOAD: &str = "not measured: a coordinator takes only updates that it asked for; `tributary load` sends some";

pub(super) async fn run(
    identity: &Path,
    coordinator: Option<&str>,
    downloads: u64,
    output: Output,
) -> Result<u8, Failure> {
    let credentials =
        Credentials::load(identity).map_err(|error| Failure::new(INVALID, &error).with_hint(error.hint()))?;
    let coordinator = coordinator.map(str::to_owned).or_else(|| join::coordinator_of(identity)).ok_or_else(|| {
        let text = format!("`{}` does not say where its coordinator is", identity.display());
        Failure::new(USAGE, text).with_hint(Some("give --coordinator HOST:PORT"))
    })?;
    let count = usize::try_from(downloads).expect("bounded by the argument's range");
    let link = agent::measure(&coordinator, credentials, count).await.map_err(cli::failure)?;
    let downloads = (!link.downloads.is_empty())
        .then(|| Times::new(link.downloads.iter().map(std::time::Duration::as_secs_f64).collect()));
    #[expect(clippy::cast_precision_loss, reason = "models are far below 2^53 bytes")]
    let pace = |times: &Times| link.model_bytes as f64 / times.median() / 1e6;
    if output.format == Format::Text {
        output.result(&format!("coordinator     {}, at version {}", link.address, link.version));
        output.result(&format!("welcome         after {}", milliseconds(link.welcome.as_secs_f64())));
        output.result(&format!("round trip      {}", milliseconds(link.round_trip.as_secs_f64())));
        output.result(&format!("download        {}", down(&link, downloads.as_ref())));
        if let Some(times) = &downloads {
            output.result(&format!("pace            {:.0} MB/s down", pace(times)));
        }
        output.result(&format!("upload          {NO_UPLOAD}"));
        return Ok(exit::OK);
    }
    output.document(&json!({
        "bench": "link",
        "coordinator": link.address,
        "version": link.version,
        "welcome_ms": link.welcome.as_secs_f64() * 1e3,
        "round_trip_ms": link.round_trip.as_secs_f64() * 1e3,
        "model_bytes": link.model_bytes,
        "download_ms": downloads.as_ref().map_or(Value::Null, Times::to_json),
        "mb_per_second": downloads.as_ref().map(pace),
    }));
    Ok(exit::OK)
}

fn down(link: &Link, downloads: Option<&Times>) -> String {
    let size = bytes(link.model_bytes);
    downloads.map_or_else(
        || format!("not measured: without work, a member is given only the model ({size}) that a run draws for its beginning"),
        |times| format!("{}, {size}", times.to_text()),
    )
}
