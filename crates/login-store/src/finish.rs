//! Finishing what a process that died has left: at start, and before every refresh.

use std::io;
use std::path::Path;

use trunkline_core::refresh::Unread;

use crate::commit::{Committed, WriteOutstanding};
use crate::digest::TokenHash;
use crate::directory_lock::remove_if_same;
use crate::fault;
use crate::format::{StoreFormat, Stored};
use crate::journal::{Aside, Found, Journal};
use crate::journal_record::{Contents, LockMark};
use crate::lock_note::{self, LockNote};
use crate::locks::HeldLocks;
use crate::owner_record;
use crate::place::Place;
use crate::refresh::{Answered, Holding};
use crate::store::LoginStore;
use crate::text::LoginText;
use crate::verdict::{SetAsideReason, read};
use crate::waiter::Waiter;

/// What became of a journal that was found.
#[derive(Debug)]
pub enum Finished {
    /// The process that refreshes lives. Its journal was not touched.
    OwnerLives,
    /// No answer was received. The journal is gone.
    Unanswered,
    /// The answer is now in the login file, and this is all of the file.
    Written(LoginText),
    /// The answer was in the login file. The journal is gone.
    AlreadyWritten,
    /// The journal was kept aside, with `.superseded` behind its name: to be reported.
    SetAside(SetAsideReason),
    /// No token can be read from the answer to an earlier refresh, and the login is still the one that was refreshed. It is kept,
    /// with `.unread` behind the journal's name: to be reported. Refreshes go on.
    Unread(Unread),
    /// The answer cannot be written yet: it is to be used from memory, and tried again.
    Outstanding(Box<WriteOutstanding>),
    /// The journal could not be dealt with: to be reported, and no refresh begins.
    Failed(FinishError),
}

/// Why a journal could not be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal of an earlier refresh cannot be read or removed ({0}); check its permissions and its disk"
)]
pub struct FinishError(pub io::ErrorKind);

impl LoginStore {
    /// Finishes the journals of this login, if there are any: at most one beside its file, one in the data directory, and one
    /// there of its item in the keychain. Each is written to where it came from.
    /// An answer is written under the locks of a refresh too, if they can be had: a client that is about to learn that the
    /// old token is spent would otherwise empty the file behind the write.
    pub fn finish(&self, format: &dyn StoreFormat, waiter: &dyn Waiter) -> Vec<Finished> {
        self.finish_with(false, format, waiter)
    }

    /// See [`Self::finish`]. `is_locked`: the locks are held already.
    pub(crate) fn finish_with(
        &self,
        is_locked: bool,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Vec<Finished> {
        let failed = |error: io::Error| Some(Finished::Failed(FinishError(error.kind())));
        let mut all = Vec::new();
        for (_, path, _) in self.journals() {
            LockNote::clear_dead(&lock_note::beside(&path));
        }
        for (place, path, in_place) in self.journals() {
            // The journal itself may become one of these.
            let unread: Vec<_> = Aside::Unread.names(&path).filter(|name| name.exists()).collect();
            let how = [in_place, is_locked];
            all.extend(self.finish_one(&place, &path, how, format, waiter).unwrap_or_else(failed));
            for name in unread {
                all.extend(self.read_again(&place, &path, &name, how, format, waiter));
            }
        }
        all
    }

    /// Looks whether an answer that could not be read can be read now. What stands in the way of that stands in nobody else's.
    fn read_again(
        &self,
        place: &Place,
        base: &Path,
        name: &Path,
        [in_place, is_locked]: [bool; 2],
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Option<Finished> {
        let Ok(Found::Dead(dead)) = Journal::find_aside(base, name) else { return None };
        let (journal, contents) = *dead;
        let contents = contents.ok()?;
        let Err(why) = read(format, &contents.answers) else {
            return Some(self.commit_left(place, journal, contents, [in_place, is_locked], format, waiter));
        };
        let stored = place.medium.read().ok().and_then(|text| format.stored(text.as_bytes()).ok());
        let is_over = match stored {
            Some(Stored::RefreshToken(token)) => TokenHash::of(&token) != contents.request.sent,
            Some(Stored::OtherKind) => true,
            Some(Stored::LoggedOut) | None => false,
        };
        if is_over {
            // Somebody logged in, or the same token was good for another answer.
            journal.set_aside(Aside::Superseded);
            return None;
        }
        // A refresh comes by here twice.
        (!is_locked).then_some(Finished::Unread(why))
    }

    fn finish_one(
        &self,
        place: &Place,
        path: &Path,
        [in_place, is_locked]: [bool; 2],
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> io::Result<Option<Finished>> {
        let (journal, contents) = match Journal::find(path)? {
            Found::Nothing => return Ok(None),
            Found::OwnerLives => return Ok(Some(Finished::OwnerLives)),
            Found::Dead(dead) => *dead,
        };
        let contents = match contents {
            Ok(contents) => contents,
            Err(damaged) => {
                release(damaged.locks.iter());
                return if journal.set_aside(Aside::Superseded) {
                    Ok(Some(Finished::SetAside(SetAsideReason::Unreadable)))
                } else {
                    Err(io::ErrorKind::PermissionDenied.into())
                };
            }
        };
        release(contents.request.locks.iter().chain(&contents.write_lock));
        fault::point("finish.unlocked")?;
        if contents.answers.is_empty() {
            return if journal.remove() {
                Ok(Some(Finished::Unanswered))
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            };
        }
        Ok(Some(self.commit_left(place, journal, contents, [in_place, is_locked], format, waiter)))
    }

    /// Puts the answer of a dead owner into the login file.
    fn commit_left(
        &self,
        place: &Place,
        journal: Journal,
        contents: Contents,
        [in_place, is_locked]: [bool; 2],
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Finished {
        let Contents { request, answers, image, .. } = contents;
        let plan = self.protocol().plan(place);
        let locks =
            if is_locked { None } else { HeldLocks::take(&plan.refresh, self.note(place), waiter).ok() };
        let answered = Answered {
            holding: Holding {
                write_lock: plan.write,
                place: place.clone(),
                in_place,
                sent: request.sent,
                keep_journal: true,
                journal,
                locks: locks.unwrap_or_else(|| HeldLocks::none(self.note(place))),
            },
            answers,
            login: None,
            image,
            journalled: Ok(()),
        };
        match answered.commit(format, waiter) {
            Ok(Committed::Written(text)) => Finished::Written(text),
            Ok(Committed::AlreadyWritten(_)) => Finished::AlreadyWritten,
            Ok(Committed::SetAside(SetAsideReason::Unread(why))) => Finished::Unread(why),
            Ok(Committed::SetAside(reason)) => Finished::SetAside(reason),
            Err(outstanding) => Finished::Outstanding(outstanding),
        }
    }
}

/// Removes the locks of a dead process, as far as they are still its own.
fn release<'a>(locks: impl Iterator<Item = &'a LockMark>) {
    for lock in locks {
        owner_record::remove(&lock.path, &lock.identity);
        remove_if_same(&lock.path, &lock.identity);
    }
}
