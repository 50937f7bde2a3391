//! The controller as a process of its own, which can be killed.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::eventually;

/// The program under test: that of this build, or the one that `SLUICE_BIN` names, such as a release.
///
/// # Panics
/// When `SLUICE_BIN` names no file: a test of another program than was meant would be worth nothing.
pub fn sluice_binary() -> PathBuf {
    match std::env::var_os("SLUICE_BIN") {
        Some(named) => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(named);
            assert!(path.is_file(), "SLUICE_BIN names {}, which is no file", path.display());
            path
        }
        None => env!("CARGO_BIN_EXE_sluice").into(),
    }
}

/// A controller process. Killed when dropped.
#[derive(Clone)]
pub struct ControllerProcess {
    child: Arc<Mutex<Child>>,
    log: PathBuf,
}

impl ControllerProcess {
    /// Starts the controller; its log is appended to `log`.
    pub fn start(kubeconfig: &Path, log: &Path) -> ControllerProcess {
        ControllerProcess::start_with(kubeconfig, log, &[])
    }

    /// The same with more arguments.
    pub fn start_with(kubeconfig: &Path, log: &Path, args: &[&str]) -> ControllerProcess {
        ControllerProcess::spawn(kubeconfig, log, args, "info")
    }

    /// The same, logging whatever there is to log.
    pub fn start_traced(kubeconfig: &Path, log: &Path) -> ControllerProcess {
        ControllerProcess::start_traced_with(kubeconfig, log, &[])
    }

    /// The same with more arguments.
    pub fn start_traced_with(kubeconfig: &Path, log: &Path, args: &[&str]) -> ControllerProcess {
        ControllerProcess::spawn(kubeconfig, log, args, "trace")
    }

    fn spawn(kubeconfig: &Path, log: &Path, args: &[&str], level: &str) -> ControllerProcess {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(sluice_binary())
            .args([
                "controller",
                "--address",
                "127.0.0.1:0",
                "--probes-address",
                "127.0.0.1:0",
                "--kubeconfig",
            ])
            .arg(kubeconfig)
            .args(args)
            .env("RUST_LOG", level)
            // The policies of these control planes are in force from the beginning.
            .env("SLUICE_POLICY_SETTLING", "0")
            // One that was killed would be waited for.
            .env("SLUICE_LEADER_ELECT", "false")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        ControllerProcess { child: Arc::new(Mutex::new(child)), log: log.to_owned() }
    }

    /// kill -9, and it is gone when this returns.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        // It may have ended by itself: that is noticed by what it no longer does.
        let _ended = child.kill();
        let _status = child.wait();
    }

    /// Asks it to end, as a node does, and waits until it has.
    pub async fn stop(&self) -> std::process::ExitStatus {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        for _ in 0..super::LOOKS {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            super::pause(50).await;
        }
        panic!("the controller does not end: {}", self.log());
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{signal}")).arg(&id).status().unwrap().success());
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// KiB that it holds in memory now, and the most that it ever held.
    pub fn memory(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.child.lock().unwrap().id());
        let status = std::fs::read_to_string(path).unwrap();
        let of = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Where it serves its probes, once it does.
    pub async fn address(&self) -> SocketAddr {
        let mut found = None;
        eventually("the log says where the probes are", async || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            found = text.lines().rev().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                line["fields"]["address"].as_str()?.parse().ok()
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Sends SIGTERM and waits for the end, which has half a minute to come.
    pub async fn terminate(&self) -> ExitStatus {
        let pid = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut ended = None;
        eventually("it ends by itself", async || {
            ended = self.child.lock().unwrap().try_wait().unwrap();
            ended.is_some()
        })
        .await;
        ended.unwrap()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for ControllerProcess {
    fn drop(&mut self) {
        if Arc::strong_count(&self.child) > 1 {
            return;
        }
        self.kill();
        // A task that panics takes nobody with it, so nothing else would show it.
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let panicked = text.lines().find(|line| line.contains("panicked at"));
        if let (Some(line), false) = (panicked, std::thread::panicking()) {
            panic!("the controller: {line}");
        }
    }
}
