//! Taking the locks of a refresh in order, keeping them alive, and letting them go in reverse.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::directory_lock::{Attempt, DirectoryLock};
use crate::file_lock::FileLock;
use crate::identity::Identity;
use crate::journal_record::LockMark;
use crate::lock_note::LockNote;
use crate::owner_record::{self, OwnerRecord};
use crate::protocol::{LockKind, LockSpec};
use crate::waiter::{Cancelled, Waiter};

/// How often [`Heartbeat::touch`] must be called while a refresh goes on. The least patient client that was observed takes
/// a lock over that was not touched for 10 s.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

/// Why a lock was not to be had. Nothing is held then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockProblem {
    /// Another program holds it, and does so after all tries.
    #[error("another program holds {lock}; it is tried again")]
    Busy {
        /// The lock.
        lock: &'static str,
    },
    /// Its directory admits nothing new.
    #[error("{lock} cannot be made ({kind}); make its directory writable")]
    Unmakable {
        /// The lock.
        lock: &'static str,
        /// What the file system said.
        kind: io::ErrorKind,
    },
    /// The file system failed.
    #[error("{lock} could not be taken ({kind}); check the disk")]
    Failed {
        /// The lock.
        lock: &'static str,
        /// What the file system said.
        kind: io::ErrorKind,
    },
    /// The caller ended the wait.
    #[error("ended while waiting for a lock")]
    Cancelled,
}

impl From<Cancelled> for LockProblem {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// A lock was taken over by another program, so the token must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another program took over a lock of this refresh; it is tried again")]
pub struct LocksLost;

#[derive(Debug)]
pub(crate) enum HeldLock {
    Directory(DirectoryLock),
    File(FileLock),
}

impl HeldLock {
    fn is_ours(&self) -> bool {
        match self {
            Self::Directory(lock) => lock.is_ours(),
            Self::File(lock) => lock.is_ours(),
        }
    }

    /// Keeps it from becoming stale. Says whether it is still ours.
    pub(crate) fn touch(&mut self, now: SystemTime) -> bool {
        match self {
            Self::Directory(lock) => lock.touch(now),
            Self::File(lock) => lock.is_ours(),
        }
    }

    fn identity_at(&self, path: &Path) -> Option<Identity> {
        match self {
            Self::Directory(lock) if lock.path == path => Some(lock.identity.clone()),
            Self::Directory(_) | Self::File(_) => None,
        }
    }

    /// How a journal names it. Locks on files need no name: they end with their process.
    fn mark(&self) -> Option<LockMark> {
        match self {
            Self::Directory(lock) => {
                Some(LockMark { path: lock.path.clone(), identity: lock.identity.clone() })
            }
            Self::File(_) => None,
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Self::Directory(lock) = self {
            lock.release();
        }
    }
}

type Shared = Arc<Mutex<Vec<HeldLock>>>;

/// The locks around a refresh, let go in reverse order when this is dropped.
#[derive(Debug)]
pub(crate) struct HeldLocks {
    held: Shared,
    /// Goes when the locks are gone.
    note: Mutex<LockNote>,
    /// Locks beside which a record of ours stands.
    recorded: Vec<(PathBuf, Identity)>,
    /// A lock that could not be made. Only a login that is rewritten in place may go without.
    pub(crate) skipped: Option<LockProblem>,
}

/// Keeps a refresh's locks. It may outlive the refresh: then it does nothing.
#[derive(Debug, Clone)]
pub struct Heartbeat(Shared);

impl Heartbeat {
    /// Touches the locks, which must happen every [`HEARTBEAT`]. Says whether all of them are still ours. Blocks on the
    /// file system, but never for another program.
    pub fn touch(&self, now: SystemTime) -> bool {
        lock(&self.0).iter_mut().fold(true, |ours, held| ours & held.touch(now))
    }
}

impl HeldLocks {
    /// No locks, for finishing what another began.
    pub(crate) fn none(note: LockNote) -> Self {
        Self { held: Shared::default(), note: Mutex::new(note), recorded: Vec::new(), skipped: None }
    }

    /// Takes the locks in their order, waiting for each. Those that cannot be made are left out and noted.
    pub(crate) fn take(specs: &[LockSpec], note: LockNote, waiter: &dyn Waiter) -> Result<Self, LockProblem> {
        let mut locks = Self::none(note);
        for (at, spec) in specs.iter().enumerate() {
            if spec.has_record {
                // Whoever died with it is not waited for.
                owner_record::take_over(&spec.path, sibling(specs, at));
            }
            match locks.take_further(spec, waiter) {
                Ok(held) => lock(&locks.held).push(held),
                Err(problem @ LockProblem::Unmakable { .. }) => locks.skipped = Some(problem),
                Err(problem) => return Err(problem),
            }
        }
        for (at, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.has_record) {
            locks.record(&spec.path, sibling(specs, at));
        }
        Ok(locks)
    }

    /// Says beside a lock who holds it, in the client's form, where all of that is known: should this process die, a client need
    /// not wait.
    fn record(&mut self, path: &Path, sibling: Option<&Path>) {
        let held = lock(&self.held);
        let identity = |path: &Path| held.iter().find_map(|lock| lock.identity_at(path));
        let Some(identity_of_lock) = identity(path) else { return };
        let record = OwnerRecord::of_this_process(&identity_of_lock, sibling.and_then(identity).as_ref());
        drop(held);
        if let Some(record) = record {
            // In any case to be looked for at the end, however far this came.
            self.recorded.push((path.to_owned(), identity_of_lock));
            let _ = record.write(path);
        }
    }

    /// Takes a lock beside these, which are touched meanwhile. The lock is let go when the result is dropped.
    pub(crate) fn take_further(&self, spec: &LockSpec, waiter: &dyn Waiter) -> Result<HeldLock, LockProblem> {
        let patience = spec.patience;
        let mut waited = Duration::ZERO;
        for tried in 1..=patience.tries {
            self.heartbeat().touch(waiter.now());
            let attempt = match spec.kind {
                LockKind::Directory { stale_after } => {
                    let mut note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
                    match DirectoryLock::attempt(&spec.path, stale_after, &mut note, waiter)? {
                        Attempt::Taken(lock) => return Ok(HeldLock::Directory(lock)),
                        Attempt::Held => Attempt::Held,
                        Attempt::Unmakable(kind) => Attempt::Unmakable(kind),
                        Attempt::Failed(kind) => Attempt::Failed(kind),
                    }
                }
                LockKind::File => FileLock::attempt(&spec.path),
            };
            match attempt {
                Attempt::Taken(lock) => return Ok(HeldLock::File(lock)),
                Attempt::Held => {}
                Attempt::Unmakable(kind) => return Err(LockProblem::Unmakable { lock: spec.name, kind }),
                Attempt::Failed(kind) => return Err(LockProblem::Failed { lock: spec.name, kind }),
            }
            let left = patience.at_most.saturating_sub(waited);
            if tried == patience.tries || left.is_zero() {
                break;
            }
            let jitter =
                if patience.jitter.is_zero() { Duration::ZERO } else { waiter.jitter(patience.jitter) };
            let pause = (patience.apart + jitter.min(patience.jitter)).min(left);
            waiter.wait(pause)?;
            waited += pause;
        }
        Err(LockProblem::Busy { lock: spec.name })
    }

    /// Whether none was taken over by another.
    pub(crate) fn are_ours(&self) -> bool {
        lock(&self.held).iter().all(HeldLock::is_ours)
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        Heartbeat(Arc::clone(&self.held))
    }

    pub(crate) fn marks(&self) -> Vec<LockMark> {
        lock(&self.held).iter().filter_map(HeldLock::mark).collect()
    }
}

/// The lock that the record of the one at this place is about as well.
fn sibling(specs: &[LockSpec], at: usize) -> Option<&Path> {
    specs.get(at + 1).filter(|next| !next.has_record).map(|next| next.path.as_path())
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        for (lock, identity) in &self.recorded {
            owner_record::remove(lock, identity);
        }
        let mut held = lock(&self.held);
        while let Some(last) = held.pop() {
            drop(last);
        }
    }
}

/// How a journal names one lock.
pub(crate) fn mark_of(held: &HeldLock) -> Option<LockMark> {
    held.mark()
}

/// What is behind the lock is right after every step, so a panic elsewhere does not matter.
fn lock(shared: &Shared) -> MutexGuard<'_, Vec<HeldLock>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
