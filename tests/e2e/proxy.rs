//! A network of our own between clients and a coordinator, on loopback: it counts what passes, cuts connections at bytes
//! that a test chooses, and changes the address that a client seems to come from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Larger than any datagram of QUIC on loopback.
const DATAGRAM_BYTES: usize = 1 << 16;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the client.
    Down,
    /// To the coordinator.
    Up,
}

/// What happens when so many bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing of the connections at hand passes any more, neither way.
    Cut,
    /// The coordinator sees them come from another port, and what it sends to the old one is lost.
    Move,
    /// The test is woken.
    Tell,
}

/// What passes, and what is to happen to it.
#[derive(Debug, Default)]
struct Traffic {
    up: u64,
    down: u64,
    /// Connections by the client's address, with the generation of the proxy's own port.
    flows: BTreeMap<SocketAddr, Flow>,
    /// Bytes of one way after which something happens, the next one last.
    troubles: Vec<(Way, u64, Trouble)>,
}

#[derive(Debug, Default)]
struct Flow {
    is_cut: bool,
    back: Option<Arc<UdpSocket>>,
}

/// The network. It ends with the test.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
    pub(crate) told: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A way to the coordinator at `towards`, with troubles at these numbers of bytes.
    pub(crate) async fn new(towards: SocketAddr, mut troubles: Vec<(Way, u64, Trouble)>) -> Self {
        troubles.sort_unstable_by_key(|(_, at, _)| std::cmp::Reverse(*at));
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = front.local_addr().unwrap();
        let traffic = Arc::new(Mutex::new(Traffic { troubles, ..Traffic::default() }));
        let told = Arc::new(Notify::new());
        let link = Link { front, towards, traffic: Arc::clone(&traffic), told: Arc::clone(&told) };
        let mut tasks = JoinSet::new();
        tasks.spawn(link.serve());
        Self { address, traffic, told, _tasks: tasks }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap()
    }

    /// Bytes of datagrams that the sender has sent this way, those that were lost included.
    pub(crate) fn bytes(&self, way: Way) -> u64 {
        match way {
            Way::Down => self.traffic().down,
            Way::Up => self.traffic().up,
        }
    }

    /// Lets pass again what was cut.
    pub(crate) fn mend(&self) {
        self.traffic().flows.values_mut().for_each(|flow| flow.is_cut = false);
    }

    /// Connections that were tried.
    pub(crate) fn connections(&self) -> usize {
        self.traffic().flows.len()
    }

    /// Troubles that did not come.
    pub(crate) fn left(&self) -> usize {
        self.traffic().troubles.len()
    }
}

#[derive(Clone)]
struct Link {
    front: Arc<UdpSocket>,
    towards: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
    told: Arc<Notify>,
}

impl Link {
    async fn serve(self) {
        let mut tasks = JoinSet::new();
        let mut datagram = vec![0; DATAGRAM_BYTES];
        loop {
            let (len, client) = self.front.recv_from(&mut datagram).await.unwrap();
            if !self.passes(client, Way::Up, len) {
                continue;
            }
            let known = self.traffic.lock().unwrap().flows[&client].back.clone();
            let back = match known {
                Some(back) => back,
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    back.connect(self.towards).await.unwrap();
                    self.traffic.lock().unwrap().flows.get_mut(&client).unwrap().back = Some(Arc::clone(&back));
                    tasks.spawn(self.clone().down(client, Arc::clone(&back)));
                    back
                }
            };
            // A port that is closed for a moment loses datagrams, as a network does.
            drop(back.send(&datagram[..len]).await);
        }
    }

    /// Carries what comes to one port of the proxy's, as long as it is the client's.
    async fn down(self, client: SocketAddr, back: Arc<UdpSocket>) {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        loop {
            let Ok(len) = back.recv(&mut datagram).await else { continue };
            let passes = self.passes(client, Way::Down, len);
            let is_current = {
                let traffic = self.traffic.lock().unwrap();
                traffic.flows[&client].back.as_ref().is_some_and(|current| Arc::ptr_eq(current, &back))
            };
            if passes && is_current {
                drop(self.front.send_to(&datagram[..len], client).await);
            }
        }
    }

    /// Counts a datagram and brings the trouble that is due; whether the datagram passes.
    fn passes(&self, client: SocketAddr, way: Way, len: usize) -> bool {
        let mut traffic = self.traffic.lock().unwrap();
        let counted = match way {
            Way::Down => &mut traffic.down,
            Way::Up => &mut traffic.up,
        };
        *counted += len as u64;
        let counted = *counted;
        traffic.flows.entry(client).or_default();
        while let Some((_, _, trouble)) = traffic.troubles.pop_if(|(of, at, _)| *of == way && *at <= counted) {
            match trouble {
                Trouble::Cut => traffic.flows.values_mut().for_each(|flow| flow.is_cut = true),
                Trouble::Move => traffic.flows.values_mut().for_each(|flow| flow.back = None),
                Trouble::Tell => self.told.notify_one(),
            }
        }
        !traffic.flows[&client].is_cut
    }
}
