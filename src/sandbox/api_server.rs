//! Starts the API server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::Client;

use super::binaries::Binaries;
use super::certs::{self, Certs};
use super::error::SandboxError;
use super::process::Process;
use super::ready;

/// Every request leaves one line, once it is answered.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{ "level": "Metadata" }]
}
"#;

/// All that an API server is started with, so that it can be started again.
#[derive(Debug)]
pub(super) struct ApiServer {
    program: PathBuf,
    supervisor: Option<PathBuf>,
    args: Vec<OsString>,
    log: PathBuf,
}

/// What the caller wants from the API server.
pub(super) struct Wishes<'a> {
    pub(super) audit_log: Option<&'a Path>,
    /// Whether a Pod needs its service account; without the controller
    /// manager nobody makes service accounts.
    pub(super) service_accounts: bool,
    /// Come last, and the last of a flag wins.
    pub(super) extra_args: &'a [String],
}

impl ApiServer {
    /// Prepares an API server on this port.
    pub(super) fn new(
        binaries: &Binaries,
        data_dir: &Path,
        certs: &Certs,
        etcd: &str,
        port: u16,
        wishes: &Wishes<'_>,
    ) -> Result<Self, SandboxError> {
        let mut args = base_args(certs, etcd, port);
        if let Some(log) = wishes.audit_log {
            args.extend(audit_args(data_dir, log)?);
        }
        if !wishes.service_accounts {
            args.push("--disable-admission-plugins=ServiceAccount".into());
        }
        args.extend(wishes.extra_args.iter().map(OsString::from));
        Ok(Self {
            program: binaries.kube_apiserver.clone(),
            supervisor: binaries.supervisor.clone(),
            args,
            log: data_dir.join("kube-apiserver.log"),
        })
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&self, client: &Client) -> Result<Process, SandboxError> {
        let mut process = Process::spawn(
            "kube-apiserver",
            &self.program,
            self.supervisor.as_deref(),
            self.args.clone(),
            self.log.clone(),
        )?;
        // The namespace `default` is made in the background, and a client may
        // want it at once.
        ready::wait(&mut process, client, &["/readyz", "/api/v1/namespaces/default"]).await?;
        Ok(process)
    }
}

fn base_args(certs: &Certs, etcd: &str, port: u16) -> Vec<OsString> {
    let file = |flag: &str, name: &str| flag_with(flag, &certs.file(name));
    vec![
        format!("--etcd-servers={etcd}").into(),
        "--bind-address=127.0.0.1".into(),
        // Said, so that it is not guessed from a network that may not be there.
        "--advertise-address=127.0.0.1".into(),
        format!("--secure-port={port}").into(),
        // A loopback address is not allowed as the endpoint of the service
        // `kubernetes`, and without nodes nobody uses that service.
        "--endpoint-reconciler-type=none".into(),
        file("--tls-cert-file", "serving.crt"),
        file("--tls-private-key-file", "serving.key"),
        file("--client-ca-file", "ca.crt"),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        file("--service-account-key-file", "service-account.pub"),
        file("--service-account-signing-key-file", "service-account.key"),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        "--allow-privileged=true".into(),
    ]
}

fn audit_args(data_dir: &Path, log: &Path) -> Result<Vec<OsString>, SandboxError> {
    let policy = data_dir.join("audit-policy.json");
    certs::write(&policy, AUDIT_POLICY)?;
    Ok(vec![
        flag_with("--audit-policy-file", &policy),
        flag_with("--audit-log-path", log),
        "--audit-log-format=json".into(),
        // A request is answered after its line is written, so that counts
        // are exact.
        "--audit-log-mode=blocking".into(),
        // In megabytes; the default of 0 means 100 and then a new file.
        "--audit-log-maxsize=100000".into(),
    ])
}

/// `--flag=path`, for a path that need not be UTF-8.
pub(super) fn flag_with(flag: &str, path: &Path) -> OsString {
    let mut arg = OsString::from(flag);
    arg.push("=");
    arg.push(path);
    arg
}
