//! A note of the locks that a refresh makes, written before each of them is there: what a process that dies leaves is known by
//! it, from the first lock on and until the last is gone. The journal names them too, but it is made under the locks, and is
//! gone before they are.
//!
//! The owner has it locked (`flock`) as long as it lives. One that can be locked has a dead owner, whose locks are removed if
//! they are still the same. It is not synced: a machine that starts anew finds locks that are old enough to be anybody's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::directory_lock::remove_if_same;
use crate::identity::{Identity, is_at};
use crate::journal_record::{LockMark, encode_locks, read_locks};
use crate::owner_record;
use crate::place::suffixed;

/// Longest note that is read, in bytes. One names two directories and three locks at most, each with its path.
const MAX_NOTE: u64 = 64 * 1024;

/// The note beside a journal's place.
pub(crate) fn beside(journal: &Path) -> PathBuf {
    suffixed(journal, ".locks")
}

/// A note that is made once there is something to write, at the first of its places that admits one.
#[derive(Debug)]
pub(crate) struct LockNote {
    places: Vec<PathBuf>,
    open: Option<(PathBuf, File)>,
    locks: Vec<LockMark>,
}

impl LockNote {
    /// Nothing is made yet. `places`: where the note may lie, the best first.
    pub(crate) fn at(places: Vec<PathBuf>) -> Self {
        Self { places, open: None, locks: Vec::new() }
    }

    /// Writes that this lock is about to be there. Without a place for the note, or while another process has it, the lock is
    /// made without: it becomes stale with time, as it always would.
    pub(crate) fn add(&mut self, lock: LockMark) {
        self.locks.push(lock);
        if self.open.is_none() {
            self.open = self.places.iter().find_map(|place| open(place).map(|file| (place.clone(), file)));
        }
        if let Some((_, file)) = &mut self.open {
            let _ = write(file, &self.locks);
        }
    }

    /// Removes the locks that a dead process has noted here, as far as they are still its own.
    pub(crate) fn clear_dead(place: &Path) {
        let Ok(mut file) = options().open(place) else { return };
        if file.try_lock().is_err() {
            return;
        }
        if is_at(&file, place) {
            let mut bytes = Vec::new();
            let _ = Read::by_ref(&mut file).take(MAX_NOTE).read_to_end(&mut bytes);
            for lock in read_locks(&bytes).unwrap_or_default() {
                owner_record::remove(&lock.path, &lock.identity);
                remove_if_same(&lock.path, &lock.identity);
            }
            let _ = fs::remove_file(place);
        }
        let _ = file.unlock();
    }
}

impl Drop for LockNote {
    fn drop(&mut self) {
        if let Some((place, file)) = self.open.take() {
            if is_at(&file, &place) {
                let _ = fs::remove_file(&place);
            }
            // A child that this process is just starting still has the file open.
            let _ = file.unlock();
        }
    }
}

/// A mark of whatever stands at a path that nobody but us would use.
pub(crate) fn any_at(path: PathBuf) -> LockMark {
    LockMark { path, identity: Identity::ANY }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;
        options.mode(0o600).custom_flags(crate::read::flags(OFlags::NONBLOCK | OFlags::NOFOLLOW));
    }
    options
}

fn open(place: &Path) -> Option<File> {
    let file = options().create(true).truncate(false).open(place).ok()?;
    match file.try_lock() {
        Ok(()) if is_at(&file, place) => Some(file),
        // A dead owner's was dealt with before; a living one's is not ours.
        Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

fn write(file: &mut File, locks: &[LockMark]) -> io::Result<()> {
    let bytes = encode_locks(locks);
    file.rewind()?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)
}
