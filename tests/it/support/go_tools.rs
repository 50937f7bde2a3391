//! What people install the chart, test its alerts and sync from git with, built with Go from the tools' own modules, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use sluice::flags::sha256_hex;

/// A version of Helm that the chart is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// The present one, which applies on the server's side.
    Four,
    /// The one before, which many still have.
    Three,
}

impl Helm {
    /// Where the program is; it is built if need be, which takes two or three minutes the first time.
    ///
    /// # Panics
    /// When there is no Go, or when it cannot build.
    pub fn program(self) -> &'static Path {
        static FOUR: OnceLock<PathBuf> = OnceLock::new();
        static THREE: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Helm::Four => FOUR.get_or_init(|| {
                let flags = ["-ldflags=-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.2"];
                install("helm", "helm.sh/helm/v4/cmd/helm@v4.3.2", &flags)
            }),
            Helm::Three => THREE.get_or_init(|| {
                // Without these it takes a cluster that it does not ask for one of version 1.20.
                let flags = ["-ldflags=-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0 \
                    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 \
                    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"];
                install("helm", "helm.sh/helm/v3/cmd/helm@v3.22.0", &flags)
            }),
        }
    }

    /// A command that knows no configuration but that of this folder.
    pub fn command(self, home: &Path) -> Command {
        let mut command = Command::new(self.program());
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("KUBECONFIG");
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, home);
        }
        command
    }
}

/// Prometheus' own tester of rules, of the version that the sandbox runs.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn promtool() -> PathBuf {
    let flags = ["-ldflags=-s -w", "-tags=remove_all_sd"];
    install("promtool", "github.com/prometheus/prometheus/cmd/promtool@v0.316.0", &flags)
}

/// Alertmanager. Modules of later versions do not have its pages, without which it does not build.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn alertmanager() -> PathBuf {
    let flags = ["-ldflags=-s -w"];
    install("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager@v0.31.1", &flags)
}

/// What says whether a workflow file is sound.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn actionlint() -> PathBuf {
    install("actionlint", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12", &["-ldflags=-s -w"])
}

/// What says whether krew takes the manifest of a plugin.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn krew_validator() -> PathBuf {
    let module = "sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.4.3";
    install("validate-krew-manifest", module, &["-ldflags=-s -w"])
}

/// Dex with one person, for signing in by OpenID Connect: the module in `tests/oidc-provider`, whose `go.sum` says what it is
/// made of.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn oidc_provider() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| build("oidc-provider", "tests/oidc-provider", "."));
    &PROGRAM
}

/// What Argo CD and Flux make of objects, by their own code: the program of `tests/gitops`. It is built if need be, which
/// takes about five minutes the first time.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn gitops_clients() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| build("gitops-clients", "tests/gitops", "."));
    &PROGRAM
}

/// Where the module is that has Flux's kustomize-controller among what it is made of.
const KUSTOMIZE_CONTROLLER: &str = "tests/kustomize-controller";

/// Flux's kustomize-controller itself, of the version in the `go.mod` of its folder. It is built if need be, which takes about five
/// minutes the first time and makes 86 MB.
///
/// # Panics
/// When there is no Go, or when it cannot build.
pub fn kustomize_controller() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        build("kustomize-controller", KUSTOMIZE_CONTROLLER, "github.com/fluxcd/kustomize-controller")
    });
    &PROGRAM
}

/// Folders with the kinds that it watches: Kustomizations, and sources of the version that it knows.
///
/// # Panics
/// When there is no Go, or when it cannot fetch the modules with them.
pub fn flux_crds() -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(KUSTOMIZE_CONTROLLER);
    let ask = |args: &[&str]| {
        let said = go("the kinds of Flux", |go| go.args(args).current_dir(&folder));
        String::from_utf8(said).unwrap().trim().to_owned()
    };
    // What it is made of has the types of the sources alone; the kinds are in the controller that writes them, of the same version.
    let version = ask(&["list", "-m", "-f", "{{.Version}}", "github.com/fluxcd/source-controller/api"]);
    let sources = format!("github.com/fluxcd/source-controller@{version}");
    ["github.com/fluxcd/kustomize-controller", &sources].map(|module| {
        let there: serde_json::Value =
            serde_json::from_str(&ask(&["mod", "download", "-json", module])).unwrap();
        Path::new(there["Dir"].as_str().unwrap()).join("config/crd/bases")
    })
}

/// `go build` of a package with a module of this repository, anew where one of its files has changed.
fn build(name: &str, module: &str, package: &str) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    let digest = sha256_hex(&text);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{digest:.12}"));
    let program = out.join(name);
    if program.exists() {
        return program;
    }
    let flags = ["-ldflags=-s -w", "-o"];
    make(name, "build", |go| go.args(flags).arg(out.join("building")).arg(package).current_dir(&sources));
    std::fs::rename(out.join("building"), &program).unwrap();
    program
}

/// `go install` of a module into a folder of its own, which the tests of this repository share.
fn install(name: &str, module: &str, flags: &[&str]) -> PathBuf {
    let version = module.rsplit('@').next().unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}"));
    let program = out.join(name);
    if program.exists() {
        return program;
    }
    make(name, "install", |go| go.args(flags).arg(module).env("GOBIN", &out));
    program
}

/// Runs Go as it builds the control plane: what several programs have in common is compiled once, without data for debuggers and with
/// memory instead of time.
///
/// # Panics
/// When there is no Go, or when it cannot build.
fn make(what: &str, verb: &str, more: impl FnOnce(&mut Command) -> &mut Command) {
    go(what, |go| {
        go.args([verb, "-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"])
            .env("CGO_ENABLED", "0")
            .env("GOGC", "400");
        more(go)
    });
}

/// What Go prints.
///
/// # Panics
/// When there is no Go, or when it fails.
fn go(what: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Vec<u8> {
    let mut command = Command::new("go");
    let output = with(command.env("GOWORK", "off")).output().unwrap_or_else(|error| {
        panic!("{what} is built with go, from https://go.dev/dl or as the package golang: {error}")
    });
    assert!(output.status.success(), "go for {what}:\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
