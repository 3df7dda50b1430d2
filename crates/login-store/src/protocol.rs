//! Which locks the clients of a provider take. All that differs between them is in this file.
//!
//! Observed of Claude 2.1.197 and of Codex; the staleness is that of newer Claude clients, since an older one's 10 s would
//! let a lock be taken from a newer client that is alive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::place::Place;

/// The locks that a provider's own clients use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockProtocol {
    /// Directories made with `mkdir` in the configuration directory and beside it.
    Claude {
        /// The configuration directory; `None`: that of the login file.
        config_directory: Option<PathBuf>,
    },
    /// `flock` on files beside the login file.
    Codex,
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockSpec {
    pub(crate) path: PathBuf,
    /// Its name in messages.
    pub(crate) name: &'static str,
    pub(crate) kind: LockKind,
    /// A lock with a record of its owner beside it, which is about the lock after it too.
    pub(crate) has_record: bool,
    pub(crate) patience: Patience,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// A directory, which is anybody's once it has not been touched for this long.
    Directory { stale_after: Duration },
    /// A file to `flock`.
    File,
}

/// How often a lock is tried, and how long all the waits between may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) tries: u32,
    pub(crate) apart: Duration,
    pub(crate) jitter: Duration,
    pub(crate) at_most: Duration,
}

/// All locks of a refresh: those around the whole of it in order, and the one around the write.
#[derive(Debug)]
pub(crate) struct LockPlan {
    pub(crate) refresh: Vec<LockSpec>,
    pub(crate) write: LockSpec,
}

const REFRESH_STALE: Duration = Duration::from_secs(60);
const WRITE_STALE: Duration = Duration::from_secs(15);

/// Up to 6 tries, 1 s and a random 0-1 s apart: 10 s at most.
const DIRECTORY_PATIENCE: Patience = Patience {
    tries: 6,
    apart: Duration::from_secs(1),
    jitter: Duration::from_secs(1),
    at_most: Duration::from_secs(10),
};

/// A token that was received is not held back for longer.
const WRITE_PATIENCE: Patience = Patience { at_most: Duration::from_secs(5), ..DIRECTORY_PATIENCE };

/// Every 250 ms for at most 10 s.
const FILE_PATIENCE: Patience = Patience {
    tries: 41,
    apart: Duration::from_millis(250),
    jitter: Duration::ZERO,
    at_most: Duration::from_secs(10),
};

impl LockProtocol {
    pub(crate) fn plan(&self, place: &Place) -> LockPlan {
        match self {
            Self::Claude { config_directory } => {
                let directories = directories(config_directory.as_deref(), place);
                let mut refresh = Vec::new();
                for directory in &directories {
                    let lock = |path, name, has_record| LockSpec {
                        path,
                        name,
                        has_record,
                        kind: LockKind::Directory { stale_after: REFRESH_STALE },
                        patience: DIRECTORY_PATIENCE,
                    };
                    refresh.push(lock(directory.join(".oauth_refresh.lock"), ".oauth_refresh.lock", true));
                    // The root has no sibling.
                    if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) {
                        let mut name = name.to_owned();
                        name.push(".lock");
                        refresh.push(lock(
                            parent.join(name),
                            "the lock beside the configuration directory",
                            false,
                        ));
                    }
                }
                let write = LockSpec {
                    path: written(&directories, config_directory.as_deref(), place)
                        .join(".storage-write.lock"),
                    name: ".storage-write.lock",
                    has_record: false,
                    kind: LockKind::Directory { stale_after: WRITE_STALE },
                    patience: WRITE_PATIENCE,
                };
                LockPlan { refresh, write }
            }
            Self::Codex => {
                let directories = directories(None, place);
                let lock = |path, name| LockSpec {
                    path,
                    name,
                    has_record: false,
                    kind: LockKind::File,
                    patience: FILE_PATIENCE,
                };
                LockPlan {
                    refresh: directories
                        .iter()
                        .map(|directory| lock(directory.join("auth.lock"), "auth.lock"))
                        .collect(),
                    write: lock(written(&directories, None, place).join("auth.json.lock"), "auth.json.lock"),
                }
            }
        }
    }
}

/// The directories whose locks are taken, by real path and in its order: one, or two if the login file is a link.
fn directories(config_directory: Option<&Path>, place: &Place) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::from([configured(config_directory, place)]);
    if place.is_link {
        directories.insert(place.directory.clone());
    }
    directories
}

fn configured(config_directory: Option<&Path>, place: &Place) -> PathBuf {
    config_directory.map_or_else(|| place.configured_directory.clone(), crate::place::real)
}

/// The directory that is written, if its locks are among those taken; else the configured one.
fn written(directories: &BTreeSet<PathBuf>, config_directory: Option<&Path>, place: &Place) -> PathBuf {
    directories.get(&place.directory).cloned().unwrap_or_else(|| configured(config_directory, place))
}
