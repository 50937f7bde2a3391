//! What runs on this machine.

use std::path::Path;
use std::time::Duration;

/// The command lines of the running processes that mention this folder.
pub fn running_with(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return vec!["no /proc to look at".to_owned()];
    };
    processes
        .flatten()
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder.as_ref()))
        .collect()
}

/// The `PATH`, but for the folders that have this program.
pub fn path_without(program: &str) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let kept = std::env::split_paths(&path).filter(|p| !p.join(program).exists());
    std::env::join_paths(kept).unwrap_or_default()
}

/// Whether this becomes true within a minute.
pub async fn wait_until(condition: impl Fn() -> bool) -> bool {
    let check = async {
        let mut poll = tokio::time::interval(Duration::from_millis(50));
        while !condition() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), check).await.is_ok()
}
