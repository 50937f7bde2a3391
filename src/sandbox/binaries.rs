//! Finds the programs of the control plane.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::build;
use super::error::SandboxError;

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
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Ok(found) = Self::among(&folders, controller_manager) {
            return Ok(found);
        }
        let cache = cache_folder()?;
        let folder = build::folder_in(&cache);
        if !folder.exists() {
            // Said before anything is made or announced.
            if !folders.iter().any(|folder| is_program(&folder.join("go"))) {
                return Err(SandboxError::NoBinaries { cache });
            }
            build::build(&cache, &folder).await?;
        }
        Ok(Self::cached(&folder))
    }

    /// The programs in these folders, or the name of the first that is in
    /// none of them.
    fn among(folders: &[PathBuf], controller_manager: bool) -> Result<Self, &'static str> {
        let find = |name: &'static str| {
            folders.iter().map(|folder| folder.join(name)).find(|file| is_program(file)).ok_or(name)
        };
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
            supervisor: Some(folder.join(build::MULTI_CALL)),
        }
    }
}

fn cache_folder() -> Result<PathBuf, SandboxError> {
    non_empty("SLUICE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&non_empty("XDG_CACHE_HOME")?).join("sluice")))
        .or_else(|| Some(Path::new(&non_empty("HOME")?).join(".cache/sluice")))
        .and_then(|folder| std::path::absolute(folder).ok())
        .ok_or(SandboxError::NoCacheFolder)
}

fn non_empty(variable: impl AsRef<OsStr>) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
