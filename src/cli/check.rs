//! `sluice check`: whether an install is sound, as far as the one who asks may see it.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::core::DeserializeGuard;
use serde::Serialize;

use crate::api::conditions::{is_true, types};
use crate::api::{FeatureRollout, GROUP, MetricSource, MicroTime, VERSION, policies};
use crate::cli::cluster::{self, Cluster, ClusterArgs};
use crate::cli::output::table::table;
use crate::cli::output::{self, Failure, Output};
use crate::controller::{LEASE, lease_names};

/// A lease this old is nobody's: longer than any that the controller takes.
const OLD_LEASE: i64 = 300;
/// The verbs of people on a rollout.
const VERBS: [&str; 8] =
    ["approve", "promote", "setpercent", "pause", "resume", "rollback", "retry", "acknowledge"];

/// Arguments of `sluice check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The operator's namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "sluice-system")]
    operator_namespace: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What a check says.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All is well.
    Ok,
    /// It works, and hardly as meant; or it could not be seen.
    Warning,
    /// Something does not work.
    Failed,
}

/// One check.
#[derive(Serialize, Debug)]
struct Checked {
    check: String,
    result: Verdict,
    message: String,
}

fn checked(check: &str, result: Verdict, message: impl Into<String>) -> Checked {
    Checked { check: check.to_owned(), result, message: message.into() }
}

/// Asks, prints, and fails where something does not work.
pub fn run(args: &Args) -> Result<(), Failure> {
    let all = cluster::with(&args.cluster, |cluster| check(cluster, args))?;
    match args.output {
        Output::Json => output::print_json(&all)?,
        Output::Table => {
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|one| vec![one.check.clone(), format!("{:?}", one.result), one.message.clone()])
                .collect();
            output::print(&table(&["CHECK", "RESULT", "MESSAGE"], &rows))?;
        }
    }
    if all.iter().any(|one| one.result == Verdict::Failed) { Err(Failure::No) } else { Ok(()) }
}

async fn check(cluster: Cluster, args: &Args) -> Result<Vec<Checked>, Failure> {
    let (client, server) = cluster.client();
    // Whoever cannot be reached is told of as everywhere, and nothing else could be said.
    let version = cluster.call(client.apiserver_version()).await?;
    let mut all = vec![checked("API server", Verdict::Ok, format!("{} at {server}", version.git_version))];
    all.extend(kinds(&cluster).await);
    all.extend(admission(&cluster).await);
    all.extend(leaders(&cluster, &args.operator_namespace).await);
    all.extend(sources(&cluster, &args.operator_namespace).await);
    all.push(rights(&cluster).await);
    all.push(rollouts(&cluster).await);
    Ok(all)
}

/// Why something could not be seen: to be forbidden is no fault of the install.
fn unseen(check: &str, failure: &Failure) -> Checked {
    let message = match failure {
        Failure::Cluster(message) | Failure::Input(message) => message.clone(),
        _ => "it could not be read".to_owned(),
    };
    checked(check, Verdict::Warning, format!("cannot be seen: {message}"))
}

async fn kinds(cluster: &Cluster) -> Vec<Checked> {
    let api = cluster.all::<CustomResourceDefinition>();
    let mut all = Vec::new();
    for wanted in crate::api::all_crds() {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let check = format!("kind {}", wanted.spec.names.kind);
        all.push(match cluster.call(api.get_opt(&name)).await {
            Err(failure) => unseen(&check, &failure),
            Ok(None) => checked(
                &check,
                Verdict::Failed,
                "is not installed: `sluice crds | kubectl apply --server-side -f -`",
            ),
            Ok(Some(found)) => kind(&check, &wanted, &found),
        });
    }
    all
}

/// A kind that is installed: served, accepted, and as this program knows it.
fn kind(check: &str, wanted: &CustomResourceDefinition, found: &CustomResourceDefinition) -> Checked {
    let conditions = found.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is =
        |kind: &str| conditions.is_some_and(|all| all.iter().any(|c| c.type_ == kind && c.status == "True"));
    if !is("Established") || !is("NamesAccepted") {
        return checked(check, Verdict::Failed, "the API server does not serve it: see its conditions");
    }
    let version =
        |crd: &CustomResourceDefinition| crd.spec.versions.iter().find(|v| v.name == VERSION).cloned();
    match (version(wanted), version(found)) {
        (_, None) => checked(check, Verdict::Failed, format!("has no version {VERSION}")),
        (Some(wanted), Some(found)) if fields(&wanted) != fields(&found) => checked(
            check,
            Verdict::Warning,
            "has other fields than this sluice knows: install the kinds of the version that you run",
        ),
        _ => checked(check, Verdict::Ok, format!("{GROUP}/{VERSION}")),
    }
}

/// The names of all fields of a version, with their paths: what the API server adds to a schema it stores is no difference.
fn fields(
    version: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion,
) -> Vec<String> {
    fn walk(value: &serde_json::Value, path: &str, out: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        if let Some(properties) = map.get("properties").and_then(serde_json::Value::as_object) {
            for (name, of) in properties {
                let path = format!("{path}.{name}");
                walk(of, &path, out);
                out.push(path);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(of) = map.get(inner) {
                walk(of, &format!("{path}[]"), out);
            }
        }
    }
    let mut out = Vec::new();
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    if let Some(schema) = schema.and_then(|schema| serde_json::to_value(schema).ok()) {
        walk(&schema, "", &mut out);
    }
    out.sort();
    out
}

async fn admission(cluster: &Cluster) -> Vec<Checked> {
    let check = "admission policy";
    let policy = cluster.call(cluster.all::<ValidatingAdmissionPolicy>().get_opt(policies::PERMISSION)).await;
    let binding =
        cluster.call(cluster.all::<ValidatingAdmissionPolicyBinding>().get_opt(policies::PERMISSION)).await;
    let absent = "actions that raise are rejected, as nobody vouches for who asks: `sluice crds --with-policies | kubectl apply --server-side -f -`";
    let of_permission = match (policy, binding) {
        (Ok(Some(policy)), Ok(Some(_))) => {
            let warnings = policy.status.and_then(|status| status.type_checking);
            let warnings = warnings.and_then(|checking| checking.expression_warnings).unwrap_or_default();
            match warnings.first() {
                None => checked(check, Verdict::Ok, format!("{} is in force", policies::PERMISSION)),
                Some(warning) => checked(check, Verdict::Warning, warning.warning.clone()),
            }
        }
        (Ok(None), _) => {
            checked(check, Verdict::Failed, format!("{} is missing: {absent}", policies::PERMISSION))
        }
        (_, Ok(None)) => {
            checked(check, Verdict::Failed, format!("{} is not bound: {absent}", policies::PERMISSION))
        }
        (Err(failure), _) | (_, Err(failure)) => unseen(check, &failure),
    };
    vec![of_permission]
}

/// Who leads, in each shard.
async fn leaders(cluster: &Cluster, namespace: &str) -> Vec<Checked> {
    let first = cluster.get::<Lease>(Some(namespace), LEASE).await;
    let others: Vec<String> = match &first {
        Ok(Some(lease)) => lease_names(lease).into_iter().skip(1).collect(),
        _ => Vec::new(),
    };
    let check = |index: usize| match others.is_empty() {
        true => "controller".to_owned(),
        false => format!("controller, shard {index}"),
    };
    let mut all = vec![leader(&check(0), LEASE, namespace, first)];
    for (index, name) in (1..).zip(&others) {
        all.push(leader(&check(index), name, namespace, cluster.get::<Lease>(Some(namespace), name).await));
    }
    all
}

fn leader(check: &str, name: &str, namespace: &str, lease: Result<Option<Lease>, Failure>) -> Checked {
    let lease = match lease {
        Err(failure) => return unseen(check, &failure),
        Ok(None) => {
            let message = format!(
                "nobody leads: there is no Lease {name} in namespace {namespace}: look at the pods there, or say with \
                 --operator-namespace where the controller is; one that runs alone, such as that of `sluice dev`, takes no Lease"
            );
            return checked(check, Verdict::Failed, message);
        }
        Ok(Some(lease)) => lease.spec.unwrap_or_default(),
    };
    let holder = lease.holder_identity.unwrap_or_default();
    let renewed = lease.renew_time.map(|time| MicroTime::from(time.0));
    let age = renewed.map(|renewed| output::now().duration_since(renewed).as_secs());
    let longest = lease.lease_duration_seconds.map_or(OLD_LEASE, |seconds| 2 * i64::from(seconds));
    match age {
        _ if holder.is_empty() => checked(check, Verdict::Failed, "nobody leads: the Lease was given back"),
        Some(age) if age <= longest => {
            checked(check, Verdict::Ok, format!("{holder} leads, last heard of {} s ago", age.max(0)))
        }
        Some(age) => {
            let message =
                format!("{holder} has not been heard of for {age} s: nothing moves until somebody leads");
            checked(check, Verdict::Failed, message)
        }
        None => checked(check, Verdict::Failed, format!("{holder} holds the Lease and has never renewed it")),
    }
}

async fn sources(cluster: &Cluster, namespace: &str) -> Vec<Checked> {
    let list = match cluster.all_of::<MetricSource>(Some(namespace)).await {
        Ok(list) => list,
        Err(failure) => return vec![unseen("metric sources", &failure)],
    };
    if list.is_empty() {
        let message = format!(
            "there is none in namespace {namespace}: triggers and criteria have no data, and what waits for data is not raised"
        );
        return vec![checked("metric sources", Verdict::Warning, message)];
    }
    list.iter()
        .map(|DeserializeGuard(source)| match source {
            Err(invalid) => {
                let name = invalid.metadata.name.clone().unwrap_or_default();
                checked(&format!("source {name}"), Verdict::Failed, invalid.error.clone())
            }
            Ok(source) => {
                let check = format!("source {}", source.metadata.name.clone().unwrap_or_default());
                let conditions =
                    source.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                let ready = conditions.iter().find(|condition| condition.type_ == types::READY);
                match ready {
                    Some(ready) if ready.status == "True" => {
                        checked(&check, Verdict::Ok, ready.message.clone())
                    }
                    Some(ready) => {
                        checked(&check, Verdict::Failed, format!("{}: {}", ready.reason, ready.message))
                    }
                    None => checked(&check, Verdict::Warning, "nobody has asked it yet"),
                }
            }
        })
        .collect()
}

/// What whoever asks may do: to be told of, not to be judged.
async fn rights(cluster: &Cluster) -> Checked {
    let check = "your rights";
    let mut may: Vec<&str> = Vec::new();
    for verb in VERBS {
        match may_do(cluster, verb, "featurerollouts").await {
            Ok(true) => may.push(verb),
            Ok(false) => {}
            Err(failure) => return unseen(check, &failure),
        }
    }
    let creates = may_do(cluster, "create", "rolloutactions").await.unwrap_or(false);
    let namespace = &cluster.namespace;
    match (may.as_slice(), creates) {
        ([], _) => checked(
            check,
            Verdict::Ok,
            format!(
                "in namespace {namespace}: none of the actions on every rollout; single ones may be allowed by name"
            ),
        ),
        (may, true) => checked(check, Verdict::Ok, format!("in namespace {namespace}: {}", may.join(", "))),
        (may, false) => checked(
            check,
            Verdict::Warning,
            format!(
                "in namespace {namespace} you may {}, and not create rolloutactions, which each of them takes",
                may.join(", ")
            ),
        ),
    }
}

async fn may_do(cluster: &Cluster, verb: &str, resource: &str) -> Result<bool, Failure> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                namespace: Some(cluster.namespace.clone()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = cluster.all::<SelfSubjectAccessReview>();
    let answer = cluster.call(reviews.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The rollouts that somebody has to look after.
async fn rollouts(cluster: &Cluster) -> Checked {
    let check = "rollouts";
    let list = match cluster.all_of::<FeatureRollout>(None).await {
        Ok(list) => list,
        Err(failure) => return unseen(check, &failure),
    };
    let name = |metadata: &kube::api::ObjectMeta| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
    };
    let stalled: Vec<String> = list
        .iter()
        .filter_map(|DeserializeGuard(rollout)| match rollout {
            Err(invalid) => Some(name(&invalid.metadata)),
            Ok(rollout) => {
                let status = rollout.status.as_ref()?;
                is_true(&status.conditions, types::STALLED).then(|| name(&rollout.metadata))
            }
        })
        .collect();
    let total = list.len();
    match stalled.as_slice() {
        [] => checked(check, Verdict::Ok, format!("{total}, none of them Stalled")),
        some => {
            let first = some.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            checked(check, Verdict::Warning, format!("{} of {total} are Stalled: {first}", some.len()))
        }
    }
}
