//! Beginning a refresh: steps 1 to 4, which end before anything is sent.

use crate::commit::WriteOutstanding;
use crate::digest::TokenHash;
use crate::fault;
use crate::finish::{FinishError, Finished};
use crate::format::{NotALogin, Reason, StoreFormat, Stored};
use crate::journal_record::Request;
use crate::locks::{HeldLocks, LockProblem, mark_of};
use crate::medium::Medium;
use crate::proof::{NoProof, prove};
use crate::read::ReadError;
use crate::refresh::{Holding, Pending};
use crate::store::{LoginStore, read_patiently};
use crate::text::LoginText;
use crate::waiter::Waiter;

/// How a refresh begins.
#[derive(Debug)]
pub enum Begun {
    /// The login file holds a good token: another process, or the client, was there first.
    Fresh(LoginText),
    /// There is nothing to refresh with.
    NoRefreshToken(LoginText),
    /// The token may be sent.
    Pending(Box<Pending>),
    /// A process that died left an answer that cannot be written yet. It is to be used from memory; no refresh begins.
    Outstanding(Box<WriteOutstanding>),
}

/// Why a refresh does not begin. Nothing was sent, and nothing is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The login file cannot be read, after a second look.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It holds no login, after a second look.
    #[error(transparent)]
    NotALogin(#[from] NotALogin),
    /// A lock was not to be had: try again in 10 s.
    #[error(transparent)]
    Lock(#[from] LockProblem),
    /// A new token could not be kept.
    #[error(transparent)]
    NoProof(#[from] NoProof),
    /// A journal that cannot be dealt with is in the way.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// Another process refreshes this login: try again in 10 s.
    #[error("another process refreshes this login; it is tried again")]
    OwnerLives,
    /// The login file, which is a link, came to mean another file meanwhile, or the login moved into the keychain or out of it:
    /// try again.
    #[error("the login was switched to another place; it is tried again")]
    Moved,
}

impl LoginStore {
    /// Finds out whether a refresh is needed, finishes what a dead process left, takes the locks and makes the journal.
    /// Blocks for up to about ten seconds for each lock. `report` is told what became of journals that were found.
    pub fn begin(
        &self,
        format: &dyn StoreFormat,
        reason: &Reason,
        waiter: &dyn Waiter,
        report: &mut dyn FnMut(&Finished),
    ) -> Result<Begun, BeginError> {
        let place = self.place(waiter)?;
        let is_fresh = |text: &LoginText| format.is_fresh(text.as_bytes(), reason, waiter.now());
        let read = || read_patiently(format, waiter, || place.medium.read());
        if let Ok(text) = read()
            && is_fresh(&text)
        {
            return Ok(Begun::Fresh(text));
        }
        let found = match self.finish_all(false, format, waiter, report)? {
            Found::Outstanding(outstanding) => return Ok(Begun::Outstanding(outstanding)),
            found => found,
        };
        if matches!(found, Found::Finished)
            && let Ok(text) = read()
            && is_fresh(&text)
        {
            return Ok(Begun::Fresh(text));
        }
        // A login that cannot be refreshed is not worth keeping a client waiting.
        let text = read()?;
        if !matches!(format.stored(text.as_bytes())?, Stored::RefreshToken(_)) {
            return Ok(Begun::NoRefreshToken(text));
        }
        let plan = self.protocol().plan(&place);
        let locks = HeldLocks::take(&plan.refresh, self.note(&place), waiter)?;
        fault_point("begin.locked")?;
        if !self.place(waiter)?.medium.is(&place.medium) {
            return Err(BeginError::Moved);
        }
        match self.finish_all(true, format, waiter, report)? {
            Found::Outstanding(mut outstanding) => {
                outstanding.answered.holding.locks = locks;
                return Ok(Begun::Outstanding(outstanding));
            }
            // Where there are no locks, as for a file that is mounted alone, the journal is the lock.
            Found::OwnerLives => return Err(BeginError::OwnerLives),
            Found::Nothing | Found::Finished => {}
        }
        let mut proof_lock = match place.medium {
            Medium::File(_) => None,
            // The proof writes what is read here, so both are done under the lock around a write.
            Medium::Keychain(_) => match locks.skipped {
                Some(problem) => return Err(problem.into()),
                None => Some(locks.take_further(&plan.write, waiter)?),
            },
        };
        let text = read()?;
        if is_fresh(&text) {
            return Ok(Begun::Fresh(text));
        }
        let Stored::RefreshToken(token) = format.stored(text.as_bytes())? else {
            return Ok(Begun::NoRefreshToken(text));
        };
        let sent = TokenHash::of(&token);
        locks.heartbeat().touch(waiter.now());
        if let Some(lock) = &mut proof_lock
            && !lock.touch(waiter.now())
        {
            return Err(LockProblem::Busy { lock: plan.write.name }.into());
        }
        let mut marks = locks.marks();
        marks.extend(proof_lock.as_ref().and_then(mark_of));
        let request = Request { at: waiter.now(), sent, locks: marks };
        let (journal, in_place) = prove(&place, self.data_directory(), &request, &text)?;
        if proof_lock.is_some() {
            // A keychain takes its time.
            locks.heartbeat().touch(waiter.now());
        }
        drop(proof_lock);
        let skipped = locks.skipped;
        let holding =
            Holding { place, write_lock: plan.write, in_place, sent, keep_journal: false, journal, locks };
        match skipped {
            // Whoever can write the directory can be expected to lock it.
            Some(problem) if !in_place => Err(problem.into()),
            _ => Ok(Begun::Pending(Box::new(Pending { holding, text }))),
        }
    }

    fn finish_all(
        &self,
        is_locked: bool,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
        report: &mut dyn FnMut(&Finished),
    ) -> Result<Found, BeginError> {
        let mut found = Found::Nothing;
        for finished in self.finish_with(is_locked, format, waiter) {
            report(&finished);
            match finished {
                Finished::Outstanding(outstanding) => return Ok(Found::Outstanding(outstanding)),
                Finished::Failed(error) => return Err(error.into()),
                Finished::OwnerLives => found = Found::OwnerLives,
                _ if matches!(found, Found::Nothing) => found = Found::Finished,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// What journals were found, in the order of what matters more.
enum Found {
    Nothing,
    Finished,
    OwnerLives,
    Outstanding(Box<WriteOutstanding>),
}

fn fault_point(name: &'static str) -> Result<(), BeginError> {
    fault::point(name).map_err(|error| FinishError(error.kind()).into())
}
