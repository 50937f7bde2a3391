//! Talking to a cluster: which one, and never for longer than somebody at a terminal waits.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DeserializeGuard, Status};
use kube::{Api, Client, Config};

use crate::api::{FeatureRollout, GROUP};
use crate::cli::output::{self, Failure};
use crate::cluster::{self as reading, Kind, Scope};
use crate::error::{Fault, chain};
use crate::visible::line;

pub mod patience;
pub mod schedule_clock;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(4);
/// How long a call may take as a whole.
const CALL: Duration = Duration::from_secs(8);

/// Which cluster and namespace.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Namespace; default: that of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Which cluster.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectArgs {
    /// Kubeconfig file; default: those of KUBECONFIG, else ~/.kube/config, else the Pod's service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; default: its current one
    #[arg(long, value_name = "NAME", alias = "kube-context")]
    context: Option<String>,
    /// How long a call may take, where that is shorter than a person waits.
    #[arg(skip)]
    patience: Option<Duration>,
}

impl ConnectArgs {
    /// The cluster of a context of a kubeconfig file.
    pub fn of(kubeconfig: Option<PathBuf>, context: Option<String>) -> ConnectArgs {
        ConnectArgs { kubeconfig, context, patience: None }
    }

    /// The same, waiting no longer than this for any answer.
    pub fn quick(self, patience: Duration) -> ConnectArgs {
        ConnectArgs { patience: Some(patience), ..self }
    }

    /// The same cluster, and a namespace of it.
    pub fn in_namespace(&self, namespace: Option<String>) -> ClusterArgs {
        ClusterArgs { connect: self.clone(), namespace }
    }
}

impl ClusterArgs {
    /// The configuration that is meant.
    ///
    /// # Errors
    /// There is none, or it is of no use.
    pub async fn config(&self) -> Result<Config, Failure> {
        config(&self.connect).await
    }

    /// The namespace that was given, if one was.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

/// A cluster, and the namespace that is meant.
pub struct Cluster {
    client: Client,
    /// Reads objects, each by itself.
    reader: reading::Cluster,
    server: String,
    longest: Duration,
    /// The namespace that is meant.
    pub namespace: String,
}

/// The name of a rollout that may be given with its kind, as kubectl prints it.
///
/// # Errors
/// It is given with another kind.
pub fn rollout_name(given: &str) -> Result<&str, Failure> {
    match given.split_once('/') {
        None => Ok(given),
        Some((kind, name)) => {
            let kinds = ["frol", "featurerollout", "featurerollouts"];
            let (short, group) = kind.split_once('.').unwrap_or((kind, GROUP));
            if kinds.contains(&short.to_lowercase().as_str()) && group == GROUP {
                return Ok(name);
            }
            Err(Failure::Input(format!("{kind} is no kind of rollout: say frol/NAME")))
        }
    }
}

/// A rollout as the cluster has it; one that cannot be read does not hide the others.
pub type Guarded = DeserializeGuard<FeatureRollout>;

/// Runs a command that talks to a cluster.
///
/// # Errors
/// Those of the command, and where no cluster is configured.
pub fn with<F, T>(args: &ClusterArgs, command: impl FnOnce(Cluster) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Cluster(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args).await?;
        command(cluster).await
    })
}

impl Cluster {
    async fn connect(args: &ClusterArgs) -> Result<Cluster, Failure> {
        let mut config = config(&args.connect).await?;
        let longest = args.connect.patience.unwrap_or(CALL);
        config.connect_timeout = Some(CONNECT.min(longest));
        // Retries would hide for minutes that a server is overloaded.
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| Failure::Cluster(format!("{server}: {}", chain(&error))))?;
        let reader = reading::Cluster::of_person(client.clone());
        Ok(Cluster { client, reader, server, namespace, longest })
    }

    /// The rollouts of the namespace.
    pub fn rollouts(&self) -> Api<Guarded> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Every object of a kind, in a namespace or in all of them, also those that cannot be read.
    ///
    /// # Errors
    /// The cluster cannot be reached in time, or refuses.
    pub async fn all_of<K: Kind>(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<DeserializeGuard<K>>, Failure> {
        let mut all = Vec::new();
        self.read(self.reader.all(&Scope::of::<K>(namespace), |object| all.push(object))).await?;
        Ok(all)
    }

    /// The objects of a kind in a namespace. Of one that cannot be read that is said, and it hides no other.
    ///
    /// # Errors
    /// The cluster cannot be reached in time, or refuses.
    pub async fn list<K: Kind>(&self, namespace: &str) -> Result<Vec<K>, Failure> {
        let readable = |object: DeserializeGuard<K>| match object.0 {
            Ok(object) => Some(object),
            Err(invalid) => {
                let (kind, name) = (K::kind(&()), invalid.metadata.name.unwrap_or_default());
                output::complain(&format!(
                    "{kind} {namespace}/{name} cannot be read and is left out: {}",
                    line(&invalid.error)
                ));
                None
            }
        };
        Ok(self.all_of(Some(namespace)).await?.into_iter().filter_map(readable).collect())
    }

    /// An object; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or the cluster cannot be reached in time, or refuses.
    pub async fn get<K: Kind>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, Failure> {
        let scope = Scope::of::<K>(namespace);
        let found: Option<DeserializeGuard<K>> = self.read(self.reader.get_in(&scope, name)).await?;
        let unreadable = |invalid: kube::core::error_boundary::InvalidObject| {
            Failure::Cluster(format!("{} {name} cannot be read: {}", K::kind(&()), line(&invalid.error)))
        };
        found.map(|object| object.0.map_err(unreadable)).transpose()
    }

    /// What reads objects, each by itself.
    pub fn reader(&self) -> &reading::Cluster {
        &self.reader
    }

    /// The client, and the server that it talks to.
    pub fn client(&self) -> (Client, &str) {
        (self.client.clone(), &self.server)
    }

    /// The objects of a kind that has no namespaces.
    pub fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>,
    {
        Api::all(self.client.clone())
    }

    /// One rollout.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or the cluster cannot be reached in time.
    pub async fn rollout(&self, given: &str) -> Result<FeatureRollout, Failure> {
        let name = rollout_name(given)?;
        self.get(Some(&self.namespace), name).await?.ok_or_else(|| self.no_rollout(name))
    }

    /// Fails where the cluster says that it has no such rollout; one that cannot be read is one.
    ///
    /// # Errors
    /// It does not exist, or the cluster cannot be reached in time. Whoever may not read it is believed.
    pub async fn must_have(&self, name: &str) -> Result<(), Failure> {
        let scope = Scope::of::<FeatureRollout>(Some(&self.namespace));
        let found = self.read(async {
            match self.reader.get_in::<FeatureRollout>(&scope, name).await {
                Err(Fault::Forbidden(_)) => Ok(true),
                other => other.map(|rollout| rollout.is_some()),
            }
        });
        if found.await? { Ok(()) } else { Err(self.no_rollout(name)) }
    }

    fn no_rollout(&self, name: &str) -> Failure {
        let (namespace, server) = (&self.namespace, &self.server);
        Failure::Cluster(format!("there is no FeatureRollout {name} in namespace {namespace} of {server}"))
    }

    /// Waits for a call, but not for ever.
    ///
    /// # Errors
    /// What the call says, or that it took too long, with the server's name.
    pub async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        self.read(async { call.await.map_err(Fault::from) }).await
    }

    /// The same of what is read.
    ///
    /// # Errors
    /// The same.
    pub async fn read<T>(&self, read: impl Future<Output = Result<T, Fault>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.longest, read).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) => Err(self.fault(&fault)),
            Err(_) => Err(Failure::Cluster(format!(
                "the API server {} does not answer within {} seconds",
                self.server,
                self.longest.as_secs()
            ))),
        }
    }

    /// An error of the cluster, with the server's name.
    pub fn failure(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
            return self.refusal(status);
        }
        Failure::Cluster(format!("cannot reach the API server {}: {}", self.server, chain(error)))
    }

    /// The same of what was read.
    pub fn fault(&self, fault: &Fault) -> Failure {
        match fault.status() {
            Some(status) => self.refusal(status),
            None => self.failure(std::error::Error::source(fault).unwrap_or(fault)),
        }
    }

    fn refusal(&self, status: &Status) -> Failure {
        let missing = status.code == 404 && status.message.contains("could not find the requested resource");
        let hint = if missing || status.message.starts_with("404 page not found") {
            ": are the CustomResourceDefinitions installed? See `sluice crds`"
        } else {
            ""
        };
        Failure::Cluster(format!("the API server {} says: {}{hint}", self.server, status.message.trim()))
    }
}

/// The configuration of a kubeconfig file, else of the environment.
///
/// # Errors
/// When there is none, or it is of no use.
pub async fn config_from(kubeconfig: Option<&std::path::Path>) -> Result<Config, Failure> {
    let kubeconfig = kubeconfig.map(std::path::Path::to_path_buf);
    config(&ConnectArgs::of(kubeconfig, None)).await
}

async fn config(args: &ConnectArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match kubeconfig {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            let chosen = args.kubeconfig.is_some() || args.context.is_some();
            return match Config::incluster() {
                Ok(config) if !chosen => Ok(config),
                _ => Err(Failure::Cluster(format!("no cluster is configured: {}", chain(&error)))),
            };
        }
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| Failure::Cluster(format!("the kubeconfig is of no use: {}", chain(&error))))
}

#[cfg(test)]
mod tests {
    use super::rollout_name;

    #[test]
    fn a_rollout_may_be_named_as_kubectl_prints_it() {
        for given in ["dreams", "frol/dreams", "FeatureRollout/dreams", "featurerollouts.sluice.dev/dreams"] {
            assert_eq!(rollout_name(given).unwrap(), "dreams");
        }
        for given in ["deployment/dreams", "frol.example.com/dreams", "/dreams"] {
            assert!(rollout_name(given).is_err(), "{given}");
        }
    }
}
