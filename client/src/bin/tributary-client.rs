//! The lean client for devices: what `tributary client` does, and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tributary_client::cli;

/// Take part in federated learning with this machine's data
#[derive(Debug, Parser)]
#[command(name = "tributary-client", version)]
struct Command {
    #[command(flatten)]
    arguments: cli::Arguments,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    let is_quiet = command.quiet;
    let say = move |text: &str| {
        if !is_quiet {
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    };
    let result = if command.arguments.check {
        cli::check(&command.arguments).map(|fit| {
            say(&format!("the data fit: {} examples to train on, {} to measure on", fit.examples, fit.held_out));
            cli::OK
        })
    } else {
        cli::run(&command.arguments, say)
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let hint = failure.hint.map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
            drop(writeln!(std::io::stderr().lock(), "error: {}{hint}", failure.text));
            ExitCode::from(failure.code)
        }
    }
}
