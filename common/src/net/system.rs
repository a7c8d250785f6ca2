//! What the shells take from the machine that they run on: sockets, and threads for work that blocks.
//!
//! A simulated system has neither: its sockets belong to a network in memory, and what blocks is a task whose orders take
//! virtual time. So a whole coordinator and whole clients, with QUIC and TLS as they are, play on one thread and one
//! virtual clock, the same way every time.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime};
use socket2::SockRef;

/// The buffers that a socket asks for, in bytes each way: what a thousand datagrams take in a burst. The system may give
/// less: on Linux at most `net.core.rmem_max` and `net.core.wmem_max`, and what does not fit is lost and sent again.
pub const SOCKET_BYTES: usize = 2 << 20;

/// A machine that is not there.
pub trait Simulated: fmt::Debug + Send + Sync {
    /// A socket at `address`; port 0 is any free one, and an unspecified address is the host's own.
    ///
    /// # Errors
    /// The address is taken.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>>;

    /// What tasks and timers of this machine run on. A task ends with the machine.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// Where the random numbers of the next endpoint begin.
    fn seed(&self) -> [u8; 32];

    /// How long an order takes that blocks.
    fn order_takes(&self) -> Duration;
}

/// The machine that a shell runs on.
#[derive(Clone, Debug, Default)]
pub enum System {
    /// This one.
    #[default]
    Real,
    /// One in a test.
    Simulated(Arc<dyn Simulated>),
}

impl System {
    /// An endpoint at `address`.
    ///
    /// # Errors
    /// The address is in use, or not ours.
    pub(super) fn endpoint(
        &self,
        address: SocketAddr,
        mut config: EndpointConfig,
        server: Option<ServerConfig>,
    ) -> io::Result<Endpoint> {
        match self {
            Self::Real => {
                let socket = UdpSocket::bind(address)?;
                let sizes = SockRef::from(&socket);
                // A wish: with smaller buffers all works, with more losses in a burst.
                drop(sizes.set_recv_buffer_size(SOCKET_BYTES));
                drop(sizes.set_send_buffer_size(SOCKET_BYTES));
                Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
            }
            Self::Simulated(machine) => {
                config.rng_seed(Some(machine.seed()));
                Endpoint::new_with_abstract_socket(config, server, machine.bind(address)?, machine.runtime())
            }
        }
    }

    /// Starts work that blocks: on a thread of this name. It may wait for channels and for [`System::order`], and for
    /// nothing else of a runtime.
    ///
    /// # Errors
    /// There are too many threads.
    pub fn start(&self, name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        match self {
            Self::Real => {
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work))?;
            }
            Self::Simulated(machine) => machine.runtime().spawn(Box::pin(work)),
        }
        Ok(())
    }

    /// Called for every order before it is performed: real ones take their time by themselves.
    pub async fn order(&self) {
        if let Self::Simulated(machine) = self {
            tokio::time::sleep(machine.order_takes()).await;
        }
    }
}
