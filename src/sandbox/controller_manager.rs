//! Starts the controller manager.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use super::api_server::flag_with;
use super::binaries::Binaries;
use super::certs::Certs;
use super::error::SandboxError;
use super::process::Process;

/// How long the controller manager may take to do its first work.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Starts the controller manager and waits for a first sign of its work.
pub(super) async fn start(
    binaries: &Binaries,
    data_dir: &Path,
    certs: &Certs,
    kubeconfig: &Path,
    client: Client,
) -> Result<Process, SandboxError> {
    let program = binaries.kube_controller_manager.as_deref().unwrap_or(Path::new("kube-controller-manager"));
    let args = vec![
        flag_with("--kubeconfig", kubeconfig),
        flag_with("--service-account-private-key-file", &certs.file("service-account.key")),
        flag_with("--root-ca-file", &certs.file("ca.crt")),
        flag_with("--cluster-signing-cert-file", &certs.file("ca.crt")),
        flag_with("--cluster-signing-key-file", &certs.file("ca.key")),
        "--use-service-account-credentials=true".into(),
        // It is the only one.
        "--leader-elect=false".into(),
        // At its start each of its many controllers asks for what it watches,
        // and the default of 20 requests a second makes that take seconds.
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
        // It serves nothing that a sandbox needs, and so needs no port.
        "--secure-port=0".into(),
    ];
    let mut process = Process::spawn(
        "kube-controller-manager",
        program,
        binaries.supervisor.as_deref(),
        args,
        data_dir.join("kube-controller-manager.log"),
    )?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
    let works = async {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            process.check()?;
            if accounts.get("default").await.is_ok() {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(READY_WITHIN, works).await {
        Ok(Ok(())) => Ok(process),
        Ok(Err(e)) => Err(e),
        Err(_) => {
            Err(process
                .not_ready(READY_WITHIN, "the service account default/default is not there".to_owned()))
        }
    }
}
