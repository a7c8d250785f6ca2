//! Keeps the list of revoked certificates in use up to date while the coordinator serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tributary_certs::{RevocationFile, Revocations};

use super::session::Input;

/// How often the file is looked at. With it a revoked member is out within two seconds of the file's change; the promise
/// is five.
const PERIOD: Duration = Duration::from_secs(1);

/// The list in use, with a bell: sessions ask again who they serve whenever it rings.
pub(super) type Revoked = watch::Receiver<Arc<Revocations>>;

/// Looks at the file until it is dropped. What goes wrong is told to the operator, and the list before stays in use.
pub(super) async fn watch(
    mut file: RevocationFile,
    changed: watch::Sender<Arc<Revocations>>,
    inputs: mpsc::Sender<Input>,
) {
    let revocations = file.revocations();
    loop {
        tokio::time::sleep(PERIOD).await;
        let looked = tokio::task::spawn_blocking(move || {
            let outcome = file.look();
            (file, outcome)
        });
        let Ok((same, outcome)) = looked.await else { return };
        file = same;
        let text = match outcome {
            Ok(false) => continue,
            Ok(true) => {
                changed.send_modify(|_| {});
                format!("a new list of revoked certificates is in use: {}", revocations.list().len())
            }
            Err(error) => error.to_string(),
        };
        if inputs.send(Input::Notice { client: None, text }).await.is_err() {
            return;
        }
    }
}
