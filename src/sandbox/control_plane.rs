//! The control plane as a whole: starts, restarts and stops its components.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::api_server::{ApiServer, Wishes};
use super::binaries::Binaries;
use super::certs::{self, Certs};
use super::data_dir::DataDir;
use super::error::SandboxError;
use super::process::Process;
use super::{controller_manager, etcd, kubeconfig, ports};

/// What a control plane is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where it keeps its data, certificates and logs. One that was used
    /// before goes on from its data. `None`: a temporary folder, removed with
    /// the control plane.
    pub data_dir: Option<PathBuf>,
    /// Whether to run the controller manager, without which nothing is
    /// garbage-collected, no namespace finishes its deletion and no service
    /// account is made.
    pub controller_manager: bool,
    /// Whether the API server writes one line of JSON for each request, with
    /// its metadata, before it answers: see [`ControlPlane::audit_log_path`].
    pub audit_log: bool,
    /// More arguments for the API server; they win over the sandbox's own.
    pub extra_api_server_args: Vec<String>,
    /// The same for etcd.
    pub extra_etcd_args: Vec<String>,
}

/// A running control plane on the loopback, whose authorisation is RBAC.
///
/// Dropping it kills it. [`ControlPlane::stop`] lets it end by itself.
/// Programs from the cache (see [`Binaries`]) also end when this process is
/// killed; other ones then stay behind.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped from top to bottom: who depends on whom, and the data last.
    controller_manager: Option<Process>,
    running_api_server: Option<Process>,
    etcd: Option<Process>,
    etcd_url: String,
    api_server: ApiServer,
    binaries: Binaries,
    certs: Certs,
    url: String,
    kubeconfig: Kubeconfig,
    kubeconfig_path: PathBuf,
    config: Config,
    audit_log: Option<PathBuf>,
    data_dir: DataDir,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready: RBAC's own roles
    /// and the namespace `default` are there, and with the controller manager
    /// also that namespace's service account.
    ///
    /// Takes a few seconds, and some minutes when [`Binaries::find`] has to
    /// build the programs first.
    ///
    /// # Errors
    ///
    /// Whatever [`Binaries::find`] fails with; [`SandboxError::InUse`] if
    /// another one has the data folder; [`SandboxError::Exited`] or
    /// [`SandboxError::NotReady`], with the end of the log, if a component
    /// does not start.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let binaries = Binaries::find(options.controller_manager).await?;
        let data_dir = DataDir::open(options.data_dir.clone())?;
        let certs = Certs::open(data_dir.path().join("certs"))?;
        let (etcd, etcd_url) = etcd::start(&binaries, data_dir.path(), &options.extra_etcd_args).await?;

        let audit_log = options.audit_log.then(|| data_dir.path().join("audit.log"));
        let admin = certs.client("sluice-sandbox-admin", &["system:masters"])?;
        let wishes = Wishes {
            audit_log: audit_log.as_deref(),
            service_accounts: options.controller_manager,
            extra_args: &options.extra_api_server_args,
        };
        let (api_server, running_api_server, url, kubeconfig, config) = ports::on_free_port(async |port| {
            let url = format!("https://127.0.0.1:{port}");
            let kubeconfig = kubeconfig::kubeconfig(&url, certs.ca_pem(), &admin)?;
            let config = config_of(&kubeconfig).await?;
            let server = ApiServer::new(&binaries, data_dir.path(), &certs, &etcd_url, port, &wishes)?;
            let process = server.start(&client_of(&config)?).await?;
            Ok((server, process, url, kubeconfig, config))
        })
        .await?;
        let kubeconfig_path = data_dir.path().join("kubeconfig");
        certs::write(&kubeconfig_path, &kubeconfig::text(&kubeconfig)?)?;

        let mut plane = Self {
            controller_manager: None,
            running_api_server: Some(running_api_server),
            etcd: Some(etcd),
            etcd_url,
            api_server,
            binaries,
            certs,
            url,
            kubeconfig,
            kubeconfig_path,
            config,
            audit_log,
            data_dir,
        };
        if options.controller_manager {
            let process = controller_manager::start(
                &plane.binaries,
                plane.data_dir.path(),
                &plane.certs,
                &plane.kubeconfig_path,
                plane.client()?,
            )
            .await?;
            plane.controller_manager = Some(process);
        }
        Ok(plane)
    }

    /// The file with the administrator's kubeconfig, for `KUBECONFIG`. Only
    /// this user can read it.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig_path
    }

    /// The administrator's kubeconfig, certificates inside.
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.kubeconfig.clone()
    }

    /// The configuration of an administrator's client.
    pub fn client_config(&self) -> Config {
        self.config.clone()
    }

    /// A new client with the administrator's rights. It belongs to the
    /// runtime it is made on.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Client`] if the certificates do not make a TLS setup.
    pub fn client(&self) -> Result<Client, SandboxError> {
        client_of(&self.config)
    }

    /// The API server's address, like `https://127.0.0.1:40123`. It stays the
    /// same when the API server is started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Address of etcd, like `http://127.0.0.1:40124`. It lets everybody in.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// The file with one JSON audit event a line, if it was asked for. The
    /// line of a request is there once the request is answered.
    pub fn audit_log_path(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// A `kubectl`, if one came with the programs.
    pub fn kubectl_path(&self) -> Option<PathBuf> {
        self.binaries.kubectl.clone()
    }

    /// The folder with data, certificates and logs.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// A kubeconfig for a user whom the API server knows by this name and as
    /// a member of these groups (and of `system:authenticated`). It has no
    /// rights until a RoleBinding gives some.
    ///
    /// # Errors
    ///
    /// [`SandboxError::TooManyGroups`] for more than two groups;
    /// [`SandboxError::Certificates`] if the certificate cannot be made.
    pub fn user_kubeconfig(&self, name: &str, groups: &[&str]) -> Result<Kubeconfig, SandboxError> {
        let client = self.certs.client(name, groups)?;
        kubeconfig::kubeconfig(&self.url, self.certs.ca_pem(), &client)
    }

    /// Kills the API server at once, as an outage does; everything else goes
    /// on. Does nothing if it is not running.
    pub fn stop_api_server(&mut self) {
        self.running_api_server = None;
    }

    /// Starts the API server again, on the same port and data, and waits
    /// until it is ready. Does nothing if it is running.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Exited`] or [`SandboxError::NotReady`] if it does not
    /// start; also when someone took its port meanwhile.
    pub async fn start_api_server(&mut self) -> Result<(), SandboxError> {
        if let Some(process) = self.running_api_server.as_mut()
            && process.check().is_ok()
        {
            return Ok(());
        }
        let process = self.api_server.start(&self.client()?).await?;
        self.running_api_server = Some(process);
        Ok(())
    }

    /// Stops everything and waits for it: each component may end by itself
    /// for up to five seconds and is killed then. A temporary data folder is
    /// removed.
    ///
    /// # Errors
    ///
    /// None at present; what would not end is killed.
    pub async fn stop(mut self) -> Result<(), SandboxError> {
        let components = [self.controller_manager.take(), self.running_api_server.take(), self.etcd.take()];
        for process in components.into_iter().flatten() {
            process.stop().await;
        }
        Ok(())
    }
}

async fn config_of(kubeconfig: &Kubeconfig) -> Result<Config, SandboxError> {
    Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
        .await
        .map_err(|e| SandboxError::Client(e.to_string()))
}

fn client_of(config: &Config) -> Result<Client, SandboxError> {
    Client::try_from(config.clone()).map_err(|e| SandboxError::Client(e.to_string()))
}
