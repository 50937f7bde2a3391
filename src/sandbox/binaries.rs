//! Finds the programs of the control plane.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::build;
use super::error::SandboxError;
use super::recipe::{CONTROL_PLANE, SUPERVISOR};

/// The oldest Kubernetes that will do: older ones do not have every kind and field that Sluice and its policies use.
const OLDEST: (u32, u32) = (1, 36);

/// Where the programs of a control plane are.
///
/// Looked for in this order, and the first place that has what is needed
/// wins:
///
/// 1. the folder that `KUBEBUILDER_ASSETS` names; when it is set, nothing
///    else is looked at;
/// 2. `PATH`;
/// 3. the cache: the folder that `SLUICE_CACHE` names, or
///    `$XDG_CACHE_HOME/sluice`, or `~/.cache/sluice`;
/// 4. a build of Kubernetes 1.36.3 with Go into the cache, which takes
///    minutes, once.
///
/// An API server of the first two places is asked for its version, and one
/// that is older than 1.36 is refused: what works with it is not known.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The database.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controller manager, if there is one.
    pub kube_controller_manager: Option<PathBuf>,
    /// The command-line client, if there is one.
    pub kubectl: Option<PathBuf>,
    /// The program that ends a component when this process dies: the
    /// multi-call binary, which only the cache has.
    pub(super) supervisor: Option<PathBuf>,
}

impl Binaries {
    /// Finds the programs, and builds them if need be.
    ///
    /// With `controller_manager`, only a place that has it counts.
    ///
    /// # Errors
    ///
    /// [`SandboxError::IncompleteAssets`] if `KUBEBUILDER_ASSETS` is set to a
    /// folder that lacks a program; [`SandboxError::OldApiServer`] if what is
    /// there, or on `PATH`, is too old; [`SandboxError::NoBinaries`] if there
    /// is nothing to run and no Go to build it; [`SandboxError::Build`] if the
    /// build fails.
    pub async fn find(controller_manager: bool) -> Result<Self, SandboxError> {
        if let Some(folder) = non_empty("KUBEBUILDER_ASSETS") {
            let folder = PathBuf::from(folder);
            let found = Self::among(std::slice::from_ref(&folder), controller_manager)
                .map_err(|missing| SandboxError::IncompleteAssets { folder, missing })?;
            return found.of_known_version().await;
        }
        if let Ok(found) = Self::among(&search_path(), controller_manager) {
            return found.of_known_version().await;
        }
        let folder = build::in_cache(&CONTROL_PLANE, |cache| SandboxError::NoBinaries { cache }).await?;
        Ok(Self::cached(&folder))
    }

    /// The programs in these folders, or the name of the first that is in
    /// none of them.
    fn among(folders: &[PathBuf], controller_manager: bool) -> Result<Self, &'static str> {
        let find = |name: &'static str| program_in(folders, name).ok_or(name);
        let manager = find("kube-controller-manager");
        if controller_manager {
            manager.clone()?;
        }
        Ok(Self {
            etcd: find("etcd")?,
            kube_apiserver: find("kube-apiserver")?,
            kube_controller_manager: manager.ok(),
            kubectl: find("kubectl").ok(),
            supervisor: None,
        })
    }

    /// These, if their API server is new enough.
    async fn of_known_version(self) -> Result<Self, SandboxError> {
        let said = says_version(&self.kube_apiserver).await.unwrap_or_default();
        let said = said.lines().next().unwrap_or_default().trim();
        if kubernetes_version(said).is_some_and(|version| version >= OLDEST) {
            return Ok(self);
        }
        let found = if said.is_empty() { "no version".to_owned() } else { format!("{said:?}") };
        Err(SandboxError::OldApiServer { program: self.kube_apiserver, found })
    }

    fn cached(folder: &Path) -> Self {
        Self {
            etcd: folder.join("etcd"),
            kube_apiserver: folder.join("kube-apiserver"),
            kube_controller_manager: Some(folder.join("kube-controller-manager")),
            kubectl: Some(folder.join("kubectl")),
            supervisor: Some(folder.join(SUPERVISOR)),
        }
    }
}

pub(super) fn non_empty(variable: impl AsRef<OsStr>) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// The program of this name on `PATH`.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    program_in(&search_path(), name)
}

/// What a program prints when it is asked for its version.
pub(super) async fn says_version(program: &Path) -> Option<String> {
    let output = tokio::process::Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Major and minor version in text such as `Kubernetes v1.36.3`.
fn kubernetes_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("Kubernetes v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

fn program_in(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_only_where_it_is_said() {
        assert_eq!(kubernetes_version("Kubernetes v1.36.3"), Some((1, 36)));
        assert_eq!(kubernetes_version("Kubernetes v1.40.0-alpha.1+abc"), Some((1, 40)));
        assert_eq!(kubernetes_version("Kubernetes v0.0.0-master+$Format:%H$"), Some((0, 0)));
        assert_eq!(kubernetes_version("kube-apiserver 1.36.3"), None);
        assert_eq!(kubernetes_version(""), None);
    }

    #[tokio::test]
    async fn an_api_server_that_is_too_old_or_of_no_known_version_is_refused_by_name() {
        for (said, refused) in [
            ("echo 'Kubernetes v1.36.0'", None),
            ("echo 'Kubernetes v1.37.2'", None),
            ("echo 'Kubernetes v1.35.4'", Some("says \"Kubernetes v1.35.4\"")),
            ("echo", Some("says no version")),
            ("exit 1", Some("says no version")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for name in ["etcd", "kube-apiserver"] {
                let program = folder.path().join(name);
                std::fs::write(&program, format!("#!/bin/sh\n{said}\n")).unwrap();
                std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            let found = Binaries::among(&[folder.path().to_owned()], false).unwrap();
            let error = found.of_known_version().await.err().map(|error| error.to_string());
            match (refused, error) {
                (None, None) => {}
                (Some(words), Some(error)) => {
                    assert!(error.contains(words) && error.contains("1.36 or newer"), "{error}");
                    assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
                }
                (_, error) => panic!("{said}: {error:?}"),
            }
        }
    }
}
