//! Which pods read a file, and how: a folder that the kubelet keeps up to date, or a `subPath` that it never touches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume, VolumeMount};
use kube::ResourceExt;

use crate::notify::text;

/// Most ConfigMaps in volumes, keys that are chosen of them, and mounts of a pod that are looked at. A pod is what its writers make
/// it: one of some 100 KB can have thousands of each, and as many mounts of as many keys as these multiplied.
const MOST: usize = 64;
/// Most bytes of the name that a pod's controller is known by.
const LONGEST_WORKLOAD: usize = 320;
/// Most bytes of a key or a path that is looked at.
const LONGEST: usize = 256;

/// One way in which a pod mounts ConfigMaps, in however many containers.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    volume: Arc<Vec<Source>>,
    sub_path: Option<String>,
}

/// A ConfigMap in a volume.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    config_map: String,
    /// The chosen keys with their paths; every key under its own name where there are none.
    items: Vec<KeyToPath>,
    /// Whether there are more of them than are looked at.
    is_cut: bool,
}

/// How the containers of a pod mount a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// At least one mounts the folder with the file in it.
    pub folder: bool,
    /// At least one mounts the file by `subPath`: it keeps what it was started with.
    pub sub_path: bool,
}

/// The ways in which a pod mounts ConfigMaps of the names that are `wanted`, each once, as far as they are looked at.
pub fn mounts(pod: &Pod, wanted: impl Fn(&str) -> bool) -> Vec<Mount> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let (mut left, mut left_keys) = (MOST, MOST);
    let mut volumes: HashMap<&str, Arc<Vec<Source>>> = HashMap::new();
    for volume in spec.volumes.iter().flatten() {
        let of = sources(volume).filter(|(name, _)| wanted(name)).take(left);
        let of: Vec<Source> = of.map(|(name, items)| Source::of(name, items, &mut left_keys)).collect();
        left -= of.len();
        if !of.is_empty() {
            volumes.insert(&volume.name, Arc::new(of));
        }
    }
    let containers = spec.containers.iter().map(|c| &c.volume_mounts);
    let inits = spec.init_containers.iter().flatten().map(|c| &c.volume_mounts);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let mut ways = BTreeSet::new();
    for mount in containers.chain(inits).chain(ephemeral).flatten().flatten() {
        let way = (mount.name.as_str(), sub_path(mount));
        let is_short = way.1.is_none_or(|path| path.len() <= LONGEST);
        // Folders go first, as those are annotated; there are no more of them than volumes.
        let has_room = way.1.is_none() || ways.len() < 2 * MOST;
        if volumes.contains_key(way.0) && is_short && has_room {
            ways.insert(way);
        }
    }
    let mount = |(volume, path): (&str, Option<&str>)| {
        let volume = volumes.get(volume)?.clone();
        Some(Mount { volume, sub_path: path.map(str::to_owned) })
    };
    ways.into_iter().filter_map(mount).collect()
}

/// How the file `key` of a ConfigMap is mounted.
pub fn how(mounts: &[Mount], config_map: &str, key: &str) -> How {
    let mut how = How::default();
    for mount in mounts {
        for source in mount.volume.iter().filter(|source| source.config_map == config_map) {
            let mut paths = source.paths(key).peekable();
            match &mount.sub_path {
                // Whether one is among those that are not looked at is not known, and an annotation does no harm.
                None => how.folder |= paths.peek().is_some() || source.is_cut,
                Some(sub_path) => how.sub_path |= paths.any(|path| leads_to(sub_path, path)),
            }
        }
    }
    how
}

impl Source {
    fn of(config_map: &str, items: &[KeyToPath], left: &mut usize) -> Source {
        let is_short = |item: &&KeyToPath| item.key.len() <= LONGEST && item.path.len() <= LONGEST;
        let looked_at: Vec<KeyToPath> = items.iter().filter(is_short).take(*left).cloned().collect();
        *left -= looked_at.len();
        Source { config_map: config_map.to_owned(), is_cut: looked_at.len() < items.len(), items: looked_at }
    }

    /// Where the volume has the file, as paths inside of it.
    fn paths<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let own = (self.items.is_empty() && !self.is_cut).then_some(key);
        let chosen = self.items.iter().filter(move |item| item.key == key).map(|item| item.path.as_str());
        own.into_iter().chain(chosen)
    }
}

/// Whether a pod runs somewhere, or is about to: only then does a kubelet look at its annotations.
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none()
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// What people know a pod by: its controller, else itself.
pub fn workload(pod: &Pod) -> String {
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    match controller {
        // Nobody has looked at what an owner is said to be.
        Some(owner) => text::line(&format!("{}/{}", owner.kind, owner.name), LONGEST_WORKLOAD),
        None => format!("Pod/{}", pod.name_any()),
    }
}

/// The ConfigMaps in a volume, with the keys that were chosen.
fn sources(volume: &Volume) -> impl Iterator<Item = (&str, &[KeyToPath])> {
    let direct = volume.config_map.iter().map(|source| (source.name.as_str(), source.items.as_deref()));
    let projected = volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
        .filter_map(|source| source.config_map.as_ref())
        .map(|source| (source.name.as_str(), source.items.as_deref()));
    direct.chain(projected).map(|(name, items)| (name, items.unwrap_or_default()))
}

fn sub_path(mount: &VolumeMount) -> Option<&str> {
    let expression = mount.sub_path_expr.as_deref();
    mount.sub_path.as_deref().or(expression).filter(|path| !path.is_empty())
}

/// Whether a `subPath` is a file or a folder above it. One with variables in it may be any.
fn leads_to(sub_path: &str, file: &str) -> bool {
    let sub_path = sub_path.trim_end_matches('/');
    sub_path.contains("$(")
        || file == sub_path
        || file.strip_prefix(sub_path).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const NONE: How = How { folder: false, sub_path: false };
    const FOLDER: How = How { folder: true, sub_path: false };
    const SUB_PATH: How = How { folder: false, sub_path: true };
    const BOTH: How = How { folder: true, sub_path: true };

    /// A pod of these volumes and containers.
    fn pod(spec: &str) -> Pod {
        let spec: serde_json::Value = serde_saphyr::from_str(spec).unwrap();
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[rstest]
    #[case(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}]}",
        FOLDER
    )]
    #[case(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPath: ''}]}]}",
        FOLDER
    )]
    #[case(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f/flags.json, subPath: flags.json}]}]}",
        SUB_PATH
    )]
    #[case(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPathExpr: $(POD_NAME)}]}]}",
        SUB_PATH
    )]
    #[case::one_of_each(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}, {name: d, volumeMounts: [{name: v, mountPath: /g, subPath: flags.json}]}]}",
        BOTH
    )]
    #[case::another_config_map(
        "{volumes: [{name: v, configMap: {name: other}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}]}",
        NONE
    )]
    #[case::no_container_mounts_it(
        "{volumes: [{name: v, configMap: {name: app}}, {name: w, emptyDir: {}}], containers: [{name: c, volumeMounts: [{name: w, mountPath: /f}]}]}",
        NONE
    )]
    #[case::another_key(
        "{volumes: [{name: v, configMap: {name: app, items: [{key: other.json, path: flags.json}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}]}",
        NONE
    )]
    #[case::another_file_of_it(
        "{volumes: [{name: v, configMap: {name: app}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPath: other.json}]}]}",
        NONE
    )]
    #[case::renamed(
        "{volumes: [{name: v, configMap: {name: app, items: [{key: flags.json, path: a/b.json}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPath: a/b.json}]}]}",
        SUB_PATH
    )]
    #[case::a_folder_above_it(
        "{volumes: [{name: v, configMap: {name: app, items: [{key: flags.json, path: a/b.json}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPath: a/}]}]}",
        SUB_PATH
    )]
    #[case::a_name_that_begins_alike(
        "{volumes: [{name: v, configMap: {name: app, items: [{key: flags.json, path: ab.json}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f, subPath: a}]}]}",
        NONE
    )]
    #[case::projected(
        "{volumes: [{name: v, projected: {sources: [{secret: {name: app}}, {configMap: {name: app}}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}]}",
        FOLDER
    )]
    #[case::projected_secret_alone(
        "{volumes: [{name: v, projected: {sources: [{secret: {name: app}}]}}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /f}]}]}",
        NONE
    )]
    #[case::init_container(
        "{volumes: [{name: v, configMap: {name: app}}], initContainers: [{name: s, volumeMounts: [{name: v, mountPath: /f}]}], containers: [{name: c}]}",
        FOLDER
    )]
    #[case::ephemeral_container(
        "{volumes: [{name: v, configMap: {name: app}}], ephemeralContainers: [{name: s, volumeMounts: [{name: v, mountPath: /f}]}], containers: [{name: c}]}",
        FOLDER
    )]
    #[case::no_volumes("{containers: [{name: c}]}", NONE)]
    fn mounts_are_told_apart(#[case] spec: &str, #[case] expected: How) {
        assert_eq!(how(&mounts(&pod(spec), |_| true), "app", "flags.json"), expected);
    }

    /// A pod of 160 KB took 280 MiB, as each of its mounts had all keys of the volume.
    #[test]
    fn what_is_kept_of_a_pod_is_no_more_than_it_has_and_no_more_than_is_looked_at() {
        let items = |count: usize| -> Vec<_> {
            (0..count).map(|i| json!({"key": format!("k{i}"), "path": format!("p{i}")})).collect()
        };
        let mounted = |count: usize, path: &str| -> Vec<_> {
            let mount = |i| json!({"name": "v", "mountPath": format!("/{i}"), "subPath": path.replace('#', &format!("{i}"))});
            (0..count).map(mount).collect()
        };
        let pod = |items: Vec<serde_json::Value>, mounts: Vec<serde_json::Value>| -> Pod {
            let volumes = json!([{"name": "v", "configMap": {"name": "app", "items": items}},
                {"name": "w", "projected": {"sources": vec![json!({"configMap": {"name": "other"}}); 5_000]}}]);
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
                "volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}]}}))
            .unwrap()
        };
        let fat = mounts(&pod(items(4_000), mounted(1_000, "")), |name| name == "app");
        assert_eq!(fat.len(), 1, "a thousand mounts in the same way are one");
        assert_eq!(
            fat.iter()
                .map(|mount| mount.volume.iter().map(|of| of.items.len()).sum::<usize>())
                .sum::<usize>(),
            MOST
        );
        assert_eq!(how(&fat, "app", "k3"), FOLDER);
        assert_eq!(how(&fat, "app", "k3999"), FOLDER, "it may be among the others");
        let ways = mounts(&pod(items(2), mounted(1_000, "p#")), |_| true);
        assert_eq!(ways.len(), 2 * MOST);
        assert_eq!(how(&ways, "app", "k1"), SUB_PATH);
        assert!(mounts(&pod(items(2), mounted(2, "")), |_| false).is_empty(), "nobody's file is in it");
        let long = vec![json!({"key": "k", "path": "p".repeat(100_000)})];
        assert!(
            mounts(&pod(long, mounted(1, "")), |_| true).iter().all(|mount| mount.volume[0].items.is_empty())
        );
        assert!(mounts(&pod(items(1), mounted(1, &"p".repeat(100_000))), |_| true).is_empty());
    }

    #[rstest]
    #[case(json!({"spec": {"nodeName": "n", "containers": []}}), true)]
    #[case(json!({"spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running"}}), true)]
    #[case::not_scheduled(json!({"spec": {"containers": []}, "status": {"phase": "Pending"}}), false)]
    #[case(json!({"spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Succeeded"}}), false)]
    #[case(json!({"spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Failed"}}), false)]
    #[case(json!({"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}, "spec": {"nodeName": "n", "containers": []}}), false)]
    fn a_pod_runs_or_does_not(#[case] pod: serde_json::Value, #[case] runs: bool) {
        assert_eq!(is_running(&serde_json::from_value(pod).unwrap()), runs);
    }

    #[test]
    fn a_pod_is_known_by_its_controller() {
        let owners = json!([
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "uid": "2", "controller": true},
        ]);
        let owned = json!({"metadata": {"name": "web-5d-x", "ownerReferences": owners}});
        assert_eq!(workload(&serde_json::from_value(owned).unwrap()), "ReplicaSet/web-5d");
        let odd = json!([{"apiVersion": "v1", "kind": "K\n".repeat(100_000), "name": "n", "uid": "1", "controller": true}]);
        let odd = json!({"metadata": {"name": "p", "ownerReferences": odd}});
        let odd = workload(&serde_json::from_value(odd).unwrap());
        assert!(odd.len() <= LONGEST_WORKLOAD && !odd.contains('\n'), "{odd}");
        assert_eq!(
            workload(&serde_json::from_value(json!({"metadata": {"name": "bare"}})).unwrap()),
            "Pod/bare"
        );
    }
}
