//! Finds the programs of the control plane.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::build;
use super::error::SandboxError;
use super::recipe::{CONTROL_PLANE, SUPERVISOR};

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
    /// folder that lacks a program; [`SandboxError::NoBinaries`] if there is
    /// nothing to run and no Go to build it; [`SandboxError::Build`] if the
    /// build fails.
    pub async fn find(controller_manager: bool) -> Result<Self, SandboxError> {
        if let Some(folder) = non_empty("KUBEBUILDER_ASSETS") {
            let folder = PathBuf::from(folder);
            return Self::among(std::slice::from_ref(&folder), controller_manager)
                .map_err(|missing| SandboxError::IncompleteAssets { folder, missing });
        }
        if let Ok(found) = Self::among(&search_path(), controller_manager) {
            return Ok(found);
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
