//! `--device`: opened once a command, and told where it is not what one might expect.

use tributary_client::cli;
use tributary_client::device::Device;

use crate::arguments;
use crate::exit::Failure;
use crate::output::Output;

/// Makes the device ready that was asked for; says why `auto` took the cores although this program knows CUDA.
pub(super) fn open(arguments: arguments::Device, output: Output) -> Result<Device, Failure> {
    let device = cli::device(arguments.device)?.open()?;
    match device.passed_over() {
        Some(reason) => output.say(&format!("computing on the CPU: {reason}")),
        None if !device.is_cpu() => output.say(&format!("computing on {}", device.name())),
        None => {}
    }
    Ok(device)
}
