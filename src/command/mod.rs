//! One file a command.

mod bench;
mod certs;
mod check;
mod children;
mod client;
mod coordinator;
mod demo;
mod device;
mod doctor;
mod eval;
mod federation;
mod inspect;
mod list;
mod load;
pub(crate) mod memory;
mod report;
mod run_folder;
mod sim;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::exit::{self, Failure};
use crate::output::Output;

/// Runs the command that was typed; the number is the exit code.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<u8, Failure> {
    let output = *output;
    match &arguments.command {
        Command::Demo(demo) => demo::run(demo, output),
        Command::Sim(sim) => sim::run(sim, output),
        Command::Check(check) => check::run(check, output),
        Command::Bench(bench) => bench::run(&bench.command, output),
        Command::Doctor(doctor) => doctor::run(doctor, output),
        Command::Coordinator(coordinator) => coordinator::run(coordinator, output),
        Command::Client(client) => client::run(client, output),
        Command::Certs(certs) => certs::run(&certs.command, output),
        Command::Report(report) => report::run(report, output),
        Command::Inspect(folder) => inspect::inspect(folder, output),
        Command::Verify(folder) => inspect::verify(folder, output),
        Command::Rollback(rollback) => inspect::rollback(rollback, output),
        Command::Eval(eval) => eval::run(eval, output),
        Command::List(list) => list::run(list, output),
        Command::Load(load) => load::run(load, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "tributary", &mut text);
            output.result(&String::from_utf8_lossy(&text));
            Ok(exit::OK)
        }
        Command::Man { folder } => {
            let io = |error| {
                Failure::new(exit::INVALID, format!("could not write manual pages to `{}`: {error}", folder.display()))
            };
            std::fs::create_dir_all(folder).map_err(io)?;
            clap_mangen::generate_to(Arguments::command(), folder).map_err(io)?;
            Ok(exit::OK)
        }
    }
}
