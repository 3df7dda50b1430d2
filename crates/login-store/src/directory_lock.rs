//! A lock that is a directory: whoever made it has it. The holder touches it; one that nobody touches is anybody's.
//!
//! This is the protocol of the JavaScript library `proper-lockfile`, which the Claude client uses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::fault;
use crate::identity::{Identity, admits_nothing};
use crate::journal_record::LockMark;
use crate::lock_note::{LockNote, any_at};
use crate::place::suffixed;
use crate::waiter::{Cancelled, Waiter};

/// After this, a lock that was stale and taken is looked at again: another may have found it stale at the same time.
pub(crate) const RECHECK: Duration = Duration::from_millis(200);

/// How often in one attempt a lock may vanish or be found stale before it counts as held.
const MAX_ROUNDS: usize = 3;

/// A directory that was made by us, and how to know it again.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
}

/// What came of trying to take a lock, once.
#[derive(Debug)]
pub(crate) enum Attempt<L> {
    Taken(L),
    Held,
    /// Its directory admits nothing new, or nothing removed.
    Unmakable(io::ErrorKind),
    Failed(io::ErrorKind),
}

impl DirectoryLock {
    /// Tries to make the directory; one that was not touched for `stale_after` is removed first. `note`: told of it before it
    /// is there.
    pub(crate) fn attempt(
        path: &Path,
        stale_after: Duration,
        note: &mut LockNote,
        waiter: &dyn Waiter,
    ) -> Result<Attempt<Self>, Cancelled> {
        let mut was_stale = false;
        for _ in 0..MAX_ROUNDS {
            if let Err(error) = fault::point("lock.making") {
                return Ok(Attempt::Failed(error.kind()));
            }
            match create(path, note, waiter.now()).map_err(|error| error.kind()) {
                Ok(()) => return Self::made(path, was_stale, waiter),
                Err(io::ErrorKind::AlreadyExists) => {}
                Err(kind) if admits_nothing(kind) => return Ok(Attempt::Unmakable(kind)),
                Err(kind) => return Ok(Attempt::Failed(kind)),
            }
            match Identity::at(path) {
                Ok(None) => {}
                Ok(Some(found)) if is_stale(&found, stale_after, waiter.now()) => {
                    // Looked at once more: it may have been removed and made anew in between.
                    if !found.stands_at(path) {
                        continue;
                    }
                    match fs::remove_dir(path).map_err(|error| error.kind()) {
                        Ok(()) => was_stale = true,
                        Err(io::ErrorKind::NotFound) => {}
                        Err(kind) if admits_nothing(kind) => return Ok(Attempt::Unmakable(kind)),
                        // A file, or a directory with something in it: not ours to remove.
                        Err(_) => return Ok(Attempt::Held),
                    }
                }
                Ok(Some(_)) => return Ok(Attempt::Held),
                Err(error) => return Ok(Attempt::Failed(error.kind())),
            }
        }
        Ok(Attempt::Held)
    }

    fn made(path: &Path, was_stale: bool, waiter: &dyn Waiter) -> Result<Attempt<Self>, Cancelled> {
        let identity = match Identity::at(path) {
            Ok(Some(identity)) => identity,
            Ok(None) => return Ok(Attempt::Held),
            Err(error) => return Ok(Attempt::Failed(error.kind())),
        };
        let mut lock = Self { path: path.to_owned(), identity };
        if let Err(error) = fault::point("lock.made") {
            lock.release();
            return Ok(Attempt::Failed(error.kind()));
        }
        // From the start its age is told by our clock, not by that of a file server.
        lock.touch(waiter.now());
        if was_stale {
            if let Err(cancelled) = waiter.wait(RECHECK) {
                lock.release();
                return Err(cancelled);
            }
            if !lock.is_ours() {
                return Ok(Attempt::Held);
            }
        }
        Ok(Attempt::Taken(lock))
    }

    /// Whether it is still the one that was made.
    pub(crate) fn is_ours(&self) -> bool {
        self.identity.stands_at(&self.path)
    }

    /// Sets its modification time. Says whether it is still ours; another's is not touched.
    pub(crate) fn touch(&mut self, now: SystemTime) -> bool {
        let Ok(directory) = open_directory(&self.path) else { return self.is_ours() };
        let found = |directory: &File| directory.metadata().ok().map(|found| Identity::of(&found));
        if !found(&directory).is_some_and(|found| self.identity.same(&found)) {
            return false;
        }
        let _ = directory.set_modified(now);
        // What the file system made of it: many keep times less precisely.
        if let Some(found) = found(&directory) {
            self.identity.modified = found.modified;
        }
        true
    }

    /// Removes it, if it is still ours.
    pub(crate) fn release(&self) {
        remove_if_same(&self.path, &self.identity);
    }
}

/// Makes the directory. It appears under its name when it is noted who it is, so that a process that dies at any time leaves
/// none that is not known: it is made under a name of our own, noted, and renamed.
fn create(path: &Path, note: &mut LockNote, now: SystemTime) -> io::Result<()> {
    // As a rule this is told without anything being made.
    if Identity::at(path)?.is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    static MADE: AtomicU64 = AtomicU64::new(0);
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let unnamed = suffixed(path, &format!(".trunkline-{}-{since:x}-{made}", std::process::id()));
    note.add(any_at(unnamed.clone()));
    make_private(&unnamed)?;
    let named = fault::point("lock.unnamed").and_then(|()| Identity::at(&unnamed)).and_then(|identity| {
        if let Some(identity) = identity {
            note.add(LockMark { path: path.to_owned(), identity });
        }
        fault::point("lock.noted")?;
        rename_to_nothing(&unnamed, path)
    });
    match named {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_dir(&unnamed);
            if error.kind() != io::ErrorKind::Unsupported {
                return Err(error);
            }
            // This file system cannot do it in one step. What is between the two is left to become stale.
            make_private(path)?;
            if let Ok(Some(identity)) = Identity::at(path) {
                note.add(LockMark { path: path.to_owned(), identity });
            }
            Ok(())
        }
    }
}

/// Makes a directory whose mode does not follow the umask: nobody else puts anything into a lock.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Gives a directory a name that nothing has, in one step. `Unsupported`: this system or file system has no such step.
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Removes a lock's directory if it still is the one that was seen before.
pub(crate) fn remove_if_same(path: &Path, identity: &Identity) {
    if identity.stands_at(path) {
        // What cannot be removed becomes stale.
        let _ = fs::remove_dir(path);
    }
}

fn is_stale(found: &Identity, stale_after: Duration, now: SystemTime) -> bool {
    now.duration_since(found.modified).is_ok_and(|age| age > stale_after)
}

fn open_directory(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, crate::read::flags(flags));
    }
    #[cfg(windows)]
    {
        // FILE_FLAG_BACKUP_SEMANTICS, without which directories are not opened, and the right to set their times.
        use std::os::windows::fs::OpenOptionsExt as _;
        options.access_mode(0x0080 | 0x0100).custom_flags(0x0200_0000);
    }
    options.open(path)
}
