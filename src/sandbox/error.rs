//! What can go wrong with a sandbox, in words that say what to do.

use std::path::{Path, PathBuf};

/// Why a sandbox could not be found, built, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The programs are nowhere and Go is not there to build them.
    #[error(
        "no control plane to run: kube-apiserver and etcd are neither in KUBEBUILDER_ASSETS (not set), \
         nor on PATH, nor in the cache {}, and `go` is not on PATH to build them. Do one of these: \
         install Go 1.26 or newer (https://go.dev/dl) and try again; or put kube-apiserver and etcd on \
         PATH; or set KUBEBUILDER_ASSETS to a folder that holds them. SLUICE_CACHE sets another cache folder",
        .cache.display()
    )]
    NoBinaries {
        /// Where a built control plane was looked for.
        cache: PathBuf,
    },

    /// `KUBEBUILDER_ASSETS` is set, but what is needed is not in it.
    #[error(
        "KUBEBUILDER_ASSETS is {}, but no {missing} is there: add it, or unset KUBEBUILDER_ASSETS",
        .folder.display()
    )]
    IncompleteAssets {
        /// The folder that `KUBEBUILDER_ASSETS` names.
        folder: PathBuf,
        /// The program it lacks.
        missing: &'static str,
    },

    /// The API server that was found is too old, or of no known version.
    #[error(
        "{} says {found} when asked for its version, but Kubernetes 1.36 or newer is needed: put a newer one \
         there, or set KUBEBUILDER_ASSETS to a folder that has one, or take it away, so that one is built",
        .program.display()
    )]
    OldApiServer {
        /// The API server.
        program: PathBuf,
        /// What it said, in words.
        found: String,
    },

    /// No environment variable says where the cache may be.
    #[error("no folder for the cache: set SLUICE_CACHE (or XDG_CACHE_HOME, or HOME)")]
    NoCacheFolder,

    /// There is no Prometheus, and Go is not there to build it.
    #[error(
        "no Prometheus to run: there is no `prometheus` of version 3 or newer on PATH, none in the cache {}, \
         and `go` is not on PATH to build it. Do one of these: install Go 1.26 or newer (https://go.dev/dl) \
         and try again; or put Prometheus 3 on PATH. SLUICE_CACHE sets another cache folder",
        .cache.display()
    )]
    NoPrometheus {
        /// Where a built one was looked for.
        cache: PathBuf,
    },

    /// `go build` or `go install` failed.
    #[error(
        "{what} did not build with `go`. It needs Go 1.26 or newer, about {disk} of disk and a way to \
         Go modules (see `go env GOPROXY`). The end of its output:\n{output}"
    )]
    Build {
        /// What was to be built.
        what: &'static str,
        /// How much disk that takes, in words.
        disk: &'static str,
        /// The last lines that `go` wrote.
        output: String,
    },

    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A key or certificate could not be made.
    #[error("cannot make the sandbox's certificates: {0}")]
    Certificates(#[from] rcgen::Error),

    /// A user was asked for with more groups than a certificate can hold here.
    #[error("user {user} is to be in {groups} groups, but the sandbox's certificates hold two at most")]
    TooManyGroups {
        /// The user's name.
        user: String,
        /// How many groups were asked for.
        groups: usize,
    },

    /// A component ended although it should run.
    #[error("{component} ended too early ({status}). The end of its log {}:\n{tail}", .log.display())]
    Exited {
        /// The program's name.
        component: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        tail: String,
        /// Its whole log, gone with the sandbox unless a data folder was given.
        log: PathBuf,
    },

    /// A component runs but did not become ready in time.
    #[error(
        "{component} was not ready after {seconds} s ({reason}). The machine may be short of CPU or memory. \
         The end of its log {}:\n{tail}",
        .log.display()
    )]
    NotReady {
        /// The program's name.
        component: &'static str,
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// The last answer, or why there was none.
        reason: String,
        /// The last lines of its log.
        tail: String,
        /// Its whole log, gone with the sandbox unless a data folder was given.
        log: PathBuf,
    },

    /// Another sandbox runs from the same data folder.
    #[error(
        "another sandbox is using the data folder {}: stop it, or take another folder",
        .folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },

    /// A client for the sandbox could not be made.
    #[error("cannot make a client for the sandbox: {0}")]
    Client(String),
}

impl SandboxError {
    /// For `map_err`: an [`SandboxError::Io`] for this action on this path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}
