//! The network: who has which address, and what becomes of a datagram on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep};
use tributary_common::id::{Round, Seed};
use tributary_common::rng::{self, Purpose, Stream};

/// Datagrams that wait for one socket at most; more are lost, as in a router.
const QUEUE: usize = 4096;

/// What becomes of datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The share that is lost.
    pub(crate) loss: f64,
    /// The share that comes twice.
    pub(crate) duplicated: f64,
    /// The share in which a bit is turned.
    pub(crate) corrupted: f64,
    /// How long a datagram takes at least …
    pub(crate) latency: Duration,
    /// … and how much longer at most: with it datagrams overtake each other.
    pub(crate) jitter: Duration,
}

/// The network; clones are one.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    stream: Stream,
    link: Link,
    ports: BTreeMap<SocketAddr, Arc<Port>>,
    /// Nothing gets from the first to the second.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    next_port: u16,
    happened: BTreeMap<&'static str, u64>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        Self(Arc::new(Mutex::new(State {
            stream: rng::stream(Seed(seed), Round(1), None, Purpose::Faults),
            link,
            ports: BTreeMap::new(),
            cuts: BTreeSet::new(),
            next_port: 10_000,
            happened: BTreeMap::new(),
        })))
    }

    pub(crate) fn bind(&self, host: IpAddr, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let mut state = self.0.lock().unwrap();
        let port = if address.port() == 0 {
            state.next_port += 1;
            state.next_port
        } else {
            address.port()
        };
        let address = SocketAddr::new(host, port);
        if state.ports.contains_key(&address) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let port = Arc::new(Port { address, queue: Mutex::default() });
        state.ports.insert(address, Arc::clone(&port));
        Ok(Arc::new(Socket { network: self.clone(), port }))
    }

    /// Nothing reaches the sockets of `host` any more, and nothing leaves them.
    pub(crate) fn unplug(&self, host: IpAddr) {
        self.0.lock().unwrap().ports.retain(|address, _| address.ip() != host);
    }

    /// Cuts or mends the way from one host to another.
    pub(crate) fn cut(&self, from: IpAddr, to: IpAddr, is_cut: bool) {
        let mut state = self.0.lock().unwrap();
        if is_cut {
            state.cuts.insert((from, to));
        } else {
            state.cuts.remove(&(from, to));
        }
    }

    /// What becomes of datagrams from now on.
    pub(crate) fn set_link(&self, link: Link) {
        self.0.lock().unwrap().link = link;
    }

    /// How often what happened to datagrams.
    pub(crate) fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().happened.clone()
    }

    fn send(&self, from: &Arc<Port>, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap();
        // The socket of a host that crashed may still be in somebody's hands.
        if !state.ports.get(&from.address).is_some_and(|port| Arc::ptr_eq(port, from)) {
            return;
        }
        state.count("datagram");
        if state.cuts.contains(&(from.address.ip(), to.ip())) {
            return state.count("cut off");
        }
        let Some(port) = state.ports.get(&to).cloned() else { return state.count("unreachable") };
        let link = state.link;
        if state.stream.uniform() < link.loss {
            return state.count("lost");
        }
        let copies = if state.stream.uniform() < link.duplicated {
            state.count("duplicated");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if state.stream.uniform() < link.corrupted {
                state.count("corrupted");
                // Half of the places, so that it does not depend on a size which key material might decide.
                let at = usize::try_from(state.stream.below(600)).unwrap() % bytes.len();
                bytes[at] ^= 1;
            }
            let after = link.latency + link.jitter.mul_f64(state.stream.uniform());
            if port.push(now() + after, Datagram { from: from.address, bytes }) {
                state.count("overtaken");
            }
        }
    }
}

impl State {
    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_insert(0) += 1;
    }
}

#[expect(clippy::disallowed_methods, reason = "the time is virtual")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

struct Datagram {
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// One bound address.
struct Port {
    address: SocketAddr,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// By the time of arrival; of the same time the one that left first.
    arriving: BTreeMap<(Instant, u64), Datagram>,
    n_queued: u64,
    waker: Option<Waker>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Port {
    /// Whether it arrives before another that left before it.
    fn push(&self, at: Instant, datagram: Datagram) -> bool {
        let mut queue = self.queue.lock().unwrap();
        if queue.arriving.len() >= QUEUE {
            return false;
        }
        queue.n_queued += 1;
        let place = (at, queue.n_queued);
        queue.arriving.insert(place, datagram);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
        queue.arriving.last_key_value().is_some_and(|(last, _)| *last != place)
    }
}

/// What quinn sees of a bound address.
struct Socket {
    network: Network,
    port: Arc<Port>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.port.address)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for bytes in transmit.contents.chunks(segment) {
            self.network.send(&self.port, transmit.destination, bytes);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.port.queue.lock().unwrap();
        loop {
            queue.waker = Some(cx.waker().clone());
            let Some((&(at, _), _)) = queue.arriving.first_key_value() else {
                queue.sleep = None;
                return Poll::Pending;
            };
            if at <= now() {
                break;
            }
            let mut sleep = Box::pin(tokio::time::sleep_until(at));
            if sleep.as_mut().poll(cx).is_pending() {
                queue.sleep = Some(sleep);
                return Poll::Pending;
            }
        }
        let (_, datagram) = queue.arriving.pop_first().unwrap();
        let len = datagram.bytes.len().min(bufs[0].len());
        bufs[0][..len].copy_from_slice(&datagram.bytes[..len]);
        meta[0] = RecvMeta { addr: datagram.from, len, stride: len, ecn: None, dst_ip: None };
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.port.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// A socket is always writable: what is too much is lost.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.network.0.lock().unwrap();
        if state.ports.get(&self.port.address).is_some_and(|port| Arc::ptr_eq(port, &self.port)) {
            state.ports.remove(&self.port.address);
        }
    }
}
