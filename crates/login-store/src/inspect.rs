//! Looking at all that belongs to a login on the disk: nothing is changed, and no lock is taken.
//!
//! What is found may be otherwise a moment later: it is for telling a person, and nothing is decided by it.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::journal::{self, Aside};
use crate::journal_record::{self, MAX_JOURNAL};
use crate::medium::Medium;
use crate::place::Place;
use crate::proof::is_mounted;
use crate::protocol::{LockKind, LockSpec};
use crate::read::read_up_to;
use crate::store::LoginStore;

/// What lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The file itself, links followed; also of one that is not there.
    pub real: PathBuf,
    /// Whether the configured path is a symbolic link.
    pub is_link: bool,
    /// The locks that stand there. A lock that is a file may stand there without being held.
    pub locks: Vec<FoundLock>,
    /// Journals of refreshes: at most one beside the login file, and in the data directory one of the file and one of a
    /// keychain's item.
    pub journals: Vec<FoundJournal>,
    /// Journals that were kept aside, since the login had changed.
    pub set_aside: Vec<PathBuf>,
    /// Journals that were kept aside, since no token could be read from the provider's answer.
    pub unread: Vec<UnreadJournal>,
    /// How a refreshed login could be written; `None`: there is no file.
    pub writing: Option<Writing>,
}

/// What stands in a lock's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLock {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub state: LockState,
}

/// What a lock is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// A directory, which somebody has as long as it is touched.
    Directory {
        /// When it was touched last.
        touched: SystemTime,
        /// How long it may go without being touched until it is anybody's.
        stale_after: Duration,
    },
    /// A file. Whether somebody has it locked cannot be seen on the file itself.
    File,
    /// What no client ever removes, so that the lock cannot be had: a file where a directory belongs, a directory with
    /// something in it, or the like.
    Obstacle,
}

/// A journal of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundJournal {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub state: JournalState,
}

/// An answer that could not be read, in a journal that was kept aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadJournal {
    /// Where.
    pub path: PathBuf,
    /// When the answer came, and where in the file its bytes lie: how many are before them, and how many they are. `None`: the
    /// file cannot be read.
    pub answer: Option<(SystemTime, [usize; 2])>,
    /// The coding that the answer names; empty: none.
    pub encoding: String,
}

/// What is in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalState {
    /// A request without an answer.
    Unanswered,
    /// An answer, with the tokens that are to go into the login file.
    Answered,
    /// Nothing that could be relied on.
    Damaged,
    /// It cannot be read.
    Unreadable(io::ErrorKind),
}

/// How a refreshed login could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// A new file takes its place.
    Replace,
    /// Only over the old text, with the journal in the data directory.
    InPlace(WhyInPlace),
    /// Not at all.
    No(io::ErrorKind),
}

/// Why a login file cannot be replaced by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyInPlace {
    /// It is mounted by itself, as containers do with single files.
    Mounted,
    /// Its directory admits no new file.
    Directory(io::ErrorKind),
    /// A new file could not be given its owner and group.
    Owner,
}

impl LoginStore {
    /// Looks at the login. What cannot be seen counts as not there. No keychain is asked: of a login in one, this tells what
    /// belongs to it on the disk.
    pub fn inspect(&self) -> Inspection {
        let place = self.file();
        let plan = self.protocol().plan(&place);
        let locks = plan.refresh.iter().chain([&plan.write]).filter_map(lock).collect();
        let places = self.journals();
        let journals = places.iter().filter_map(|(_, path, _)| journal(path)).collect();
        let asides = |why: Aside| {
            let names = places.iter().flat_map(move |(_, path, _)| why.names(path));
            names.filter(|path| path.symlink_metadata().is_ok())
        };
        let set_aside = asides(Aside::Superseded).collect();
        let unread = asides(Aside::Unread).map(unread).collect();
        let real = match &place.medium {
            Medium::File(real) => real.clone(),
            Medium::Keychain(_) => PathBuf::new(),
        };
        Inspection {
            writing: writing(&real, &place),
            is_link: place.is_link,
            real,
            locks,
            journals,
            set_aside,
            unread,
        }
    }
}

fn lock(spec: &LockSpec) -> Option<FoundLock> {
    let found = fs::symlink_metadata(&spec.path).ok()?;
    let state = match spec.kind {
        LockKind::File if found.is_file() => LockState::File,
        LockKind::Directory { stale_after } if found.is_dir() && is_empty(&spec.path) => {
            let touched = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            LockState::Directory { touched, stale_after }
        }
        _ => LockState::Obstacle,
    };
    Some(FoundLock { path: spec.path.clone(), state })
}

/// One that cannot be looked into counts as empty, since locks are.
fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

fn journal(path: &Path) -> Option<FoundJournal> {
    let read = || -> io::Result<Option<JournalState>> {
        let Some(mut file) = journal::open(path)? else { return Ok(None) };
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(Some(JournalState::Damaged));
        }
        let contents = read_up_to(&mut file, found.len(), MAX_JOURNAL)?
            .and_then(|bytes| journal_record::parse(bytes.as_bytes()).ok());
        Ok(Some(match contents {
            None => JournalState::Damaged,
            Some(contents) if !contents.answers.is_empty() => JournalState::Answered,
            Some(_) => JournalState::Unanswered,
        }))
    };
    let state = read().unwrap_or_else(|error| Some(JournalState::Unreadable(error.kind())))?;
    Some(FoundJournal { path: path.to_owned(), state })
}

fn unread(path: PathBuf) -> UnreadJournal {
    let read = || -> Option<(SystemTime, [usize; 2], String)> {
        let mut file = journal::open(&path).ok()??;
        let length = file.metadata().ok()?.len();
        let bytes = read_up_to(&mut file, length, MAX_JOURNAL).ok()??;
        let contents = journal_record::parse(bytes.as_bytes()).ok()?;
        let answer = contents.answers().first()?;
        let (before, length) = journal_record::place_of_answer(bytes.as_bytes())?;
        Some((answer.received(), [before, length], answer.encoding().to_owned()))
    };
    match read() {
        Some((at, place, encoding)) => UnreadJournal { path, answer: Some((at, place)), encoding },
        None => UnreadJournal { path, answer: None, encoding: String::new() },
    }
}

fn writing(real: &Path, place: &Place) -> Option<Writing> {
    let found = fs::metadata(real).ok()?;
    if !found.is_file() {
        return None;
    }
    Some(if let Err(why) = may_write(real, &found) {
        Writing::No(why)
    } else if is_mounted(real, place, &found) {
        Writing::InPlace(WhyInPlace::Mounted)
    } else if let Err(why) = admits_files(&place.directory) {
        Writing::InPlace(WhyInPlace::Directory(why))
    } else if keeps_owner(&found, &place.directory) {
        Writing::Replace
    } else {
        Writing::InPlace(WhyInPlace::Owner)
    })
}

#[cfg(unix)]
fn may_write(file: &Path, _: &Metadata) -> Result<(), io::ErrorKind> {
    access(file, rustix::fs::Access::WRITE_OK)
}

#[cfg(unix)]
fn admits_files(directory: &Path) -> Result<(), io::ErrorKind> {
    access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
}

/// Asks the kernel whether this could be done, which does nothing.
#[cfg(unix)]
fn access(path: &Path, access: rustix::fs::Access) -> Result<(), io::ErrorKind> {
    rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS)
        .map_err(|error| io::Error::from(error).kind())
}

/// Whether a new file in the directory could be given owner and group of the old one.
#[cfg(unix)]
fn keeps_owner(old: &Metadata, directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    use rustix::process::{getegid, geteuid, getgroups};
    const SET_GROUP: u32 = 0o2000;
    let user = geteuid();
    if user.is_root() {
        return true;
    }
    let is_given = || {
        fs::metadata(directory).is_ok_and(|found| found.mode() & SET_GROUP != 0 && found.gid() == old.gid())
    };
    let is_member = || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == old.gid()));
    old.uid() == user.as_raw() && (old.gid() == getegid().as_raw() || is_member() || is_given())
}

#[cfg(not(unix))]
fn may_write(_: &Path, found: &Metadata) -> Result<(), io::ErrorKind> {
    if found.permissions().readonly() { Err(io::ErrorKind::PermissionDenied) } else { Ok(()) }
}

#[cfg(not(unix))]
fn admits_files(_: &Path) -> Result<(), io::ErrorKind> {
    Ok(())
}

#[cfg(not(unix))]
fn keeps_owner(_: &Metadata, _: &Path) -> bool {
    true
}
