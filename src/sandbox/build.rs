//! Builds the control plane with Go, into the cache.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::error::SandboxError;
use super::progress::Progress;

/// The multi-call binary's own name, by which it supervises.
pub(super) const MULTI_CALL: &str = "control-plane";
/// The names it runs a program by.
const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

/// The Go module, carried along so that an installed `sluice` can build it
/// without its own sources.
const SOURCES: [(&str, &str); 4] = [
    ("go.mod", include_str!("../../tests/control-plane/go.mod")),
    ("go.sum", include_str!("../../tests/control-plane/go.sum")),
    ("main.go", include_str!("../../tests/control-plane/main.go")),
    ("supervise/supervise.go", include_str!("../../tests/control-plane/supervise/supervise.go")),
];

/// Without these the programs call themselves v0.0.0, and clients that look
/// at the server's version take them for too old.
const LINKER_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36 \
    -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 \
    -X k8s.io/client-go/pkg/version.gitMajor=1 \
    -X k8s.io/client-go/pkg/version.gitMinor=36";

/// How often a log is told that the build goes on.
const BEAT: Duration = Duration::from_secs(30);
/// How often the lock is tried while another process builds.
const LOCK_POLL: Duration = Duration::from_millis(500);
/// How much of Go's output an error shows.
const OUTPUT_LINES: usize = 40;

/// The folder in the cache for exactly these sources.
pub(super) fn folder_in(cache: &Path) -> PathBuf {
    let mut hash = Sha256::new();
    for (name, text) in SOURCES {
        // The lengths keep a text from running into its neighbour.
        hash.update(format!("{name} {} ", text.len()));
        hash.update(text);
    }
    hash.update(LINKER_FLAGS);
    hash.update(std::env::consts::ARCH);
    let key: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    cache.join(format!("control-plane-{key}"))
}

/// Builds into `folder`, unless another process does so first.
pub(super) async fn build(cache: &Path, folder: &Path) -> Result<(), SandboxError> {
    fs::create_dir_all(cache).map_err(SandboxError::io("create", cache))?;
    let mut progress = Progress::start("building the control plane, once (takes 4 to 10 minutes)");
    let _lock = lock(cache, &mut progress).await?;
    if folder.exists() {
        progress.done("another process has built the control plane,");
        return Ok(());
    }

    let work = tempfile::Builder::new()
        .prefix(".build-")
        .tempdir_in(cache)
        .map_err(SandboxError::io("create a folder in", cache))?;
    let sources = work.path().join("src");
    let out = work.path().join("out");
    write_sources(&sources)?;
    fs::create_dir(&out).map_err(SandboxError::io("create", &out))?;
    go_build(&sources, &out.join(MULTI_CALL), &mut progress).await?;
    for name in PROGRAMS {
        let link = out.join(name);
        std::os::unix::fs::symlink(MULTI_CALL, &link).map_err(SandboxError::io("link", &link))?;
    }
    // All or nothing: whoever looks finds no folder or a complete one.
    fs::rename(&out, folder).map_err(SandboxError::io("move the build to", folder))?;
    progress.done("built the control plane");
    Ok(())
}

/// Waits until no other process builds. The lock ends with its holder,
/// however that ends.
async fn lock(cache: &Path, progress: &mut Progress) -> Result<File, SandboxError> {
    let path = cache.join("build.lock");
    let file = File::create(&path).map_err(SandboxError::io("create", &path))?;
    let mut poll = tokio::time::interval(LOCK_POLL);
    let mut beat = tokio::time::interval(BEAT);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.doing("waiting for another process that builds it".to_owned());
            }
            Err(TryLockError::Error(e)) => return Err(SandboxError::io("lock", &path)(e)),
        }
        tokio::select! {
            _ = poll.tick() => {}
            _ = beat.tick() => progress.beat(),
        }
    }
}

fn write_sources(folder: &Path) -> Result<(), SandboxError> {
    for (name, text) in SOURCES {
        let file = folder.join(name);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(SandboxError::io("create", parent))?;
        fs::write(&file, text).map_err(SandboxError::io("write", &file))?;
    }
    Ok(())
}

async fn go_build(sources: &Path, binary: &Path, progress: &mut Progress) -> Result<(), SandboxError> {
    let mut child = Command::new("go")
        // -v names each package as it compiles, which is what there is of
        // progress; no version-control stamp, since a parent folder may be
        // someone else's repository.
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
        .args(["-ldflags", LINKER_FLAGS, "-o"])
        .arg(binary)
        .arg(".")
        .current_dir(sources)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(SandboxError::io("run", Path::new("go")))?;

    let output = match child.stderr.take() {
        Some(stderr) => follow(stderr, progress).await,
        None => String::new(),
    };
    let status = child.wait().await.map_err(SandboxError::io("wait for", Path::new("go")))?;
    if status.success() { Ok(()) } else { Err(SandboxError::Build { output }) }
}

/// Reads Go's output to its end and returns the last lines.
async fn follow(stderr: tokio::process::ChildStderr, progress: &mut Progress) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut beat = tokio::time::interval(BEAT);
    // The first tick is at once.
    beat.tick().await;
    let mut last = VecDeque::new();
    let mut packages = 0_u32;
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if line.starts_with("go: ") {
                        progress.doing(line.trim_start_matches("go: ").to_owned());
                    } else {
                        packages += 1;
                        progress.doing(format!("package {packages}, {line}"));
                    }
                    if last.len() == OUTPUT_LINES {
                        last.pop_front();
                    }
                    last.push_back(line);
                }
                Ok(None) | Err(_) => return last.make_contiguous().join("\n"),
            },
            _ = beat.tick() => progress.beat(),
        }
    }
}
