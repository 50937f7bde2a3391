//! What can be built with Go into the cache.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The name of the supervising program, by which alone it supervises.
pub(super) const SUPERVISOR: &str = "control-plane";

/// Programs that come into being together, in a folder of their own in the cache.
pub(super) struct Recipe {
    /// What it makes, in a sentence.
    pub(super) what: &'static str,
    /// How long it takes, in words.
    pub(super) takes: &'static str,
    /// How much disk Go's caches and the result take, in words.
    pub(super) disk: &'static str,
    /// How the folder's name begins.
    name: &'static str,
    /// A Go module whose root is a program that can supervise.
    pub(super) sources: &'static [(&'static str, &'static str)],
    /// What else that program can be called to be.
    pub(super) links: &'static [&'static str],
    /// Arguments of `go install` for a program of somebody else's module; empty for none.
    pub(super) install: &'static [&'static str],
    pub(super) linker_flags: &'static str,
}

/// Kubernetes and etcd in one multi-call binary, which can supervise, too.
///
/// The Go module is carried along so that an installed `sluice` can build it
/// without its own sources.
pub(super) const CONTROL_PLANE: Recipe = Recipe {
    what: "the control plane",
    takes: "4 to 8 minutes",
    disk: "5 GB",
    name: "control-plane",
    sources: &[
        ("go.mod", include_str!("../../tests/control-plane/go.mod")),
        ("go.sum", include_str!("../../tests/control-plane/go.sum")),
        ("main.go", include_str!("../../tests/control-plane/main.go")),
        ("supervise/supervise.go", SUPERVISE),
    ],
    links: &["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"],
    install: &[],
    // Without these the programs call themselves v0.0.0, and clients that look
    // at the server's version take them for too old.
    linker_flags: "-s -w \
        -X k8s.io/component-base/version.gitVersion=v1.36.3 \
        -X k8s.io/component-base/version.gitMajor=1 \
        -X k8s.io/component-base/version.gitMinor=36 \
        -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 \
        -X k8s.io/client-go/pkg/version.gitMajor=1 \
        -X k8s.io/client-go/pkg/version.gitMinor=36",
};

/// Prometheus, and a supervisor for it: that of the control plane may not be
/// there, where its programs come from elsewhere.
pub(super) const PROMETHEUS: Recipe = Recipe {
    what: "Prometheus",
    takes: "2 to 5 minutes",
    disk: "2 GB",
    name: "prometheus",
    sources: &[
        ("go.mod", "module dev.sluice/control-plane\n\ngo 1.26\n"),
        ("main.go", "package main\n\nimport _ \"dev.sluice/control-plane/supervise\"\n\nfunc main() {}\n"),
        ("supervise/supervise.go", SUPERVISE),
    ],
    links: &[],
    // A sandbox names its targets itself: no discovery of them in clouds.
    install: &["-tags", "remove_all_sd", "github.com/prometheus/prometheus/cmd/prometheus@v0.316.0"],
    // The module v0.316.0 is the release 3.16.0, and does not know.
    linker_flags: "-s -w -X github.com/prometheus/common/version.Version=3.16.0",
};

const SUPERVISE: &str = include_str!("../../tests/control-plane/supervise/supervise.go");

impl Recipe {
    /// The folder in the cache for exactly this.
    pub(super) fn folder_in(&self, cache: &Path) -> PathBuf {
        let mut hash = Sha256::new();
        for (name, text) in self.sources {
            // The lengths keep a text from running into its neighbour.
            hash.update(format!("{name} {} ", text.len()));
            hash.update(text);
        }
        for argument in self.install {
            hash.update(format!("{argument} "));
        }
        hash.update(self.linker_flags);
        hash.update(std::env::consts::ARCH);
        let key: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        cache.join(format!("{}-{key}", self.name))
    }
}
