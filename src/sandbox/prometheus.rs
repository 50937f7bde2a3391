//! Starts Prometheus.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::{Client, Config};
use serde_json::{Value, json};

use super::api_server::flag_with;
use super::binaries::{on_path, says_version};
use super::data_dir::DataDir;
use super::error::SandboxError;
use super::process::Process;
use super::recipe::{PROMETHEUS, SUPERVISOR};
use super::{build, ports, ready};

/// What a Prometheus is to be like.
#[derive(Debug, Clone)]
pub struct PrometheusOptions {
    /// Where it keeps its data, configuration and log: not the folder of a
    /// control plane, but one inside of it will do. `None`: a temporary
    /// folder, removed with the Prometheus.
    pub data_dir: Option<PathBuf>,
    /// What it scrapes, at the path `/metrics`.
    pub targets: Vec<ScrapeTarget>,
    /// How often, in whole milliseconds; 1 ms at least.
    pub scrape_interval: Duration,
}

impl Default for PrometheusOptions {
    /// A temporary folder, nothing to scrape, once a second.
    fn default() -> Self {
        Self { data_dir: None, targets: Vec::new(), scrape_interval: Duration::from_secs(1) }
    }
}

/// One address to be scraped.
#[derive(Debug, Clone)]
pub struct ScrapeTarget {
    /// The label `job` of its series.
    pub job: String,
    /// Host and port, such as `127.0.0.1:8080`.
    pub address: String,
    /// More labels of its series.
    pub labels: BTreeMap<String, String>,
}

impl ScrapeTarget {
    /// A target without labels of its own.
    pub fn new(job: impl Into<String>, address: impl ToString) -> Self {
        Self { job: job.into(), address: address.to_string(), labels: BTreeMap::new() }
    }
}

/// A running Prometheus 3 on the loopback, which keeps samples for a day.
///
/// It is found on `PATH`, if it is of version 3 or newer there, or in the
/// cache that [`Binaries`](super::Binaries) describes, or built with Go into
/// it, once. A built one has no web pages, only the API.
///
/// Dropping it kills it. [`Prometheus::stop`] lets it end by itself. One from
/// the cache also ends when this process is killed.
#[derive(Debug)]
pub struct Prometheus {
    // Dropped from top to bottom: the data last.
    process: Process,
    url: String,
    data_dir: DataDir,
}

impl Prometheus {
    /// Starts one and waits until it answers queries. Whether a target can be
    /// scraped is not waited for.
    ///
    /// Takes a second, and some minutes when it has to be built first.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoPrometheus`] if there is none and no Go to build it;
    /// [`SandboxError::Build`] if the build fails; [`SandboxError::InUse`] if
    /// another sandbox has the data folder; [`SandboxError::Exited`] or
    /// [`SandboxError::NotReady`], with the end of the log, if it does not
    /// start.
    pub async fn start(options: PrometheusOptions) -> Result<Self, SandboxError> {
        let (program, supervisor) = find().await?;
        let data_dir = DataDir::open(options.data_dir.clone())?;
        let file = data_dir.path().join("prometheus.yaml");
        // JSON, which is YAML, too.
        fs::write(&file, config(&options).to_string()).map_err(SandboxError::io("write", &file))?;
        let (process, url) = ports::on_free_port(async |port| {
            let url = format!("http://127.0.0.1:{port}");
            let mut process = Process::spawn(
                "prometheus",
                &program,
                supervisor.as_deref(),
                args(&file, data_dir.path(), port),
                data_dir.path().join("prometheus.log"),
            )?;
            ready::wait(&mut process, &client(&url)?, &["/-/ready"]).await?;
            Ok((process, url))
        })
        .await?;
        Ok(Self { process, url, data_dir })
    }

    /// Its address, like `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with data, configuration and log.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Lets it end by itself for up to five seconds and kills it then. A
    /// temporary data folder is removed.
    pub async fn stop(self) {
        self.process.stop().await;
    }
}

/// The program, and its supervisor if it has one.
async fn find() -> Result<(PathBuf, Option<PathBuf>), SandboxError> {
    if let Some(program) = on_path("prometheus")
        && major_version(&program).await.is_some_and(|major| major >= 3)
    {
        return Ok((program, None));
    }
    let folder = build::in_cache(&PROMETHEUS, |cache| SandboxError::NoPrometheus { cache }).await?;
    Ok((folder.join("prometheus"), Some(folder.join(SUPERVISOR))))
}

/// The major version that a program says it has.
async fn major_version(program: &Path) -> Option<u32> {
    major(&says_version(program).await?)
}

/// The major version in text such as `prometheus, version 3.16.0 (branch: …`.
fn major(text: &str) -> Option<u32> {
    text.strip_prefix("prometheus, version ")?.split('.').next()?.parse().ok()
}

fn args(config: &Path, data_dir: &Path, port: u16) -> Vec<OsString> {
    vec![
        flag_with("--config.file", config),
        flag_with("--storage.tsdb.path", &data_dir.join("data")),
        // Also a setting of the configuration, but not in every 3.x.
        "--storage.tsdb.retention.time=1d".into(),
        format!("--web.listen-address=127.0.0.1:{port}").into(),
        "--log.level=warn".into(),
    ]
}

fn config(options: &PrometheusOptions) -> Value {
    let targets: Vec<Value> = options
        .targets
        .iter()
        .map(|target| {
            let mut labels = target.labels.clone();
            labels.insert("job".to_owned(), target.job.clone());
            json!({ "targets": [target.address], "labels": labels })
        })
        .collect();
    json!({
        "global": { "scrape_interval": format!("{}ms", options.scrape_interval.as_millis()) },
        // The name is the job of targets without one, and all have one.
        "scrape_configs": [{ "job_name": "sandbox", "static_configs": targets }],
    })
}

/// A client without rights; that it is one for Kubernetes does not matter.
fn client(url: &str) -> Result<Client, SandboxError> {
    let url = url.parse().map_err(|e: http::uri::InvalidUri| SandboxError::Client(e.to_string()))?;
    Client::try_from(Config::new(url)).map_err(|e| SandboxError::Client(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_only_where_it_is_said() {
        assert_eq!(major("prometheus, version 3.16.0 (branch: HEAD, revision: 1)\n  build user: x"), Some(3));
        assert_eq!(major("prometheus, version 2.53.1 (branch: )"), Some(2));
        assert_eq!(major("prometheus, version 12.0.0"), Some(12));
        assert_eq!(major("prometheus, version  (branch: , revision: unknown)"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn every_target_has_its_job_and_labels() {
        let mut target = ScrapeTarget::new("app", "127.0.0.1:1");
        target.labels.insert("tenant".to_owned(), "a".to_owned());
        let targets = vec![target, ScrapeTarget::new("app", "127.0.0.1:2")];
        let options = PrometheusOptions {
            targets,
            scrape_interval: Duration::from_millis(200),
            ..PrometheusOptions::default()
        };
        assert_eq!(
            config(&options),
            json!({
                "global": { "scrape_interval": "200ms" },
                "scrape_configs": [{ "job_name": "sandbox", "static_configs": [
                    { "targets": ["127.0.0.1:1"], "labels": { "job": "app", "tenant": "a" } },
                    { "targets": ["127.0.0.1:2"], "labels": { "job": "app" } },
                ] }],
            })
        );
    }
}
