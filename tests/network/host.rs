//! A machine that is not there: an address, tasks, and a power switch.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::task::JoinSet;
use tributary_common::id::{Round, Seed};
use tributary_common::net::{Simulated, System};
use tributary_common::rng::{self, Purpose, Stream};

use super::network::Network;

/// A host from one start to its end; the next start is another one.
#[derive(Clone)]
pub(crate) struct Host(Arc<Inner>);

struct Inner {
    network: Network,
    address: IpAddr,
    stream: Mutex<Stream>,
    /// How long an order takes at most.
    order_takes: Duration,
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.0.address)
    }
}

impl Host {
    /// Starts a machine; `start` counts all starts of a scenario, so that no two draw the same numbers.
    pub(crate) fn start(network: &Network, address: IpAddr, seed: u64, start: u64, order_takes: Duration) -> Self {
        let stream = Mutex::new(rng::stream(Seed(seed), Round(1_000 + start), None, Purpose::Faults));
        Self(Arc::new(Inner { network: network.clone(), address, stream, order_takes, tasks: Mutex::default() }))
    }

    pub(crate) fn system(&self) -> System {
        System::Simulated(Arc::new(self.clone()))
    }

    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.tasks.lock().unwrap();
        // A task that panics ends the scenario, not only itself.
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        tasks.spawn(work);
    }

    /// From one instruction to the next nothing of it is there any more. What is on its disk stays.
    pub(crate) async fn crash(&self) {
        self.0.network.unplug(self.0.address);
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap());
        tasks.shutdown().await;
    }
}

impl Simulated for Host {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.0.network.bind(self.0.address, address)
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    fn seed(&self) -> [u8; 32] {
        let mut stream = self.0.stream.lock().unwrap();
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&stream.next_u64().to_le_bytes()));
        seed
    }

    fn order_takes(&self) -> Duration {
        self.0.order_takes.mul_f64(self.0.stream.lock().unwrap().uniform())
    }
}

impl Runtime for Host {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.run(future);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> std::time::Instant {
        super::network::now().into_std()
    }
}
