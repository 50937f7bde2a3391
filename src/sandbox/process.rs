//! One component as a child process: log file, stop, and no survivors.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::error::SandboxError;

/// How long a component may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often a component is looked at while something is awaited from it.
const POLL: Duration = Duration::from_millis(20);
/// How long a supervisor may take to kill its child before both are killed.
const KILL_POLLS: u32 = 100;
/// How much of a log an error shows.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 20;

/// A running component. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    // Not tokio's: a sandbox shared by tests outlives the runtime it was
    // started on, and must be killed from wherever it is dropped.
    child: Child,
    supervised: bool,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output appended to `log`.
    ///
    /// With a supervisor (the multi-call binary) the program also ends when
    /// this process dies without a chance to clean up.
    pub(super) fn spawn(
        name: &'static str,
        program: &Path,
        supervisor: Option<&Path>,
        args: Vec<OsString>,
        log: PathBuf,
    ) -> Result<Self, SandboxError> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(SandboxError::io("open the log", &log))?;
        let err = out.try_clone().map_err(SandboxError::io("open the log", &log))?;
        let (mut command, stdin) = match supervisor {
            Some(supervisor) => {
                let mut command = Command::new(supervisor);
                command.arg("supervise").arg("--").arg(program);
                // The child keeps the write end and never writes: that it
                // closes is the message.
                (command, Stdio::piped())
            }
            None => (Command::new(program), Stdio::null()),
        };
        let child = command
            .args(args)
            .stdin(stdin)
            .stdout(out)
            .stderr(err)
            // Ctrl-C in the terminal must reach the caller only, which then
            // stops the components in their order.
            .process_group(0)
            .spawn()
            .map_err(SandboxError::io("run", program))?;
        Ok(Self { name, child, supervised: supervisor.is_some(), log })
    }

    /// Fails with the end of the log if the component has ended.
    pub(super) fn check(&mut self) -> Result<(), SandboxError> {
        match self.exited() {
            None => Ok(()),
            Some(status) => Err(SandboxError::Exited {
                component: self.name,
                status: status.to_string(),
                tail: self.tail(),
                log: self.log.clone(),
            }),
        }
    }

    /// The error for a component that runs but is not ready.
    pub(super) fn not_ready(&self, waited: Duration, reason: String) -> SandboxError {
        SandboxError::NotReady {
            component: self.name,
            seconds: waited.as_secs(),
            reason,
            tail: self.tail(),
            log: self.log.clone(),
        }
    }

    /// Asks the component to end, and kills it after five seconds.
    pub(super) async fn stop(mut self) {
        // Only the supervisor is told: it passes the signal on, and the API
        // server takes a second one as "exit at once".
        let _ = kill(self.pid(), Signal::SIGTERM);
        let ended = async {
            let mut poll = tokio::time::interval(POLL);
            while self.exited().is_none() {
                poll.tick().await;
            }
        };
        let _ = tokio::time::timeout(GRACE, ended).await;
        // Drop kills what is left.
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn pid(&self) -> Pid {
        // Linux and macOS keep process ids far below i32::MAX.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|e| format!("(the log cannot be read: {e})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_some() {
            return;
        }
        if self.supervised {
            // The supervisor kills its child, waits for it and ends; so when
            // it has ended, ports and files are free. Killing the group does
            // not tell when the child is gone.
            let _ = kill(self.pid(), Signal::SIGQUIT);
            for _ in 0..KILL_POLLS {
                if self.exited().is_some() {
                    return;
                }
                std::thread::sleep(POLL);
            }
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The last lines of a file.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}
