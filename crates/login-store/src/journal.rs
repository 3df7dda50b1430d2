//! The journal as a file: made whole, locked by its owner as long as that lives, and removed or kept aside.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::fault;
use crate::identity::{Identity, admits_nothing, is_at};
use crate::journal_record::{
    self as record, Answer, Contents, HEAD, LockMark, MAX_JOURNAL, RESERVED, Request, Unreadable,
};
use crate::place::{directory_of, suffixed};
use crate::read::read_up_to;
use crate::replace::{give_to, sync_directory};

/// How many journals are kept aside for one login. The last place is used again.
pub(crate) const MAX_ASIDE: usize = 9;

/// Why an answer is not in the journal. It is still written to the login file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalProblem {
    /// Somebody removed the journal.
    #[error("the journal of the refresh was removed by somebody")]
    Gone,
    /// The file system failed.
    #[error("the journal of the refresh could not be written ({0}); check its disk")]
    Io(io::ErrorKind),
}

impl From<io::Error> for JournalProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// A journal whose `flock` is ours.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// The name that it has, or had, while its refresh is under way; others are made of it.
    base: PathBuf,
    file: File,
    /// Where the next record goes.
    end: usize,
    is_answered: bool,
}

/// What stands in a journal's place.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    /// Its owner lives: it is not to be touched.
    OwnerLives,
    /// Its owner has died, and the journal is now ours.
    Dead(Box<(Journal, Result<Contents, Damaged>)>),
}

/// A journal that cannot be read whole, and the locks that can still be read in it.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) locks: Vec<LockMark>,
}

impl Journal {
    /// Makes a journal with its first record and `room` bytes of zeros beyond [`RESERVED`], all on the disk. It appears
    /// under its name when it is complete and locked, so whoever finds it there unlocked knows that its owner is dead; and
    /// the rename shows that the directory admits one. `like`: the file whose owner it must be possible to give it.
    pub(crate) fn create(
        path: &Path,
        like: Option<&fs::Metadata>,
        request: &Request,
        room: usize,
    ) -> io::Result<Self> {
        let unnamed = suffixed(path, ".new");
        clear_unnamed(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&unnamed)?;
        let mut journal = Self { path: unnamed, base: path.to_owned(), file, end: 0, is_answered: false };
        match journal.fill(path, like, request, room) {
            Ok(()) => Ok(journal),
            Err(error) => {
                journal.remove();
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        path: &Path,
        like: Option<&fs::Metadata>,
        request: &Request,
        room: usize,
    ) -> io::Result<()> {
        fault::point("journal.created")?;
        self.file.try_lock()?;
        fault::point("journal.locked")?;
        if let Some(like) = like {
            give_to(&self.file, like)?;
        }
        let first = record::encode_request(request);
        if first.len() > RESERVED {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let mut whole = first.to_vec();
        whole.resize(RESERVED.saturating_add(room), 0);
        fault::write_all(&self.file, &whole, "journal.half_written")?;
        fault::point("journal.written")?;
        self.file.sync_all()?;
        fault::point("journal.synced")?;
        // Under the locks nobody else makes one. Where there are no locks, a journal that is there stays.
        if Identity::at(path)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        self.end = first.len() - HEAD;
        fault::point("journal.named")?;
        sync_directory(directory_of(path))?;
        fault::point("journal.directory_synced")?;
        if is_at(&self.file, path) { Ok(()) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    }

    /// Looks what stands in a journal's place, and takes a dead owner's over.
    pub(crate) fn find(path: &Path) -> io::Result<Found> {
        clear_unnamed(path)?;
        Self::find_at(path, path)
    }

    /// Looks at a journal that was kept aside under this name.
    pub(crate) fn find_aside(base: &Path, name: &Path) -> io::Result<Found> {
        Self::find_at(base, name)
    }

    fn find_at(base: &Path, path: &Path) -> io::Result<Found> {
        let Some(mut file) = open(path)? else { return Ok(Found::Nothing) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Found::OwnerLives),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        fault::point("finish.locked")?;
        if !is_at(&file, path) {
            // Its owner, or one who finished it, has just removed it.
            return Ok(Found::Nothing);
        }
        let expected = file.metadata()?.len();
        let contents = match read_up_to(&mut file, expected, MAX_JOURNAL)? {
            Some(bytes) => record::parse(bytes.as_bytes())
                .map_err(|Unreadable| Damaged { locks: record::locks_of_damaged(bytes.as_bytes()) }),
            None => Err(Damaged { locks: Vec::new() }),
        };
        let (end, is_answered) =
            contents.as_ref().map_or((0, false), |contents| (contents.end, !contents.answers.is_empty()));
        let journal = Self { path: path.to_owned(), base: base.to_owned(), file, end, is_answered };
        Ok(Found::Dead(Box::new((journal, contents))))
    }

    /// Writes the answer and syncs it. When this returns, the answer is safe.
    pub(crate) fn record_answer(&mut self, answer: &Answer) -> Result<(), JournalProblem> {
        fault::point("answer.received")?;
        let bytes = record::encode_answer(answer);
        self.write(&bytes, "answer.half_written")?;
        fault::point("answer.synced")?;
        self.end += bytes.len() - HEAD;
        self.is_answered = true;
        if is_at(&self.file, &self.path) { Ok(()) } else { Err(JournalProblem::Gone) }
    }

    /// Writes what belongs to one try to write the login file, over what belonged to the one before. Without an answer in
    /// it, there is nothing that this could belong to.
    pub(crate) fn record_try(
        &mut self,
        write_lock: Option<&LockMark>,
        image: Option<[&[u8]; 2]>,
    ) -> Result<(), JournalProblem> {
        if self.is_answered {
            self.write(&record::encode_try(write_lock, image), "try.half_written")?;
            fault::point("try.synced")?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], name: &'static str) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end as u64))?;
        fault::write_all(&self.file, bytes, name)?;
        self.file.sync_all()
    }

    /// Removes it, unless another stands in its place. Says whether its place is free.
    pub(crate) fn remove(&self) -> bool {
        if !is_at(&self.file, &self.path) {
            return true;
        }
        let is_removed = fault::point("journal.removing").and_then(|()| fs::remove_file(&self.path)).is_ok();
        let _ = fault::point("journal.removed");
        is_removed
    }

    /// Keeps it under another name. Says whether its place is free.
    pub(crate) fn set_aside(&self, why: Aside) -> bool {
        if !is_at(&self.file, &self.path) {
            return true;
        }
        let mut last = None;
        for name in why.names(&self.base) {
            let is_free = matches!(Identity::at(&name), Ok(None));
            last = Some(name);
            if is_free {
                break;
            }
        }
        last.is_some_and(|name| fs::rename(&self.path, name).is_ok())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child that this process is just starting still has the file open, and would seem to be a living owner.
        let _ = self.file.unlock();
    }
}

/// Why a journal is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Its answer is not for the login that is in the file now, or it is damaged: for a person to look at.
    Superseded,
    /// No token could be read from its answer. It is tried again at every start and before every refresh, since a later version
    /// may read what this one does not.
    Unread,
}

impl Aside {
    /// The names of journals that are kept aside for this reason, in the order in which they are taken.
    pub(crate) fn names(self, journal: &Path) -> impl Iterator<Item = PathBuf> {
        let suffix = match self {
            Self::Superseded => ".superseded",
            Self::Unread => ".unread",
        };
        (1..=MAX_ASIDE).map(move |number| match number {
            1 => suffixed(journal, suffix),
            _ => suffixed(journal, &format!("{suffix}-{number}")),
        })
    }
}

/// Removes what a process left that died while it made a journal. One that is being made is locked, or will not be
/// found by its maker, who then makes none.
fn clear_unnamed(path: &Path) -> io::Result<()> {
    let unnamed = suffixed(path, ".new");
    let Some(file) = open(&unnamed)? else { return Ok(()) };
    match file.try_lock() {
        Ok(()) if is_at(&file, &unnamed) => match fs::remove_file(&unnamed) {
            // Where nothing can be removed, nothing can be made either, and that is what will be reported.
            Err(error) if !admits_nothing(error.kind()) && error.kind() != io::ErrorKind::NotFound => {
                Err(error)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Opens a journal for reading and, if that is allowed, writing. `None`: there is none.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = crate::read::flags(OFlags::NONBLOCK | OFlags::NOFOLLOW);
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let opened = match options.read(true).write(true).open(path) {
        Err(error) if admits_nothing(error.kind()) => options.write(false).open(path),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
