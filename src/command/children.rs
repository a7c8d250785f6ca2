//! Processes of this program that it starts itself: each in a process group of its own, each ending when its standard
//! input closes.
//!
//! The parent holds the writing ends of those inputs. However it goes, also by SIGKILL, the system closes them, and the
//! children end: nothing outlives it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::exit::{Failure, RUN_FAILED};

/// How long children may take to end by themselves.
const GOODBYE: Duration = Duration::from_secs(8);

/// How often it is looked whether a child has ended or the address is there.
const LOOK: Duration = Duration::from_millis(10);

/// The processes that were started, the coordinator first.
#[derive(Default)]
pub(super) struct Children(Vec<Child>);

fn failed(error: std::io::Error) -> Failure {
    Failure::new(RUN_FAILED, format!("could not start a process: {error}"))
}

impl Children {
    /// A process to be started: its own group, so that Ctrl-C reaches the parent alone, which then ends all in order.
    pub(super) fn command(&self, name: &str) -> Result<Command, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(RUN_FAILED, format!("could not find this program: {error}")))?;
        let mut command = Command::new(program);
        command.arg(name).args(["--quiet", "--tethered"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        Ok(command)
    }

    /// A coordinator to be started on a free port that only this machine reaches; it writes its address to a file.
    pub(super) fn coordinator(&self, run: &Path, identity: &Path, address: &Path) -> Result<Command, Failure> {
        let mut command = self.command("coordinator")?;
        command.arg(run).args(["--listen", "127.0.0.1:0"]);
        command.arg("--identity").arg(identity).arg("--address-file").arg(address);
        Ok(command)
    }

    pub(super) fn start(&mut self, mut command: Command) -> Result<(), Failure> {
        self.0.push(command.spawn().map_err(failed)?);
        Ok(())
    }

    pub(super) fn start_with_output(&mut self, mut command: Command) -> Result<ChildStdout, Failure> {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let output = child.stdout.take().expect("it was piped");
        self.0.push(child);
        Ok(output)
    }

    /// Waits for the file in which the coordinator says where it listens; there is none where the wait is stopped.
    pub(super) fn address(
        &mut self,
        file: &Path,
        longest: Duration,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Option<String>, Failure> {
        let began = super::sim::now();
        while began.elapsed() < longest {
            if let Ok(address) = std::fs::read_to_string(file) {
                return Ok(Some(address));
            }
            if is_stopped() {
                return Ok(None);
            }
            self.coordinator_lives()?;
            std::thread::sleep(LOOK);
        }
        Err(Failure::new(RUN_FAILED, format!("the coordinator did not listen within {} s", longest.as_secs())))
    }

    fn coordinator_lives(&mut self) -> Result<(), Failure> {
        match self.0.first_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            Some(Ok(Some(status))) => {
                Err(Failure::new(RUN_FAILED, format!("the coordinator ended at once ({status})"))
                    .with_hint(Some("its own message stands above")))
            }
            Some(Err(error)) => Err(failed(error)),
            None => Err(Failure::new(RUN_FAILED, "there is no coordinator")),
        }
    }

    pub(super) fn coordinator_id(&self) -> Option<u32> {
        self.0.first().map(Child::id)
    }

    pub(super) fn coordinator_has_ended(&mut self) -> bool {
        !matches!(self.0.first_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// Waits for the coordinator's own end, and says if it was a bad one.
    pub(super) fn coordinator_ended(&mut self) -> Result<(), Failure> {
        let Some(coordinator) = self.0.first_mut() else { return Ok(()) };
        let status = coordinator.wait().map_err(failed)?;
        match status.code() {
            // A gate that was missed is judged by the parent, which has the numbers.
            Some(0 | 6) => Ok(()),
            _ => Err(Failure::new(RUN_FAILED, format!("the coordinator failed ({status})"))),
        }
    }

    /// Closes all inputs, waits, and kills what is still there.
    pub(super) fn end(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
        }
        let began = super::sim::now();
        for child in &mut self.0 {
            while matches!(child.try_wait(), Ok(None)) {
                if began.elapsed() > GOODBYE {
                    drop(child.kill());
                    drop(child.wait());
                    break;
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}
