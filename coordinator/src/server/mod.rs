//! The coordinator's shell: an endpoint that accepts members, one session a connection, one driver that owns the machine,
//! one thread that folds.

mod bucket;
mod door;
mod doubles;
mod driver;
mod fold;
mod limits;
mod models;
mod own;
mod partials;
mod registrar;
mod renewals;
mod returning;
mod revocation;
mod role;
mod session;
mod spool;
mod upload;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_certs::{Credentials, RevocationFile, tls};
use tributary_common::config::{self, Document};
use tributary_common::event::Event;
use tributary_common::id::RunId;
use tributary_common::model::initial;
use tributary_common::net::{self, EndpointKeys, System, Windows};
use tributary_common::parameters::Parameters;

pub use driver::Ended;
pub use limits::{Limits, Rate};
pub use registrar::Issuing;

use crate::Strategy;
use crate::optimize::Optimizer;
use crate::screen::Screen;
use crate::store::{Journal, Past, Store};
use crate::strategy::plan_text;
use door::{Bounds, Crowd, Door, Entry};
use driver::{Driver, Given};
use own::{Own, Port};
use partials::Partials;
use registrar::Registrar;
use renewals::Renewals;
use session::Shared;

/// Events that may wait for the driver: sessions wait when it is full, the driver never does.
const INBOX: usize = 1024;

/// How long everything may take to end once a stop was asked for.
const GOODBYE: Duration = Duration::from_secs(4);

/// What could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint could not be made.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: net::Error,
    },
    /// The coordinator's own credentials do not work.
    #[error(transparent)]
    Credentials(#[from] tributary_certs::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A thread could not be started, or ended.
    #[error("could not run the coordinator: {0}")]
    Internal(String),
}

/// A run to serve.
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub strategy: Strategy,
    /// The plan that clients get: the run file's canonical text.
    pub plan: String,
    /// Digest of the configuration.
    pub config: tributary_common::Digest,
    /// The model to start from.
    pub model: Parameters,
    /// The server optimiser's state.
    pub optimizer: Optimizer,
    /// What an earlier process left; nothing for a new run.
    pub past: Past,
    /// Where versions and events are kept.
    pub store: Arc<dyn Store>,
    /// Where rows and updates are kept; without one they are safe as soon as they are there, and gone with the process.
    pub journal: Option<Journal>,
}

impl Run {
    /// A new run of a run file, from the model that its seed draws. `model.from` is not read: who has such a file sets
    /// `model` to what is in it.
    ///
    /// # Errors
    /// What is wrong with the run file, where, and what to do.
    pub fn new(id: RunId, document: &Document, store: Arc<dyn Store>) -> Result<Self, config::Error> {
        let strategy = Strategy::parse(document)?;
        let model = initial::parameters(&strategy.model, strategy.rounds.seed);
        let optimizer = Optimizer::new(strategy.optimizer, model.layout().count());
        let (plan, config) = (plan_text(document)?, document.digest());
        Ok(Self { id, strategy, plan, config, model, optimizer, past: Past::default(), store, journal: None })
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({} {})", self.strategy.name, self.id)
    }
}

/// An endpoint that listens and serves nobody yet.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    keys: EndpointKeys,
    revoked: RevocationFile,
    registrar: Option<Registrar>,
    own: Option<Own>,
    issuing: Option<Arc<Issuing>>,
    limits: Limits,
    system: System,
}

impl Server {
    /// Listens on `address`; port 0 is any free one. Who stands in `revoked` stays out, and goes when the file changes.
    /// How clients recognise this coordinator after a restart follows from its credentials, or from what their folder keeps
    /// for it ([`Credentials::keep_endpoint_secret`]).
    ///
    /// # Errors
    /// The port is in use, or the credentials are not usable.
    pub fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        revoked: RevocationFile,
        limits: Limits,
    ) -> Result<Self, Error> {
        Self::bind_on(System::Real, address, credentials, revoked, limits)
    }

    /// As [`Server::bind`], on a machine of one's choice.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_on(
        system: System,
        address: SocketAddr,
        credentials: &Credentials,
        revoked: RevocationFile,
        limits: Limits,
    ) -> Result<Self, Error> {
        let tls = tls::server_config(credentials, revoked.revocations())?;
        let keys = EndpointKeys::derive(&credentials.endpoint_secret().members());
        let endpoint = system.server_endpoint(address, tls, transport(limits), &keys);
        let endpoint = endpoint.map_err(|source| Error::Listen { address, source })?;
        Ok(Self { endpoint, keys, revoked, registrar: None, own: None, issuing: None, limits, system })
    }

    /// Lets devices with a token join at `address`, and members renew their certificates.
    ///
    /// # Errors
    /// The port is in use, or the credentials are not usable.
    pub fn issuing(mut self, issuing: Issuing, address: SocketAddr, credentials: &Credentials) -> Result<Self, Error> {
        let issuing = Arc::new(issuing);
        self.registrar = Some(Registrar::bind(address, credentials, Arc::clone(&issuing), self.limits)?);
        self.issuing = Some(issuing);
        Ok(self)
    }

    /// Renews the coordinator's own certificate at half of its life, in its identity folder, where certificates are given
    /// here by the authority that it has its own from.
    #[must_use]
    pub fn renewing_itself(mut self, credentials: Credentials, folder: PathBuf) -> Self {
        self.own = Some(Own { credentials, folder });
        self
    }

    /// The members' port, for the coordinator's next certificates.
    fn port(&self) -> Port {
        let (revocations, keys, limits) = (self.revoked.revocations(), self.keys.clone(), self.limits);
        let configure = move |credentials: &Credentials| {
            let tls = tls::server_config(credentials, Arc::clone(&revocations))?;
            net::server_config(tls, transport(limits), &keys).map_err(|error| Error::Internal(error.to_string()))
        };
        Port { endpoint: self.endpoint.clone(), configure: Box::new(configure) }
    }

    /// Where devices join, if they can.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn joining_address(&self) -> Result<Option<SocketAddr>, Error> {
        let address = self.registrar.as_ref().map(Registrar::address).transpose();
        address.map_err(|error| Error::Internal(error.to_string()))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.endpoint.local_addr().map_err(|error| Error::Internal(error.to_string()))
    }

    /// Serves `run` to its end. `tell` gets every event and must not block.
    ///
    /// # Errors
    /// The store failed, or a thread could not be started.
    pub async fn serve(
        mut self,
        run: Run,
        stop: CancellationToken,
        tell: impl FnMut(&Event) + Send + Sync + 'static,
    ) -> Result<Ended, Error> {
        let (inbox, inputs) = mpsc::channel(INBOX);
        let models = models::Models::new(&run.model);
        let (changed, list) = watch::channel(self.revoked.revocations());
        let closing = CancellationToken::new();
        let mut doorkeepers = JoinSet::new();
        if let (Some(own), Some(issuing)) = (self.own.take(), &self.issuing) {
            let ports = self.registrar.iter().map(Registrar::port).chain([self.port()]).collect();
            doorkeepers.spawn(own::keep(own, Arc::clone(issuing), ports, inbox.clone(), closing.clone()));
        }
        doorkeepers.spawn(revocation::watch(self.revoked, changed, inbox.clone()));
        if let Some(registrar) = self.registrar {
            let port = self.endpoint.local_addr().map_err(|error| Error::Internal(error.to_string()))?.port();
            doorkeepers.spawn(registrar.serve(port, inbox.clone(), closing.clone()));
        }
        let partials = Arc::new(partials(&run, self.limits)?);
        let shared = Arc::new(Shared {
            inputs: inbox,
            revoked: list.clone(),
            renewals: renewals(self.issuing.as_deref(), self.limits),
            issuing: self.issuing,
            models: models.watch(),
            stages: run.strategy.stages.clone(),
            partials: Arc::clone(&partials),
            uploads: session::Uploads::new(self.limits.upload_bytes),
            limits: self.limits,
        });
        let mut driver = JoinSet::new();
        let given = Given {
            models,
            partials: Arc::clone(&partials),
            inputs,
            revoked: list,
            limits: self.limits,
            system: self.system,
        };
        driver.spawn(Driver::start(run, given, tell)?.run(stop));
        let accepting = accept(self.endpoint.clone(), shared, closing.clone());
        tokio::pin!(accepting);
        let ended = tokio::select! {
            biased;
            ended = driver.join_next() => ended,
            () = &mut accepting => driver.join_next().await,
        };
        let ended = ended.expect("the driver is in the set").map_err(|error| Error::Internal(error.to_string()));
        // Also where it failed: what it said to clients is still to be sent.
        closing.cancel();
        let goodbye = async {
            accepting.await;
            self.endpoint.wait_idle().await;
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
        partials.outlive().await;
        ended?
    }
}

/// How members' connections begin: what a stranger may cost in memory.
fn transport(limits: Limits) -> quinn::TransportConfig {
    net::transport(Windows { connection_bytes: limits.stranger_bytes, ..limits.windows })
}

/// Who has renewed lately, of those that this coordinator gives certificates.
fn renewals(issuing: Option<&Issuing>, limits: Limits) -> Renewals {
    let validity = issuing.map_or(Duration::ZERO, |issuing| issuing.validity);
    Renewals::new(limits.renewals_per_half_life, validity, limits.connections)
}

/// Where updates come in. With a journal, what broke off of large ones survives the process.
fn partials(run: &Run, limits: Limits) -> Result<Partials, Error> {
    let spools = spool::Spools::new(run.store.spool(), limits.staged_memory_bytes);
    let blank = Screen::new(Arc::clone(run.model.layout()), &run.strategy.stages);
    let partials = Partials::new(spools, Arc::new(blank), limits);
    match run.store.folder().filter(|_| run.journal.is_some()) {
        Some(folder) => partials.kept_in(&folder, now().into_std()).map_err(|error| Error::Internal(error.to_string())),
        None => Ok(partials),
    }
}

/// What the run's clock, the door and the age of uploads that broke off are read from.
#[expect(clippy::disallowed_methods, reason = "the server is where time comes from")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Accepts connections until told to close; every one has its own task in this one's set.
async fn accept(endpoint: Endpoint, shared: Arc<Shared>, closing: CancellationToken) {
    let mut sessions = JoinSet::new();
    let mut door = Door::new(Bounds::members(&shared.limits));
    let half_open = Arc::new(Semaphore::new(shared.limits.half_open));
    let began = now();
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a session ended badly");
                }
            }
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let address = incoming.remote_address();
                let crowd = Crowd {
                    connections: sessions.len(),
                    half_open: shared.limits.half_open - half_open.available_permits(),
                };
                match door.knock(began.elapsed(), address.ip(), incoming.remote_address_validated(), crowd) {
                    Entry::Come => {
                        let permit = Arc::clone(&half_open).try_acquire_owned().expect("the door counts the permits");
                        sessions.spawn(session::serve(incoming, permit, Arc::clone(&shared), closing.clone()));
                    }
                    // It fails for proven addresses only.
                    Entry::Prove => drop(incoming.retry()),
                    Entry::Refuse(limit) => {
                        tracing::debug!(%address, limit, "refused a connection");
                        incoming.refuse();
                    }
                }
            }
        }
    }
    endpoint.set_server_config(None);
    while sessions.join_next().await.is_some() {}
    endpoint.close(net::close_code::DONE, b"the coordinator ends");
}
