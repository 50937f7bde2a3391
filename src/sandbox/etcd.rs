//! Starts etcd.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;

use super::binaries::Binaries;
use super::error::SandboxError;
use super::ports;
use super::process::Process;

/// How long etcd may take to listen; it takes a fraction of a second.
const READY_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Starts etcd on a free port and waits until it listens. Returns it with its
/// address.
pub(super) async fn start(
    binaries: &Binaries,
    data_dir: &Path,
    extra_args: &[String],
) -> Result<(Process, String), SandboxError> {
    ports::on_free_port(async |port| {
        let url = format!("http://127.0.0.1:{port}");
        let mut process = Process::spawn(
            "etcd",
            &binaries.etcd,
            binaries.supervisor.as_deref(),
            args(&url, data_dir, extra_args),
            data_dir.join("etcd.log"),
        )?;
        wait(&mut process, port).await?;
        Ok((process, url))
    })
    .await
}

fn args(url: &str, data_dir: &Path, extra: &[String]) -> Vec<OsString> {
    let mut data = OsString::from("--data-dir=");
    data.push(data_dir.join("etcd"));
    let mut args = vec![
        data,
        format!("--listen-client-urls={url}").into(),
        format!("--advertise-client-urls={url}").into(),
        // It has no peers, but insists on listening for them.
        "--listen-peer-urls=http://127.0.0.1:0".into(),
        // What a power cut may take from a sandbox is no loss, and syncing is
        // most of what a write costs.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ];
    args.extend(extra.iter().map(OsString::from));
    args
}

async fn wait(process: &mut Process, port: u16) -> Result<(), SandboxError> {
    let listens = async {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            process.check()?;
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(READY_WITHIN, listens).await {
        Ok(result) => result,
        Err(_) => Err(process.not_ready(READY_WITHIN, "it does not listen".to_owned())),
    }
}
