//! Floods from outside while a real run goes on: it commits its rounds as if nothing happened, and the coordinator's memory
//! stays inside its bound.
//!
//! The short form belongs to the suite. The long one: `TRIBUTARY_FLOOD_SECONDS=20 cargo test --release --test e2e flood --
//! --nocapture`.

#![expect(clippy::print_stdout, reason = "what an attack did is told to whoever looks with --nocapture")]

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tributary_certs::{Credentials, tls};
use tributary_common::id::{Round, Seed};
use tributary_common::net::{self, Windows};
use tributary_common::rng::{self, Purpose};

use super::federation::{Federation, models, same, simulated};
use super::process::Process;

/// How long a run under attack takes about, in the short form.
const SECONDS: u64 = 2;

/// Rounds that a second sees without an attack, about.
const ROUNDS_A_SECOND: u64 = 8;

/// Initial packets a second.
const INITIALS: usize = 2_000;

/// Datagrams of garbage a second.
const GARBAGE: usize = 2_000;

/// Clients that drip.
const DRIPPERS: usize = 500;

/// What a coordinator takes beside models and connections: P4's 64 MiB.
const BASE_BYTES: u64 = 64 << 20;

/// What a connection may take.
const CONNECTION_BYTES: u64 = 64 << 10;

const RUN: &str = r#"
run = { name = "flood", seed = 5, rounds = ROUNDS }
cohort = { size = "all", wait_for = 2, quorum = 2, deadline = 300 }
input = { shape = [64], divide = 16, classes = 10 }
data = { source = "digits", partition = { kind = "iid", clients = 2 } }
model = { dtype = "f32", init = "he_normal", layers = [{ kind = "linear", out = 100 }, { kind = "relu" }, { kind = "linear", out = 10 }] }
train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, epochs = 20, batch = 10 }
server = { optimizer = { kind = "sgd", lr = 1.0 } }
"#;

fn seconds() -> u64 {
    let text = std::env::var("TRIBUTARY_FLOOD_SECONDS");
    text.map_or(SECONDS, |text| text.parse().expect("TRIBUTARY_FLOOD_SECONDS is a number"))
}

/// Who attacks, until told that it is over.
trait Attack {
    /// How many connections may stand because of it.
    fn connections(&self) -> u64;

    fn attack(self, address: SocketAddr, is_over: &AtomicBool);
}

/// Runs a federation under attack from before its first round to its end.
fn besiege(federation: &Federation, attack: impl Attack + Send + 'static) {
    let rounds = seconds() * ROUNDS_A_SECOND;
    let file = federation.path().join("run.toml");
    std::fs::write(&file, RUN.replace("ROUNDS", &rounds.to_string())).unwrap();
    let undisturbed = simulated(federation.path(), &file, &[]);
    let coordinator = federation.coordinator(&[]);
    let pid = coordinator.process.id();
    let bound = BASE_BYTES + CONNECTION_BYTES * (2 + attack.connections());
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, flag) = (coordinator.address.parse().unwrap(), Arc::clone(&is_over));
    let attacker = thread::spawn(move || attack.attack(address, &flag));
    let clients: Vec<Process> = (0..2)
        .map(|index| {
            let name = format!("client-00{index}");
            federation.issue(&name, "client");
            federation.client(&name, &index.to_string(), &coordinator.address)
        })
        .collect();
    let mut process = coordinator.process;
    let mut seen = Vec::new();
    let mut peak = 0;
    for event in process.events() {
        peak = peak_bytes(pid).unwrap_or(peak);
        // Who comes after the end is not answered any more.
        is_over.fetch_or(event["event"] == "done", Ordering::Relaxed);
        seen.push(event);
    }
    is_over.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    process.end().ends_well();
    clients.into_iter().for_each(|client| drop(client.end().ends_well()));
    same(&models(&seen), &undisturbed);
    println!("the coordinator's peak: {:.1} MiB of {:.1}", mib(peak), mib(bound));
    assert!(peak > 1 << 20, "the peak was not read");
    assert!(peak <= bound, "the coordinator took {:.1} MiB, more than {:.1}", mib(peak), mib(bound));
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The most memory that a process ever had, as long as it is there.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// Calls `act` so often a second until it is over; returns how often that was.
fn steadily(a_second: usize, is_over: &AtomicBool, mut act: impl FnMut(usize)) -> usize {
    let began = Instant::now();
    let mut n = 0;
    while !is_over.load(Ordering::Relaxed) {
        let due = usize::try_from(began.elapsed().as_millis()).unwrap() * a_second / 1000;
        (n..due).for_each(&mut act);
        n = due;
        thread::sleep(Duration::from_millis(5));
    }
    n
}

/// First packets of handshakes, from an address whose owner never answers: it is not the sender's.
struct Initials(Vec<Vec<u8>>);

impl Initials {
    /// Writes down what a client's endpoint sends first, each time with other keys and ids.
    fn record(federation: &Federation, n: usize) -> Self {
        let credentials = Credentials::load(&federation.path().join("mallory")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = sink.local_addr().unwrap();
            let tls = tls::client_config(&credentials).unwrap();
            let endpoint = net::client_endpoint(address, tls, net::transport(Windows::default())).unwrap();
            let mut packets = Vec::new();
            let mut ids = BTreeSet::new();
            let mut buffer = [0; 2048];
            while packets.len() < n {
                let connecting = endpoint.connect(address, "coordinator").unwrap();
                loop {
                    let (len, _) = sink.recv_from(&mut buffer).await.unwrap();
                    // A long header of type Initial (RFC 9000, section 17.2.2), and the id that it makes up.
                    let id_end = 6 + usize::from(buffer[5]);
                    if buffer[0] & 0xf0 == 0xc0 && ids.insert(buffer[6..id_end].to_vec()) {
                        packets.push(buffer[..len].to_vec());
                        break;
                    }
                }
                drop(connecting);
            }
            Self(packets)
        })
    }
}

impl Attack for Initials {
    fn connections(&self) -> u64 {
        // So many handshakes are begun with addresses that are not proven, and each may wait for its ten seconds.
        tributary_coordinator::server::Limits::default().half_open_unproven as u64
    }

    fn attack(self, address: SocketAddr, is_over: &AtomicBool) {
        let socket = UdpSocket::bind("127.0.0.66:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        let mut n_retries = 0;
        let n = steadily(INITIALS, is_over, |index| {
            drop(socket.send_to(&self.0[index % self.0.len()], address));
            while let Ok(len) = socket.recv(&mut buffer) {
                // A long header of type Retry (RFC 9000, section 17.2.5).
                n_retries += usize::from(len > 0 && buffer[0] & 0xf0 == 0xf0);
            }
        });
        println!("{n} initial packets, {n_retries} answered by retry");
        assert!(n_retries > n / 2, "of {n} initial packets only {n_retries} were answered by retry");
    }
}

/// What goes wrong without it: whoever can send packets under the name of others keeps members out and fills the memory.
#[test]
fn flood_of_initial_packets_is_answered_by_retry_and_the_run_goes_on() {
    let federation = Federation::new();
    federation.issue("mallory", "client");
    let initials = Initials::record(&federation, INITIALS);
    besiege(&federation, initials);
}

struct Garbage;

impl Attack for Garbage {
    fn connections(&self) -> u64 {
        0
    }

    fn attack(self, address: SocketAddr, is_over: &AtomicBool) {
        let socket = UdpSocket::bind("127.0.0.66:0").unwrap();
        let mut stream = rng::stream(Seed(1), Round(0), None, Purpose::Faults);
        let mut bytes = [0; 1500];
        let n = steadily(GARBAGE, is_over, |_| {
            bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&stream.next_u64().to_le_bytes()[..part.len()]));
            let len = 1 + usize::try_from(stream.below(1500)).unwrap();
            drop(socket.send_to(&bytes[..len], address));
        });
        println!("{n} datagrams of garbage");
    }
}

#[test]
fn flood_of_garbage_changes_nothing() {
    besiege(&Federation::new(), Garbage);
}

/// Members whose first message never gets whole: a byte of it a second.
struct Drippers(Credentials);

impl Attack for Drippers {
    fn connections(&self) -> u64 {
        DRIPPERS as u64
    }

    fn attack(self, address: SocketAddr, is_over: &AtomicBool) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let tls = tls::client_config(&self.0).unwrap();
            let endpoint = net::client_endpoint(address, tls, net::transport(Windows::default())).unwrap();
            let mut drippers = JoinSet::new();
            for _ in 0..DRIPPERS {
                let endpoint = endpoint.clone();
                drippers.spawn(async move {
                    // Whoever is sent away comes again.
                    loop {
                        let Ok(connecting) = endpoint.connect(address, "coordinator") else { return };
                        let Ok(connection) = connecting.await else { continue };
                        let Ok((mut send, _recv)) = connection.open_bi().await else { continue };
                        // The length of a frame that is allowed; what is in it never comes.
                        if send.write_all(&200_u32.to_le_bytes()).await.is_err() {
                            continue;
                        }
                        while send.write_all(&[0]).await.is_ok() {
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                    }
                });
            }
            while !is_over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            println!("{} connections at the end", endpoint.open_connections());
            drippers.shutdown().await;
        });
    }
}

/// What goes wrong without it: a few hundred slow connections take all places, and those who work wait outside.
#[test]
fn flood_of_clients_that_drip_keeps_no_member_out() {
    let federation = Federation::new();
    federation.issue("mallory", "client");
    let credentials = Credentials::load(&federation.path().join("mallory")).unwrap();
    besiege(&federation, Drippers(credentials));
}
