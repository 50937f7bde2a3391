//! The controller as a process of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluice::clock;
use tokio::process::{Child, Command};

/// A running controller, killed when dropped.
pub struct Controller {
    child: Child,
    address: SocketAddr,
    http: reqwest::Client,
    /// When it was started.
    pub started: Instant,
}

impl Controller {
    /// Starts one that asks nobody whether it may decide. It is ready some time later.
    pub fn start(kubeconfig: &Path, log: &Path, concurrency: Option<u16>, nudge_pods: bool) -> Controller {
        let mut arguments = vec!["--leader-elect=false".to_owned()];
        if let Some(concurrency) = concurrency {
            arguments.push(format!("--concurrency={concurrency}"));
        }
        if nudge_pods {
            arguments.push("--nudge-pods".to_owned());
        }
        Controller::with(kubeconfig, log, &arguments)
    }

    /// Starts one with these arguments besides.
    pub fn with(kubeconfig: &Path, log: &Path, arguments: &[String]) -> Controller {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("controller").arg("--kubeconfig").arg(kubeconfig);
        command.arg("--address").arg(address.to_string()).arg("--probes-address").arg("127.0.0.1:0");
        command.args(arguments);
        let log = File::options().create(true).append(true).open(log).unwrap();
        let started = clock::monotonic();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the controller starts");
        Controller { child, address, http: reqwest::Client::new(), started }
    }

    /// Kills it without a word, as a node that fails does.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, as a kubelet does, and does not wait for that.
    pub fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits until a metric is at least this; returns how long after the start of the process that was.
    pub async fn until(&self, metric: &str, least: f64) -> Duration {
        let give_up = clock::monotonic();
        loop {
            let value = self.metric(metric).await;
            if value.is_some_and(|value| value >= least) {
                return self.started.elapsed();
            }
            assert!(give_up.elapsed() < Duration::from_secs(300), "{metric} is {value:?}, not {least}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it has listed everything.
    pub async fn until_ready(&self) {
        let url = format!("http://{}/readyz", self.address);
        for _ in 0..3000 {
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            clock::sleep(Duration::from_millis(10)).await;
        }
        panic!("the controller never became ready");
    }

    /// A metric without labels, if it is served.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let url = format!("http://{}/metrics", self.address);
        let text = self.http.get(url).send().await.ok()?.text().await.ok()?;
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Seconds of CPU that it has used so far, in hundredths: the kernel's ticks.
    pub fn cpu_seconds(&self) -> f64 {
        let pid = self.child.id().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // After the name, which may have spaces in it, the twelfth and thirteenth fields are the times of user and kernel.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
        ticks.sum::<f64>() / 100.0
    }

    /// MiB that it holds in memory now.
    pub fn resident_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    /// The most MiB that it ever held in memory.
    pub fn peak_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, which: &str) -> f64 {
        let pid = self.child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }
}
