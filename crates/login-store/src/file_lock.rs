//! A lock that is an exclusive `flock` on a file. It ends with the process; the file stays.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::directory_lock::Attempt;
use crate::fault;
use crate::identity::{admits_nothing, is_at};

/// A locked file; unlocked when it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// Tries to lock the file, which is made if it is not there.
    pub(crate) fn attempt(path: &Path) -> Attempt<Self> {
        let file = match open_or_create(path) {
            Ok(file) => file,
            Err(error) if admits_nothing(error.kind()) => return Attempt::Unmakable(error.kind()),
            Err(error) => return Attempt::Failed(error.kind()),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Attempt::Held,
            Err(TryLockError::Error(error)) => return Attempt::Failed(error.kind()),
        }
        if let Err(error) = fault::point("file_lock.locked") {
            return Attempt::Failed(error.kind());
        }
        let lock = Self { path: path.to_owned(), file };
        // A lock on a file that somebody removed excludes nobody.
        if lock.is_ours() { Attempt::Taken(lock) } else { Attempt::Held }
    }

    /// Whether the locked file is still the one that others would lock.
    pub(crate) fn is_ours(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A child that this process is just starting still has the file open, and would keep the lock a little longer.
        let _ = self.file.unlock();
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // A lock needs no more than a file that is open.
        Err(error) if admits_nothing(error.kind()) => File::open(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match options.create_new(true).open(path) {
            Ok(file) => {
                give_to_the_directorys_owner(&file, path);
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                File::options().read(true).write(true).open(path)
            }
            Err(error) => Err(error),
        },
        result => result,
    }
}

/// A lock that root made must not shut out the client, which runs as the directory's owner.
fn give_to_the_directorys_owner(file: &File, path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let directory = crate::place::directory_of(path).metadata();
        if let (Ok(directory), Ok(made)) = (directory, file.metadata())
            && directory.uid() != made.uid()
        {
            let _ = fchown(file, Some(directory.uid()), Some(directory.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
}
