//! Finds what was built with Go in the cache, and builds it there.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::binaries::{non_empty, on_path};
use super::error::SandboxError;
use super::progress::Progress;
use super::recipe::{Recipe, SUPERVISOR};

/// How often a log is told that the build goes on.
const BEAT: Duration = Duration::from_secs(30);
/// How often the lock is tried while another process builds.
const LOCK_POLL: Duration = Duration::from_millis(500);
/// How much of Go's output an error shows.
const OUTPUT_LINES: usize = 40;

/// The folder with what the recipe makes, in the cache; it is built if need be.
///
/// Without Go, fails with what `missing` makes of the cache's folder.
pub(super) async fn in_cache(
    recipe: &Recipe,
    missing: impl FnOnce(PathBuf) -> SandboxError,
) -> Result<PathBuf, SandboxError> {
    let cache = cache_folder()?;
    let folder = recipe.folder_in(&cache);
    if !folder.exists() {
        // Said before anything is made or announced.
        if on_path("go").is_none() {
            return Err(missing(cache));
        }
        build(recipe, &cache, &folder).await?;
    }
    Ok(folder)
}

/// Builds into `folder`, unless another process does so first.
async fn build(recipe: &Recipe, cache: &Path, folder: &Path) -> Result<(), SandboxError> {
    let what = recipe.what;
    fs::create_dir_all(cache).map_err(SandboxError::io("create", cache))?;
    let mut progress = Progress::start(format!("building {what}, once (takes {})", recipe.takes));
    let _lock = lock(cache, &mut progress).await?;
    if folder.exists() {
        progress.done(&format!("another process has built {what},"));
        return Ok(());
    }

    let work = tempfile::Builder::new()
        .prefix(".build-")
        .tempdir_in(cache)
        .map_err(SandboxError::io("create a folder in", cache))?;
    let sources = work.path().join("src");
    let out = work.path().join("out");
    write_sources(recipe.sources, &sources)?;
    fs::create_dir(&out).map_err(SandboxError::io("create", &out))?;
    let program = out.join(SUPERVISOR);
    let own = [OsStr::new("-o"), program.as_os_str(), OsStr::new(".")];
    go(recipe, "build", &own, &sources, &out, &mut progress).await?;
    if !recipe.install.is_empty() {
        go(recipe, "install", recipe.install, &sources, &out, &mut progress).await?;
    }
    for name in recipe.links {
        let link = out.join(name);
        std::os::unix::fs::symlink(SUPERVISOR, &link).map_err(SandboxError::io("link", &link))?;
    }
    // All or nothing: whoever looks finds no folder or a complete one.
    fs::rename(&out, folder).map_err(SandboxError::io("move the build to", folder))?;
    progress.done(&format!("built {what}"));
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
                progress.doing("waiting for another process that builds".to_owned());
            }
            Err(TryLockError::Error(e)) => return Err(SandboxError::io("lock", &path)(e)),
        }
        tokio::select! {
            _ = poll.tick() => {}
            _ = beat.tick() => progress.beat(),
        }
    }
}

fn write_sources(sources: &[(&str, &str)], folder: &Path) -> Result<(), SandboxError> {
    for (name, text) in sources {
        let file = folder.join(name);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(SandboxError::io("create", parent))?;
        fs::write(&file, text).map_err(SandboxError::io("write", &file))?;
    }
    Ok(())
}

/// Runs `go build` or `go install` in `sources`; what it installs goes to `out`.
async fn go(
    recipe: &Recipe,
    verb: &str,
    args: &[impl AsRef<OsStr>],
    sources: &Path,
    out: &Path,
    progress: &mut Progress,
) -> Result<(), SandboxError> {
    let mut child = Command::new("go")
        // -v names each package as it compiles, which is what there is of
        // progress; no version-control stamp, since a parent folder may be
        // someone else's repository.
        .args([verb, "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
        // The linker leaves data for debuggers out, so the compiler need not write any: a third of its time.
        .args(["-gcflags=all=-dwarf=false", "-ldflags", recipe.linker_flags])
        .args(args)
        .current_dir(sources)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // The compiler collects its garbage less often: it takes memory that is there, and less time.
        .env("GOGC", "400")
        .env("GOBIN", out)
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
    if status.success() {
        Ok(())
    } else {
        Err(SandboxError::Build { what: recipe.what, disk: recipe.disk, output })
    }
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

fn cache_folder() -> Result<PathBuf, SandboxError> {
    non_empty("SLUICE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&non_empty("XDG_CACHE_HOME")?).join("sluice")))
        .or_else(|| Some(Path::new(&non_empty("HOME")?).join(".cache/sluice")))
        .and_then(|folder| std::path::absolute(folder).ok())
        .ok_or(SandboxError::NoCacheFolder)
}
