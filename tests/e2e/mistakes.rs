//! What people mistype: every error says where, what was found and what to do.

use super::process::{example, say, tributary};

/// A run file with one line replaced, checked.
fn check(from: &str, to: &str, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(example("digits.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(folder.path().join("mine.toml"), text.replace(from, to)).unwrap();
    for command in [&["check", "mine.toml"][..], &["sim", "mine.toml", "--no-out"], &["demo", "mine.toml"]] {
        say(folder.path(), command).fails(3, parts);
    }
}

#[test]
fn unknown_keys_and_names_are_met_with_the_nearest_ones() {
    check(
        "rounds = 40",
        "ruonds = 40",
        &["run file `mine.toml`, line 5", "unknown key `ruonds`", "did you mean `rounds`"],
    );
    check("[server]", "[sever]", &["line 31", "unknown section or key `sever`", "did you mean `server`"]);
    check("kind = \"relu\"", "kind = \"rleu\"", &["line 23", "unknown layer `rleu`", "did you mean `relu`"]);
    check("kind = \"shards\"", "kind = \"shard\"", &["unknown partition `shard`", "did you mean `shards`"]);
    check("\"cross_entropy\"", "\"cross_entrop\"", &["did you mean `cross_entropy`"]);
    check("\"digits\"       #", "\"digit\"       #", &["did you mean `digits`"]);
}

#[test]
fn wrong_types_and_impossible_combinations_name_their_line() {
    check("rounds = 40", "rounds = \"40\"", &["line 5", "`run.rounds`"]);
    check("batch = 16", "batch = 0", &["`train.batch`"]);
    check("epochs = 2", "epochs = 2\nsteps = 3", &["steps", "epochs"]);
    check("on = [\"local\", \"central\"]", "on = [\"local\"]\ngate = 0.9", &["gate", "central"]);
    check("shape = [64]", "shape = [8, 8]", &["layer 0", "linear"]);
    check("{ kind = \"relu\" }", "{ kind = \"conv2d\", out = 2, kernel = 3 }", &["layer 1", "conv2d", "[64]"]);
    check("holdout = 0.1", "holdout = 1.5", &["data.holdout"]);
    check("clients = 10,", "clients = 5000,", &["hint:"]);
    check("test = { every = 5 }", "", &["names central", "data.test", "hint: write data.test"]);
}

/// Without it a large kernel would end every command that trains in an abort, or whatever else the machine was doing.
#[test]
fn steps_that_no_memory_holds_are_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        run = { name = "big", seed = 1, rounds = 1 }
        cohort = { size = "all", wait_for = 1 }
        input = { shape = [4, 1024, 1024], classes = 2 }
        data = { source = "synthetic:1", partition = { kind = "iid", clients = 1 } }
        model = { layers = [{ kind = "conv2d", out = 2, kernel = 64 }, { kind = "max_pool2d", size = 961 }, "flatten", { kind = "linear", out = 2 }] }
        train = { loss = "cross_entropy", optimizer = { kind = "sgd", lr = 0.1 }, steps = 1, batch = 1 }
        evaluate = { on = [] }
    "#;
    std::fs::write(folder.path().join("big.toml"), text).unwrap();
    for command in [&["check"][..], &["sim", "--no-out"], &["demo"], &["bench", "train"]] {
        say(folder.path(), &[command, &["big.toml"]].concat()).fails(
            3,
            &[
                "could not hold a batch of 1: its layers need more",
                "hint: lower `train.batch`, or make layers or kernels smaller",
            ],
        );
    }
}

#[test]
fn files_that_are_not_there_or_no_toml_are_named() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), &["sim", "nowhere.toml"]).fails(3, &["could not read run file `nowhere.toml`", "hint:"]);
    std::fs::write(folder.path().join("broken.toml"), "[run\nname = 1").unwrap();
    say(folder.path(), &["check", "broken.toml"]).fails(3, &["broken.toml", "line 1"]);
    say(folder.path(), &["report", "nowhere"]).fails(3, &["nowhere", "hint:"]);
}

#[test]
fn mistyped_commands_and_options_end_with_usage() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), &["simulate"]).fails(2, &["simulate", "sim"]);
    say(folder.path(), &["sim"]).fails(2, &["RUN.toml"]);
    say(folder.path(), &["list", "layer"]).fails(2, &["there is no kind `layer`", "did you mean `layers`"]);
    let file = example("digits.toml");
    for workers in ["0", "257", "20000"] {
        let said = say(folder.path(), &["sim", file.to_str().unwrap(), "--workers", workers, "--no-out"]);
        said.fails(2, &["--workers", workers, "1..=256"]);
    }
    for stack in ["0", "257"] {
        let mistyped = say(folder.path(), &["sim", file.to_str().unwrap(), "--stack", stack, "--no-out"]);
        mistyped.fails(2, &["--stack", stack, "1..=256"]);
    }
}

/// Whoever asks for CUDA and gets the CPU would wait for hours without knowing why.
#[test]
fn a_device_that_is_mistyped_or_not_there_is_refused_by_every_command_that_computes() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let file = file.to_str().unwrap();
    let commands = [
        &["sim", file, "--no-out"][..],
        &["demo", file],
        &["eval", "none.safetensors", "--run", file],
        &["bench", "train", file],
        &["client", "--check", "--run", file, "--part", "0"],
    ];
    for command in commands {
        let with = |device| say(folder.path(), &[command, &["--device", device]].concat());
        with("cdua:0").fails(2, &["there is no device `cdua:0`", "did you mean `cuda:0`"]);
        with("cuda:1023").fails(2, &["could not use device `cuda:1023`", "hint:", "cpu"]);
    }
    // Said once for all commands of a shell; what is typed counts more.
    let run = ["sim", file, "--no-out", "--set", "run.rounds=1", "--json"];
    let told = |more: &[&str]| {
        let mut command = tributary(folder.path());
        super::process::run(command.env("TRIBUTARY_DEVICE", "cuda:1023").args(run).args(more))
    };
    told(&[]).fails(2, &["could not use device `cuda:1023`"]);
    told(&["--device", "cpu"]).ends_well();
}

/// What goes wrong without it: whoever typed no `--device` looks for it in what was typed.
#[test]
fn a_device_that_the_environment_mistypes_is_blamed_on_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let file = file.to_str().unwrap();
    let commands = [
        &["sim", file, "--no-out", "--set", "run.rounds=1", "--json"][..],
        &["client", "--check", "--run", file, "--part", "0"],
    ];
    for arguments in commands {
        let with =
            |device| super::process::run(tributary(folder.path()).env("TRIBUTARY_DEVICE", device).args(arguments));
        let said = with("cdua:0");
        said.fails(2, &["TRIBUTARY_DEVICE: there is no device `cdua:0`; did you mean `cuda:0`"]);
        assert!(!said.err.contains("--device"), "{}", said.err);
        with("").ends_well();
    }
}

/// What goes wrong without it: an address that cannot be one is tried for seconds, and then it is the network's fault.
#[test]
fn a_coordinators_address_that_cannot_be_one_is_refused_by_every_command_that_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        &["client", "--identity", "none", "--data", "digits"][..],
        &["bench", "link", "--identity", "none"],
        &["load", "--authority", "none"],
        &["doctor", "--identity", "none"],
    ];
    for command in commands {
        let with = |address: &str| say(folder.path(), &[command, &["--coordinator", address]].concat());
        for address in ["127.0.0.1", "hub.example", "[::1]", "fe80::1", "hub.example:"] {
            with(address).fails(2, &[&format!("`{address}` has no port: give HOST:PORT")]);
        }
        for port in ["99999", "0", "-1", "port"] {
            let address = format!("127.0.0.1:{port}");
            with(&address).fails(2, &[&format!("`{port}` is no port: give one from 1 to 65535")]);
        }
        with(":4433").fails(2, &["`:4433` has no host: give HOST:PORT"]);
        for address in ["[::1]:1", "127.0.0.1:1", "localhost:1"] {
            let said = with(address);
            assert!(said.code != 2 && said.code != 0, "{}", said.err);
        }
    }
}

#[test]
fn broken_model_files_are_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("golden-fedavg.toml");
    let file = file.to_str().unwrap();
    let eval = |name: &str| say(folder.path(), &["eval", name, "--run", file]);
    say(folder.path(), &["sim", file, "--set", "run.rounds=1", "--out", "one", "--json"]).ends_well();
    let said = eval("one/model.safetensors").ends_well();
    assert!(said.out.contains("accuracy        0.552778"), "{}", said.out);
    let whole = std::fs::read(folder.path().join("one/model.safetensors")).unwrap();
    let check = |name: &str, bytes: &[u8], parts: &[&str]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        eval(name).fails(3, parts);
    };
    check("short.safetensors", &whole[..whole.len() - 1], &["short.safetensors"]);
    check("empty.safetensors", b"", &["empty.safetensors"]);
    // A header of 2^60 bytes.
    check(
        "huge.safetensors",
        &[&(1_u64 << 60).to_le_bytes()[..], &whole[8..]].concat(),
        &["huge.safetensors", "header"],
    );
    let other = example("digits.toml");
    let said = say(folder.path(), &["eval", "one/model.safetensors", "--run", other.to_str().unwrap()]);
    said.fails(3, &["model"]);
}

/// Nothing is drawn or allocated before: the answer comes at once, not after the machine's memory is full.
#[test]
fn a_model_that_has_no_room_is_refused_before_it_is_drawn() {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    if total > 190_000_000_000 {
        return eprintln!("this machine may have room for the largest model: that it is refused was not tried");
    }
    let folder = tempfile::tempdir().unwrap();
    // 2^24 · (64 + 900) weights are 64.7 GB.
    let layers = r#"model.layers=[{ kind = "linear", out = 16777216, bias = false }, { kind = "linear", out = 900, bias = false }, { kind = "linear", out = 10 }]"#;
    let file = example("digits.toml");
    let parts =
        ["a model of 64.7 GB takes 194.1 GB of this machine's memory at least", "are free", "hint: make its layers"];
    for command in [&["sim", "--no-out"][..], &["bench", "train"], &["bench", "link"]] {
        let said = say(folder.path(), &[command, &[file.to_str().unwrap(), "--set", layers]].concat());
        said.fails(3, &parts);
    }
}

/// What goes wrong without it: whoever measures a model with another run's file, or another file, is not told which of them
/// to change.
#[test]
fn what_cannot_be_measured_is_named_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let file = example("digits.toml");
    let file = file.to_str().unwrap();
    say(folder.path(), &["sim", file, "--out", "here", "--set", "run.rounds=1"]).ends_well();
    let narrow = "model.layers=[{kind='linear',out=10}]";
    let eval = |more: &[&str]| say(folder.path(), &[&["eval"], more, &["--run", file]].concat());
    let model = "here/model.safetensors";
    eval(&[model, "--set", narrow]).fails(
        3,
        &[
            model,
            "digits.toml",
            "tensor `0.bias` is [64] of f32, by the plan's layers [10] of f32",
            "hint: give the run file",
        ],
    );
    eval(&[model, "--data", "csv:nope.csv"]).fails(3, &["`nope.csv`: No such file", "the working directory"]);
    std::fs::write(folder.path().join("x.csv"), "x,label\n1,0\n2,1\n").unwrap();
    eval(&["x.csv"]).fails(3, &["`x.csv`: it is no whole safetensors file"]);
}
