//! What tells a file or directory from another one that stands in its place later.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Inode and time of birth. Inodes are reused at once, so where the file system tells no birth, the modification time that
/// was set last takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) birth: Option<SystemTime>,
    pub(crate) modified: SystemTime,
}

impl Identity {
    /// Of whatever stands at a path, which nobody else uses.
    pub(crate) const ANY: Self = Self { device: 0, inode: 0, birth: None, modified: SystemTime::UNIX_EPOCH };

    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        Self {
            device,
            inode,
            birth: metadata.created().ok(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// What stands at a path, links not followed; `None`: nothing.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether both are of one thing, as far as can be told.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.device == other.device
            && self.inode == other.inode
            && match (self.birth, other.birth) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => self.modified == other.modified,
            }
    }

    /// Whether it still stands at this path.
    pub(crate) fn stands_at(&self, path: &Path) -> bool {
        matches!(Self::at(path), Ok(Some(found)) if *self == Self::ANY || self.same(&found))
    }
}

/// Whether an open file is what stands at a path. While it is open its inode is not reused, so the birth says nothing more.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(Some(found))) = (file.metadata(), Identity::at(path)) else { return false };
    let open = Identity::of(&open);
    open.device == found.device && open.inode == found.inode && open.birth == found.birth
}

/// Whether a failure means that a directory or file admits no change, rather than that something went wrong.
pub(crate) fn admits_nothing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(kind, Kind::PermissionDenied | Kind::ReadOnlyFilesystem)
}
