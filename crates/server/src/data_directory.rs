//! The data directory: made when it is missing, and held by one running instance.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// The file whose lock says that the directory is in use; its content says by whom.
const LOCK: &str = "trunkline.lock";

/// The control socket.
const SOCKET: &str = "trunkline.sock";

/// Longest content of the lock file that is read.
const MAX_HOLDER: u64 = 64;

/// The directory, held until dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// It cannot be made or written to.
    #[error("data directory {}: {why}: set data_directory to one that this user can write", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Another instance has it.
    #[error(
        "data directory {} is held by another trunkline{holder}: stop that one, or set another data_directory",
        path.display()
    )]
    Held {
        /// Which.
        path: PathBuf,
        /// By whom: ` (process 1)`, or empty.
        holder: String,
    },
}

impl DataDirectory {
    /// Makes the directory if it is missing (for this user alone), and takes hold of it.
    pub fn hold(path: &Path) -> Result<Self, DataDirectoryError> {
        let unusable = |why| DataDirectoryError::Unusable { path: path.to_path_buf(), why };
        make(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut lock = options.open(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirectoryError::Held { path: path.to_path_buf(), holder: holder(&lock) });
            }
            Err(TryLockError::Error(why)) => return Err(unusable(why)),
        }
        let note = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        // Also finds a full disk before anything depends on it.
        let mut note = note;
        note().map_err(unusable)?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that whoever holds the directory has locked.
    pub fn lock(path: &Path) -> PathBuf {
        path.join(LOCK)
    }

    /// Where the control socket of the instance that holds the directory lies.
    pub fn socket(path: &Path) -> PathBuf {
        path.join(SOCKET)
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn holder(mut lock: &File) -> String {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.take(MAX_HOLDER).read_to_string(&mut text));
    match text.trim().parse::<u32>() {
        Ok(process) if read.is_ok() => format!(" (process {process})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDirectory::hold(&path).unwrap();
        assert_eq!(held.path(), path);
        let refused = DataDirectory::hold(&path).unwrap_err().to_string();
        let id = std::process::id();
        assert_eq!(
            refused,
            format!(
                "data directory {} is held by another trunkline (process {id}): stop that one, or set another \
                 data_directory",
                path.display()
            )
        );
        drop(held);
        DataDirectory::hold(&path).unwrap();
    }

    #[test]
    fn one_that_cannot_be_made_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = DataDirectory::hold(&file.join("below")).unwrap_err().to_string();
        assert!(refused.contains("file/below") && refused.contains("set data_directory"), "{refused}");
    }
}
