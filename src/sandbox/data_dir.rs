//! The folder in which one sandbox keeps everything.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::SandboxError;

/// How the temporary folders begin.
const PREFIX: &str = "sluice-sandbox-";
/// Locked for as long as its sandbox lives, however that ends.
const LOCK: &str = "lock";

/// A locked folder; a temporary one goes when this is dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    // The lock is let go of only after a temporary folder is gone.
    _temporary: Option<TempDir>,
    _lock: Lock,
}

/// A lock that ends with this. To close the file is not enough: a program that another thread is about to start has a copy of it for a
/// moment, and with it the lock.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it comes next in any case.
        let _unlocked = self.0.unlock();
    }
}

impl DataDir {
    /// Takes the folder given, or makes a temporary one.
    pub(super) fn open(given: Option<PathBuf>) -> Result<Self, SandboxError> {
        let (path, temporary) = match given {
            Some(path) => {
                fs::create_dir_all(&path).map_err(SandboxError::io("create", &path))?;
                // Components are given absolute paths in their arguments.
                let path = std::path::absolute(&path).map_err(SandboxError::io("resolve", &path))?;
                (path, None)
            }
            None => {
                let parent = std::env::temp_dir();
                sweep(&parent);
                let folder = tempfile::Builder::new()
                    .prefix(PREFIX)
                    .tempdir_in(&parent)
                    .map_err(SandboxError::io("create a folder in", &parent))?;
                (folder.path().to_path_buf(), Some(folder))
            }
        };
        let lock = lock(&path)?;
        Ok(Self { path, _temporary: temporary, _lock: Lock(lock) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(folder: &Path) -> Result<File, SandboxError> {
    let path = folder.join(LOCK);
    if let Ok(existing) = File::open(&path) {
        return take(existing, folder, &path);
    }
    // Locked before it has its name: a lock file that nobody holds means that
    // the folder is nobody's, and another process may be sweeping.
    let unnamed =
        tempfile::NamedTempFile::new_in(folder).map_err(SandboxError::io("create a file in", folder))?;
    unnamed.as_file().lock().map_err(SandboxError::io("lock", &path))?;
    unnamed.persist(&path).map_err(|e| SandboxError::io("create", &path)(e.error))
}

fn take(file: File, folder: &Path, path: &Path) -> Result<File, SandboxError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SandboxError::InUse { folder: folder.to_path_buf() }),
        Err(TryLockError::Error(e)) => Err(SandboxError::io("lock", path)(e)),
    }
}

/// Removes the temporary folders of sandboxes that died without doing so.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if !ours {
            continue;
        }
        let dead = File::open(folder.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok());
        if dead {
            // Best effort: what stays is swept next time.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}
