//! Layers beyond dense ones, as a run file names them.

use std::fmt::Write;

use super::process::{Said, example, run, tributary};

/// The central accuracy of the last round.
fn accuracy(said: Said) -> f64 {
    let events = said.ends_well().events();
    let mut rounds = events.iter().filter(|event| event["event"] == "round");
    rounds.next_back().unwrap()["central"]["accuracy"].as_f64().unwrap()
}

/// The example for networks that would use batch normalisation elsewhere.
#[test]
fn group_normalisation_learns_from_clients_of_two_classes_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tributary(folder.path());
    command.arg("sim").arg(example("digits-cnn.toml")).args(["--json-lines", "--no-out", "--set", "run.rounds=12"]);
    let accuracy = accuracy(run(&mut command));
    // Chance is 0.1; two classes in ten, all that one client knows, are 0.2.
    assert!(accuracy > 0.8, "{accuracy}");
}

const SENTENCES: &str = "
run = { name = 'sentences', seed = 1, rounds = 8 }
input = { shape = [5], classes = 2 }
data = { source = 'csv:words.csv', test = { every = 4 }, partition = { kind = 'iid', clients = 4 } }
model.layers = [{ kind = 'embedding', count = 20, out = 8 }, { kind = 'layer_norm' }, 'flatten', { kind = 'linear', out = 2 }]
train = { loss = 'cross_entropy', optimizer = { kind = 'sgd', lr = 0.1 }, epochs = 2, batch = 10 }
evaluate.on = ['central']
";

/// Sentences of five words of twenty; the class is that of the half of the vocabulary which most of them come from.
fn sentences(rows: u32) -> String {
    let mut text = "first,second,third,fourth,fifth,class\n".to_owned();
    let mut state = 1_u32;
    for _ in 0..rows {
        let words: [u32; 5] = std::array::from_fn(|_| {
            // Knuth's linear congruential generator; its high bits are good enough.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % 20
        });
        let class = u32::from(words.iter().filter(|&&word| word >= 10).count() > 2);
        writeln!(text, "{},{class}", words.map(|word| word.to_string()).join(",")).unwrap();
    }
    text
}

#[test]
fn words_of_a_table_are_looked_up_and_those_beyond_it_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), SENTENCES).unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("words.csv"), text).unwrap();
    let simulate = || run(tributary(folder.path()).args(["sim", "run.toml", "--json-lines", "--no-out"]));
    let text = sentences(600);
    write(&text);
    let accuracy = accuracy(simulate());
    assert!(accuracy > 0.85, "{accuracy}");
    for wrong in ["1,2,20,4,5,0", "1,2,0.5,4,5,0"] {
        write(&format!("{text}{wrong}\n"));
        let parts =
            ["words.csv`", "value `third` of row 600 (counted from 0) is no whole number from 0 to 19", "hint:"];
        simulate().fails(3, &parts);
    }
}
