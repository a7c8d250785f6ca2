//! The versions that can be fetched: the last one, and the one before it as long as somebody measures it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tributary_common::Digest;
use tributary_common::id::Version;
use tributary_common::parameters::Parameters;

/// Versions by digest, seen by every session.
pub(super) type Served = BTreeMap<Digest, Parameters>;

/// The driver's side: versions come and go.
#[derive(Debug)]
pub(super) struct Models {
    digests: BTreeMap<Version, Digest>,
    served: watch::Sender<Served>,
}

impl Models {
    pub(super) fn new(model: &Parameters) -> Self {
        let served = Served::from([(model.digest(), model.clone())]);
        Self { digests: BTreeMap::new(), served: watch::Sender::new(served) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Served> {
        self.served.subscribe()
    }

    /// The digest of a served version.
    pub(super) fn digest(&self, version: Version) -> Option<Digest> {
        self.digests.get(&version).copied()
    }

    /// The served versions with this digest: several where a round changed nothing.
    pub(super) fn versions(&self, digest: Digest) -> impl Iterator<Item = Version> {
        self.digests.iter().filter(move |(_, served)| **served == digest).map(|(version, _)| *version)
    }

    pub(super) fn add(&mut self, version: Version, digest: Digest, model: Parameters) {
        self.digests.insert(version, digest);
        self.served.send_modify(|served| _ = served.insert(digest, model));
    }

    /// Forgets what is older than `version`: memory holds at most one older model, and for a while those that somebody is still
    /// at ([`Limits::old_model`](super::Limits::old_model)).
    pub(super) fn forget_before(&mut self, version: Version) {
        let kept = self.digests.split_off(&version);
        let old = std::mem::replace(&mut self.digests, kept);
        self.served.send_modify(|served| {
            for digest in old.values().filter(|digest| !self.digests.values().any(|kept| kept == *digest)) {
                served.remove(digest);
            }
        });
    }
}
