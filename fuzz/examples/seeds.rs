//! Writes the seeds of the corpora anew: one or more good inputs for every target, so that mutations begin behind the door.
//!
//! `cargo run --release -p tributary-fuzz --example seeds`. Keys are fresh each time; nothing is signed by them afterwards.

#![expect(clippy::unwrap_used, reason = "a tool for those who change the code may stop where it fails")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tributary_certs::Authority;
use tributary_certs::enrolment::{Request as Signing, Secret, Token};
use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, RunId, Slot, Ticket, Version};
use tributary_common::message::{
    Answer, Certificate, Done, Hello, Holding, Join, Joined, Offer, Put, Ready, Request, Results, ToClient,
    ToCoordinator, Welcome, Wire,
};
use tributary_common::metrics::{Classification, Metrics, Regression};
use tributary_common::parameters::{Dtype, Layout, Parameters, safetensors};
use tributary_common::time::Time;
use tributary_coordinator::round::{Recorded, Row};
use tributary_coordinator::store::journal::{Body, Place, Retained};

const TRAIN: Ticket = Ticket::Train { round: Round(3), attempt: Attempt(1) };
const MEASURE: Ticket = Ticket::Evaluate { version: Version(2) };

fn main() {
    let authority_folder = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let authority = Authority::create(authority_folder.path(), "north", now).unwrap();
    frames_and_messages();
    certificates(&authority, now);
    journal_rows();
    models();
    run_files();
    machines();
}

fn keep(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn keep_message(name: &str, message: &impl Wire) {
    let frame = message.to_frame().unwrap();
    keep("messages", name, &[&[frame.tag][..], &frame.body].concat());
}

fn frames_and_messages() {
    let hello = ToCoordinator::Hello(Hello {
        software: "0.1.0".to_owned(),
        device: "cpu".to_owned(),
        holding: Some(Holding { run: RunId([7; 16]), ticket: TRAIN }),
    });
    let ready = ToCoordinator::Ready(Ready { examples: 600, holdout: 60 });
    let two = [hello.to_frame().unwrap().to_bytes(), ready.to_frame().unwrap().to_bytes()].concat();
    keep("frames", "two", &[&[2][..], &two].concat());
    keep("frames", "empty-body", &[0, 0, 0, 0, 0, 9]);
    keep("frames", "too-long", &[0, 0xff, 0xff, 0xff, 0xff, 1]);
    keep_message("hello", &hello);
    keep_message("ready", &ready);
    keep_message("unfit", &ToCoordinator::Unfit { reason: "no file".to_owned() });
    keep_message("accept", &ToCoordinator::Accept { ticket: TRAIN });
    keep_message("decline", &ToCoordinator::Decline { ticket: MEASURE, reason: "busy".to_owned() });
    keep_message("progress", &ToCoordinator::Progress { ticket: TRAIN, done: 3, total: 10 });
    let done = Done { reason: "rounds".to_owned(), version: Version(9), model: Digest([4; 32]), bytes: 1 << 20 };
    let welcome = Welcome {
        run: RunId([7; 16]),
        plan: "[run]\nseed = 1\n".to_owned(),
        version: Version(2),
        done: Some(done.clone()),
        return_ms: 250,
    };
    keep_message("welcome", &ToClient::Welcome(welcome));
    let (version, model) = (Version(2), Digest([5; 32]));
    keep_message(
        "offer",
        &ToClient::Offer(Offer { ticket: TRAIN, slot: Slot(1), version, model, bytes: 1 << 20, left_ms: 60_000 }),
    );
    keep_message("cancel", &ToClient::Cancel { ticket: TRAIN, reason: "late".to_owned() });
    keep_message("receipt", &ToClient::Receipt { ticket: TRAIN, digest: model, receipt: Digest([6; 32]) });
    keep_message("conflict", &ToClient::Conflict { ticket: TRAIN, counted: model });
    keep_message("verdict", &ToClient::Verdict { ticket: TRAIN, reason: "NaN".to_owned() });
    keep_message("done", &ToClient::Done(done));
    keep_message("suspended", &ToClient::Suspended { return_ms: 250 });
    keep_message("get", &Request::Get { digest: model, from: 1 << 20 });
    let classes = Metrics::Classification(Classification::new(3).unwrap());
    let put = Put { ticket: TRAIN, version, digest: model, bytes: 64, weight: 600 };
    keep_message("put", &Request::Put(Box::new(put)));
    let numbers = Metrics::Regression(Regression::default());
    let results = Box::new(Results { train: Some(classes), local: None, central: Some(numbers) });
    keep_message("report", &Request::Report { ticket: MEASURE, results });
    keep_message("renew", &Request::Renew { request: "-----BEGIN".to_owned() });
    keep_message("bytes", &Answer::Bytes { len: 1 << 30 });
    keep_message("again", &Answer::Again);
    keep_message("later", &Answer::Later { seconds: 5, reason: "the disk is full".to_owned() });
    keep_message("permit", &Answer::Permit { from: 17 });
    keep_message("refused", &Answer::Refused { reason: "over".to_owned() });
    let certificate = Certificate { chain: "chain".to_owned(), roots: "roots".to_owned() };
    keep_message("certificate", &Answer::Certificate(certificate.clone()));
    keep_message("join", &Join { secret: [3; 32], request: "request".to_owned() });
    keep_message("granted", &Joined::Granted { certificate, port: 4433 });
    keep_message("not-granted", &Joined::Refused { reason: "used".to_owned() });
}

fn certificates(authority: &Authority, now: SystemTime) {
    for role in ["client", "coordinator", "evaluator"] {
        let text = format!("tributary://north/{role}/ward-7");
        keep("identity", role, text.as_bytes());
        let who = text.parse().unwrap();
        let credentials = authority.issue(&who, Duration::from_secs(24 * 3600), now).unwrap();
        keep("identity", &format!("{role}.der"), &credentials.chain()[0]);
    }
    for name in ["one", "two"] {
        keep("request", name, Signing::new().unwrap().pem().as_bytes());
    }
    for address in ["hub.example:4434", "[::1]:65535"] {
        let (root, secret) = (authority.root(), Secret::from_bytes([9; 32]));
        let token = Token { address: address.to_owned(), root, secret };
        keep("token", if address.starts_with('[') { "address" } else { "host" }, token.to_string().as_bytes());
    }
}

fn journal_rows() {
    let client = |index| ClientId::simulated(index, 3);
    let (ticket, digest) = (TRAIN, Digest([6; 32]));
    let rows = [
        ("created", Row::RunCreated { run: RunId([7; 16]), config: Digest([1; 32]), model: digest }),
        ("opened", Row::RoundOpened { ticket, cohort: (0..3).map(client).collect(), weight_max: None }),
        ("accepted", Row::UpdateAccepted { ticket, client: client(1), weight: 600, digest }),
        ("closing", Row::RoundClosing { ticket }),
        ("aborted", Row::RoundAborted { ticket, missing: "1 of 3 updates came".to_owned() }),
        ("committed", Row::ModelCommitted { ticket, version: Version(3), digest, weight: 1800 }),
        ("rolled-back", Row::RolledBack { version: Version(1) }),
    ];
    for (number, (name, row)) in (0_u64..).zip(rows) {
        let update = matches!(row, Row::UpdateAccepted { .. }).then_some(Place { bytes: 64, offset: Some(128) });
        let is_version = matches!(row, Row::ModelCommitted { .. } | Row::RunCreated { .. });
        let retained = is_version.then_some(Retained { optimizer: digest, kept_from: Some(Version(1)) });
        let body = Body { recorded: Recorded { at: Time(5), row }, wall_ms: 6, update, retained };
        let text = serde_json::to_string(&body).unwrap();
        keep("journal_row", name, &[&number.to_le_bytes()[..], &2_u64.to_le_bytes(), &[8], text.as_bytes()].concat());
    }
}

fn models() {
    let layouts = [
        ("one", Layout::new([("w", Dtype::F32, vec![4])])),
        (
            "four",
            Layout::new([
                ("0.bias", Dtype::F64, vec![2]),
                ("0.weight", Dtype::F64, vec![2, 3]),
                ("half", Dtype::F16, vec![1]),
                ("brain", Dtype::Bf16, vec![2, 1, 2]),
            ]),
        ),
        ("scalar", Layout::new([("s", Dtype::F32, Vec::new())])),
    ];
    for (name, layout) in layouts {
        let mut bytes = Vec::new();
        safetensors::write_to(&Parameters::zeros(layout.unwrap()), &mut bytes).unwrap();
        keep("safetensors", name, &bytes);
    }
}

fn run_files() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            keep("run_file", path.file_stem().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
        }
    }
}

/// Sequences that get somewhere: the bytes are choices of the targets.
fn machines() {
    // A round of two clients from joining to the commit: (kind, choice, ticket) for what is said, one byte for answers.
    let joined = [[8, 0, 65], [8, 1, 65]].concat();
    let staged = [[17, 16, 65], [17, 17, 65]].concat();
    let answers = [0; 10];
    keep("coordinator_machine", "a-round", &[&[48][..], &answers, &joined, &answers, &staged, &answers].concat());
    keep("coordinator_machine", "a-restart", &[&[51][..], &answers, &joined, &answers, &staged, &[7, 0]].concat());
    let work = [[1, 65, 0], [9, 65, 1], [4, 65, 0], [5, 65, 0], [6, 65, 7]];
    keep("client_machine", "a-round", &work.concat());
    keep("client_machine", "a-cut", &[[1, 65, 0], [9, 65, 1], [4, 65, 0], [2, 65, 0], [5, 65, 0]].concat());
}
