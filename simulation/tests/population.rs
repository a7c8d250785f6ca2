//! What clients cost that take no part. A process of its own, because it looks at the most memory that the process ever
//! held, and alone in it, because other tests would take memory meanwhile.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tributary_client::plan::Plan;
use tributary_client::supply::Supply;
use tributary_client::trainer::{Local, Trainer};
use tributary_common::config::Document;
use tributary_common::event::Event;
use tributary_common::id::RunId;
use tributary_coordinator::store::Memory;
use tributary_simulation::{Run, simulate};

/// Examples of a client.
const EACH: usize = 10;

/// Simulates two rounds of ten clients among so many; returns how many took part in all.
fn simulated(clients: usize) -> u64 {
    let text = format!(
        "run = {{ name = 'crowd', seed = 1, rounds = 2 }}
         cohort = {{ size = 10 }}
         input = {{ shape = [8], classes = 4 }}
         data = {{ source = 'synthetic:{}', partition = {{ kind = 'iid', clients = {clients} }} }}
         model = {{ layers = [{{ kind = 'linear', out = 4 }}] }}
         train = {{ loss = 'cross_entropy', optimizer = {{ kind = 'sgd', lr = 0.1 }}, epochs = 1, batch = 10 }}
         sim = {{ drop_out = 0.1 }}",
        clients * EACH
    );
    let document = Document::parse("crowd.toml", &text).unwrap();
    let plan = Plan::parse(&document).unwrap();
    let supply = Supply::parse(document.table().section("data").unwrap(), PathBuf::new()).unwrap();
    let dealt = supply.load(&plan.input, plan.seed).unwrap();
    let run = Run::new(RunId([0; 16]), &document, dealt.into(), Arc::new(Memory)).unwrap();
    let trainers = vec![Box::new(Local::new(Arc::clone(&run.plan))) as Box<dyn Trainer>];
    let mut took_part = 0;
    simulate(run, trainers, &AtomicBool::new(false), &|| Duration::ZERO, &mut |event| {
        if let Event::Round(line) = event {
            took_part += line.clients;
        }
    })
    .unwrap();
    took_part
}

/// The most memory that this process ever held, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Without it a name, a machine or a list of its own for every client would go unnoticed until someone simulates a million;
/// the least that such a thing takes, 16 bytes a client, exceeds the bound.
#[test]
fn a_client_that_takes_no_part_costs_its_indices_and_labels() {
    const CLIENTS: usize = 500_000;
    assert!(simulated(1000) >= 16);
    let before = peak();
    assert!(simulated(CLIENTS) >= 16);
    let each = (peak() - before) / CLIENTS;
    // An index and a label of every example, four bytes each; where a client's part begins and ends, four bytes; a tenth
    // for the allocator.
    let promised = (EACH * 8 + 4) * 11 / 10;
    assert!(each <= promised, "{each} bytes an idle client, promised are {promised}");
}
