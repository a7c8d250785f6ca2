//! The one command: arguments, output and exit codes. What the product does stands in the other crates.

mod arguments;
mod command;
mod exit;
mod file;
mod output;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are results; anything else is a mistake in the arguments.
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let output = output::Output::new(&arguments.global);
    output.log();
    match command::run(&arguments, &output).and_then(|code| output.end().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}
