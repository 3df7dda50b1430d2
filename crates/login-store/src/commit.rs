//! Putting an answer into the login file: step 6, for a refresh and for what a dead process left alike.

use std::io;

use crate::format::StoreFormat;
use crate::journal::{Aside, JournalProblem};
use crate::journal_record::{Image, LockMark};
use crate::keychain::KeychainProblem;
use crate::locks::mark_of;
use crate::medium::Medium;
use crate::read::ReadError;
use crate::refresh::Answered;
use crate::replace::{asks_for_in_place, replace, rewrite};
use crate::store::read_patiently;
use crate::text::LoginText;
use crate::verdict::{SetAsideReason, Unclear, Verdict, decide};
use crate::waiter::Waiter;

/// What became of an answer. The journal is gone from its place.
#[derive(Debug)]
pub enum Committed {
    /// The login file holds it, and this is all of the file.
    Written(LoginText),
    /// The login file held it already: an earlier write had succeeded.
    AlreadyWritten(LoginText),
    /// The login file is not to hold it, or no token can be read from it. The answer is kept beside the journal's place, with
    /// `.superseded` or `.unread` behind its name.
    SetAside(SetAsideReason),
}

/// The answer is not in the login file yet. It stays in the journal, and [`Answered::login`] is to be used meanwhile; the write
/// is to be tried again every 10 s.
#[derive(Debug)]
pub struct WriteOutstanding {
    /// What to try again with.
    pub answered: Answered,
    /// Why it could not be written.
    pub problem: WriteProblem,
}

/// Why an answer could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteProblem {
    /// The login file cannot be read to be changed.
    #[error("a new token is not written yet: {0}")]
    Read(ReadError),
    /// What stands in its place is no login.
    #[error("a new token is not written yet: the login file is not valid; log in again with the client")]
    NotALogin,
    /// The file system failed.
    #[error(
        "a new token is not written yet: the login file cannot be written ({0}); make room, or make it writable"
    )]
    Write(io::ErrorKind),
    /// The keychain failed.
    #[error("a new token is not written yet: {0}")]
    Keychain(KeychainProblem),
    /// A file that is to be rewritten in place is not touched before the journal has what mends it.
    #[error("a new token is not written yet: {0}")]
    Journal(JournalProblem),
    /// The journal of an answer that is not to be written stays in its place.
    #[error("the journal of an earlier refresh cannot be moved out of the way; make its directory writable")]
    InTheWay,
}

impl Answered {
    /// Writes the login file: only the members that the answer sets, and only if it still is the login that was refreshed.
    /// Waits a few seconds for the lock around the write, and goes on without.
    pub fn commit(
        mut self,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Result<Committed, Box<WriteOutstanding>> {
        match self.try_commit(format, waiter) {
            Ok(committed) => Ok(committed),
            Err(problem) => Err(Box::new(WriteOutstanding { answered: self, problem })),
        }
    }

    fn try_commit(
        &mut self,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Result<Committed, WriteProblem> {
        // A token received is never held back for a lock.
        let mut write_lock = self.holding.locks.take_further(&self.holding.write_lock, waiter).ok();
        let mark = write_lock.as_ref().and_then(mark_of);
        // Should this process die, the lock is known to be nobody's. That is not worth an image, which may be all that mends
        // a torn file: it is not written over.
        if self.image.is_none() {
            let _ = self.holding.journal.record_try(mark.as_ref(), None);
        }
        let found = read_patiently(format, waiter, || self.holding.place.medium.read());
        match decide(format, found, self.holding.sent, &self.answers, self.image.as_ref()) {
            Verdict::Write { old, new } => {
                self.login = Some(new.clone());
                if matches!(self.holding.place.medium, Medium::Keychain(_))
                    && let Some(lock) = &mut write_lock
                {
                    // Reading it took its time, and so may writing it.
                    lock.touch(waiter.now());
                }
                self.write(mark.as_ref(), &old, &new)?;
                // What remains is recognised as written, so no failure from here on matters.
                self.holding.journal.remove();
                Ok(Committed::Written(new))
            }
            Verdict::Written(text) => {
                // That it is there does not say that it is on the disk.
                let medium = &self.holding.place.medium;
                medium.sync().map_err(|error| WriteProblem::Write(error.kind()))?;
                medium.remove_leftover();
                self.holding.journal.remove();
                Ok(Committed::AlreadyWritten(text))
            }
            Verdict::SetAside(reason) => {
                self.login = None;
                self.holding.place.medium.remove_leftover();
                let why = match reason {
                    SetAsideReason::Unread(_) => Aside::Unread,
                    SetAsideReason::OtherLogin | SetAsideReason::NoLogin | SetAsideReason::Unreadable => {
                        Aside::Superseded
                    }
                };
                if self.holding.journal.set_aside(why) {
                    Ok(Committed::SetAside(reason))
                } else {
                    Err(WriteProblem::InTheWay)
                }
            }
            Verdict::Wait(Unclear::Read(error)) => Err(WriteProblem::Read(error)),
            Verdict::Wait(Unclear::NotALogin) => Err(WriteProblem::NotALogin),
        }
    }

    fn write(
        &mut self,
        mark: Option<&LockMark>,
        old: &LoginText,
        new: &LoginText,
    ) -> Result<(), WriteProblem> {
        let real = match &self.holding.place.medium {
            Medium::File(real) => real,
            // As a whole or not at all, so nothing has to be mended.
            Medium::Keychain(kept) => return kept.write(new).map_err(WriteProblem::Keychain),
        };
        if !self.holding.in_place {
            match replace(real, new.as_bytes()).map_err(|error| error.kind()) {
                Ok(()) => return Ok(()),
                // It could be replaced when the refresh began; now only the file itself may be left.
                Err(kind) if asks_for_in_place(kind) => {}
                Err(kind) => return Err(WriteProblem::Write(kind)),
            }
        }
        // One that leads to this text is in the journal already, and the file may be torn just now.
        if self.image.as_ref().is_none_or(|image| image.new.as_slice() != new.as_bytes()) {
            // Without an answer in the journal there is nothing to mend from, and the file is all that is left.
            self.holding
                .journal
                .record_try(mark, Some([old.as_bytes(), new.as_bytes()]))
                .map_err(WriteProblem::Journal)?;
            let image = Image { old: old.as_bytes().to_vec().into(), new: new.as_bytes().to_vec().into() };
            self.image = Some(image);
        }
        rewrite(real, new.as_bytes()).map_err(|error| WriteProblem::Write(error.kind()))
    }
}
