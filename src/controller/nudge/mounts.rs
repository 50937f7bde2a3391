//! Which pods read a file, and how: a folder that the kubelet keeps up to date, or a `subPath` that it never touches.

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume, VolumeMount};
use kube::ResourceExt;

/// One mount of a ConfigMap in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    config_map: String,
    /// The chosen keys with their paths; every key under its own name where there are none.
    items: Vec<KeyToPath>,
    sub_path: Option<String>,
}

/// How the containers of a pod mount a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// At least one mounts the folder with the file in it.
    pub folder: bool,
    /// At least one mounts the file by `subPath`: it keeps what it was started with.
    pub sub_path: bool,
}

/// Every mount of a ConfigMap in a pod.
pub fn mounts(pod: &Pod) -> Vec<Mount> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let containers = spec.containers.iter().map(|c| &c.volume_mounts);
    let inits = spec.init_containers.iter().flatten().map(|c| &c.volume_mounts);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let mut found = Vec::new();
    for mount in containers.chain(inits).chain(ephemeral).flatten().flatten() {
        for volume in spec.volumes.iter().flatten().filter(|volume| volume.name == mount.name) {
            found.extend(sources(volume).map(|(config_map, items)| Mount {
                config_map: config_map.to_owned(),
                items: items.to_vec(),
                sub_path: sub_path(mount).map(str::to_owned),
            }));
        }
    }
    found
}

/// How the file `key` of a ConfigMap is mounted.
pub fn how(mounts: &[Mount], config_map: &str, key: &str) -> How {
    let mut how = How::default();
    for mount in mounts.iter().filter(|mount| mount.config_map == config_map) {
        let paths = mount.paths(key);
        match &mount.sub_path {
            None => how.folder |= !paths.is_empty(),
            Some(sub_path) => how.sub_path |= paths.iter().any(|path| leads_to(sub_path, path)),
        }
    }
    how
}

impl Mount {
    /// Where the volume has the file, as paths inside of it.
    fn paths<'a>(&'a self, key: &'a str) -> Vec<&'a str> {
        if self.items.is_empty() {
            return vec![key];
        }
        self.items.iter().filter(|item| item.key == key).map(|item| item.path.as_str()).collect()
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
        Some(owner) => format!("{}/{}", owner.kind, owner.name),
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
        assert_eq!(how(&mounts(&pod(spec)), "app", "flags.json"), expected);
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
        assert_eq!(
            workload(&serde_json::from_value(json!({"metadata": {"name": "bare"}})).unwrap()),
            "Pod/bare"
        );
    }
}
