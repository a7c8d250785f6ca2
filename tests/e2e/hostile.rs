//! A member that lies: it has a certificate and says everything wrong that it can. Each lie costs its own slot, never the
//! round.

use std::sync::Arc;

use tributary_certs::{Credentials, tls};
use tributary_client::plan::Plan;
use tributary_common::config::Document;
use tributary_common::id::{Ticket, Version};
use tributary_common::message::{Answer, Hello, Offer, Put, Ready, Request, Results, ToClient, ToCoordinator};
use tributary_common::net::{self, FrameReader, Windows, close_code};
use tributary_common::parameters::{Layout, Parameters};

use super::federation::{Federation, models, same, simulated};

/// A connection that says what the test wants.
pub(crate) struct Liar {
    pub(crate) connection: quinn::Connection,
    control: quinn::SendStream,
    reader: FrameReader,
    layout: Arc<Layout>,
    _endpoint: quinn::Endpoint,
}

impl Liar {
    /// Connects as `name` and gets as far as `Welcome`.
    pub(crate) async fn connect(federation: &Federation, name: &str, address: &str) -> Self {
        Self::connect_with(federation, name, address, Windows::default()).await
    }

    /// [`Liar::connect`] with other windows.
    pub(crate) async fn connect_with(federation: &Federation, name: &str, address: &str, windows: Windows) -> Self {
        let credentials = Credentials::load(&federation.path().join(name)).unwrap();
        let address = address.parse().unwrap();
        let tls = tls::client_config(&credentials).unwrap();
        let endpoint = net::client_endpoint(address, tls, net::transport(windows)).unwrap();
        let connection = endpoint.connect(address, "coordinator").unwrap().await.unwrap();
        let (mut control, recv) = connection.open_bi().await.unwrap();
        let hello = Hello { software: "lies".to_owned(), device: "cpu".to_owned(), holding: None };
        net::write_message(&mut control, &ToCoordinator::Hello(hello)).await.unwrap();
        let mut reader = FrameReader::new(recv);
        let Some(ToClient::Welcome(welcome)) = reader.next().await.unwrap() else { panic!("no welcome") };
        let plan = Plan::parse(&Document::parse("plan", &welcome.plan).unwrap()).unwrap();
        Self { connection, control, reader, layout: Arc::clone(&plan.model.layout), _endpoint: endpoint }
    }

    pub(crate) async fn say(&mut self, message: &ToCoordinator) {
        net::write_message(&mut self.control, message).await.unwrap();
    }

    /// The next offer to train.
    pub(crate) async fn offer(&mut self) -> Offer {
        self.offer_of(|ticket| matches!(ticket, Ticket::Train { .. })).await
    }

    /// The next offer of such work.
    pub(crate) async fn offer_of(&mut self, is_wanted: impl Fn(Ticket) -> bool) -> Offer {
        loop {
            match self.reader.next().await.unwrap() {
                Some(ToClient::Offer(offer)) if is_wanted(offer.ticket) => return offer,
                Some(_) => {}
                None => panic!("no offer came"),
            }
        }
    }

    /// The next message that is about `wanted` and no offer.
    pub(crate) async fn heard(&mut self, wanted: Ticket) -> ToClient {
        loop {
            match self.reader.next().await.unwrap() {
                Some(
                    message @ (ToClient::Cancel { ticket, .. }
                    | ToClient::Conflict { ticket, .. }
                    | ToClient::Receipt { ticket, .. }
                    | ToClient::Verdict { ticket, .. }),
                ) if ticket == wanted => return message,
                Some(_) => {}
                None => panic!("nothing was said about {wanted}"),
            }
        }
    }

    /// The verdict on what was put for `ticket`.
    async fn verdict(&mut self, wanted: Ticket) -> String {
        loop {
            match self.reader.next().await.unwrap() {
                Some(ToClient::Verdict { ticket, reason }) if ticket == wanted => return reason,
                Some(_) => {}
                None => panic!("no verdict came"),
            }
        }
    }

    /// An update without a lie in it, all coordinates `value`.
    pub(crate) fn honest(&self, offer: &Offer, value: f64) -> (Put, Vec<u8>) {
        let bytes: Vec<u8> = (0..self.layout.count()).flat_map(|_| value.to_le_bytes()).collect();
        (self.header(offer, &bytes), bytes)
    }

    fn header(&self, offer: &Offer, bytes: &[u8]) -> Put {
        let update = Parameters::new(Arc::clone(&self.layout), bytes.to_vec().into()).unwrap();
        let (ticket, version, len) = (offer.ticket, offer.version, bytes.len() as u64);
        Put { ticket, version, digest: update.digest(), bytes: len, weight: 10 }
    }

    /// Announces an update; once permitted, sends these bytes.
    pub(crate) async fn put(&self, header: Put, bytes: &[u8]) -> Answer {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        net::write_message(&mut send, &Request::Put(Box::new(header))).await.unwrap();
        let answer = net::read_message(&mut recv).await.unwrap();
        if matches!(answer, Answer::Permit { .. }) {
            // The coordinator may stop the stream as soon as it has seen enough.
            drop(send.write_all(bytes).await);
            drop(send.finish());
        }
        answer
    }

    /// Why the coordinator ended the connection.
    async fn closed(self) -> String {
        match self.connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code, close_code::PROTOCOL);
                String::from_utf8(close.reason.to_vec()).unwrap()
            }
            other => panic!("the connection ended otherwise: {other}"),
        }
    }
}

/// A lie about one round's update, and what the verdict says of it.
struct Lie {
    tell: fn(&Layout, &mut Put, &mut Vec<u8>),
    verdict: &'static str,
}

/// Byte offset of the second coordinate of a tensor.
fn inside(layout: &Layout, tensor: &str) -> usize {
    layout.find(tensor).unwrap().range().start + 8
}

fn write(bytes: &mut [u8], at: usize, value: f64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn lies() -> Vec<Lie> {
    let lie = |verdict, tell| Lie { tell, verdict };
    vec![
        lie("tensor `0.bias`: coordinate 1 is not finite", |layout, _, bytes| {
            write(bytes, inside(layout, "0.bias"), f64::NAN)
        }),
        lie("tensor `0.weight`: coordinate 1 is not finite", |layout, _, bytes| {
            write(bytes, inside(layout, "0.weight"), f64::INFINITY);
        }),
        lie("tensor `0.weight`: coordinate 1 is 1000000000000, beyond", |layout, _, bytes| {
            write(bytes, inside(layout, "0.weight"), 1e12);
        }),
        lie("L2 norm is", |layout, _, bytes| write(bytes, inside(layout, "0.weight"), 1e6)),
        lie("was announced", |layout, _, bytes| write(bytes, inside(layout, "0.weight"), 0.25)),
        lie("more than the", |_, _, bytes| bytes.extend([0; 64])),
        lie("the model 5200", |_, put, bytes| {
            put.bytes = 16;
            bytes.truncate(16);
        }),
        lie("the round from 7", |_, put, _| put.version = Version(99)),
        lie("weight", |_, put, _| put.weight = 0),
        lie("weight", |_, put, _| put.weight = u64::MAX),
    ]
}

/// Whether a lie is told in the bytes alone: the digest is then made to fit them.
fn fits(lie: &Lie) -> bool {
    lie.verdict.starts_with("tensor") || lie.verdict.starts_with("L2")
}

async fn lie_in_every_round(federation: &Federation, address: &str) {
    let mut liar = Liar::connect(federation, "mallory", address).await;
    liar.say(&ToCoordinator::Ready(Ready { examples: 10, holdout: 0 })).await;
    let mut before = None;
    for lie in lies() {
        let offer = liar.offer().await;
        liar.say(&ToCoordinator::Accept { ticket: offer.ticket }).await;
        // Work of a round that is over, or of none, is refused before a byte of it comes.
        if let Some(before) = before.replace(offer.clone()) {
            let (put, bytes) = liar.honest(&before, 0.0);
            let answer = liar.put(put, &bytes).await;
            assert!(matches!(&answer, Answer::Refused { reason } if reason.contains("over")), "{answer:?}");
        }
        let (mut put, mut bytes) = liar.honest(&offer, 1e-3);
        (lie.tell)(&liar.layout, &mut put, &mut bytes);
        if fits(&lie) {
            put = liar.header(&offer, &bytes);
        }
        liar.put(put, &bytes).await;
        let verdict = liar.verdict(offer.ticket).await;
        assert!(verdict.contains(lie.verdict), "`{}` is not said: {verdict}", lie.verdict);
    }
}

/// Bytes that are no message end the connection they came on, and only that.
async fn send_garbage(federation: &Federation, address: &str) {
    let connect = || Liar::connect(federation, "mallory", address);
    let mut liar = connect().await;
    liar.control.write_all(&[5, 0, 0, 0, 1, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe]).await.unwrap();
    liar.closed().await;
    // A frame of four gigabytes is refused by its header.
    let mut liar = connect().await;
    liar.control.write_all(&[0xff; 64]).await.unwrap();
    assert!(liar.closed().await.contains("frame"));
    let mut liar = connect().await;
    let second = Hello { software: String::new(), device: String::new(), holding: None };
    liar.say(&ToCoordinator::Hello(second)).await;
    assert!(liar.closed().await.contains("may not say this"));
    let liar = connect().await;
    let (mut send, _recv) = liar.connection.open_bi().await.unwrap();
    send.write_all(&[9; 100]).await.unwrap();
    liar.closed().await;
    // A client does not speak for the hold-out data.
    let liar = connect().await;
    let results = Box::new(Results { central: Some(metrics()), ..Results::default() });
    let report = Request::Report { ticket: Ticket::Evaluate { version: Version(1) }, results };
    let (mut send, _recv) = liar.connection.open_bi().await.unwrap();
    net::write_message(&mut send, &report).await.unwrap();
    assert!(liar.closed().await.contains("may not ask for this"));
}

fn metrics() -> tributary_common::metrics::Metrics {
    let counts = tributary_common::metrics::Classification::new(10).unwrap();
    tributary_common::metrics::Metrics::Classification(counts)
}

#[test]
fn lies_cost_their_own_slot_and_the_models_are_those_of_the_honest() {
    let federation = Federation::new();
    let rounds = format!("rounds = {}", lies().len());
    let file = federation.run_file(&[
        ("[run]", "stages = [{ kind = \"clip\", norm = 100.0 }]\n[run]"),
        ("rounds = 50", &rounds),
        ("clients = 10", "clients = 2"),
        ("wait_for = 10", "wait_for = 3"),
        ("quorum = 10", "quorum = 2"),
        ("on = [\"train\", \"central\"]", "on = []"),
    ]);
    for name in ["client-000", "client-001", "mallory"] {
        federation.issue(name, "client");
    }
    let mut coordinator = federation.coordinator(&[]);
    let address = coordinator.address.clone();
    let clients: Vec<_> =
        (0..2).map(|index| federation.client(&format!("client-00{index}"), &index.to_string(), &address)).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let longest = std::time::Duration::from_secs(60);
        tokio::time::timeout(longest, send_garbage(&federation, &address)).await.unwrap();
        tokio::time::timeout(longest, lie_in_every_round(&federation, &address)).await.unwrap();
    });
    let events: Vec<_> = coordinator.process.events().collect();
    coordinator.process.end().ends_well();
    clients.into_iter().for_each(|client| _ = client.end().ends_well());
    let slots = events.iter().filter(|event| event["event"] == "slot" && event["client"] == "mallory");
    let refused: Vec<_> =
        slots.map(|slot| (slot["fate"].as_str().unwrap(), slot["reason"].as_str().unwrap())).collect();
    assert_eq!(refused.len(), lies().len());
    for ((fate, reason), lie) in refused.iter().zip(lies()) {
        assert!(*fate == "refused" && reason.contains(lie.verdict), "{fate}: {reason}");
    }
    let run = std::fs::read_dir(federation.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for counted in ["Why updates were refused", "tensor …: coordinate … is not finite</th>"] {
        assert!(page.contains(counted), "`{counted}` is not in the report");
    }
    let honest = ["--set", "cohort.wait_for=2"];
    same(&models(&events), &simulated(federation.path(), &file, &honest));
}
