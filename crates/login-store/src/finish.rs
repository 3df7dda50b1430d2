//! Finishing what a process that died has left: at start, and before every refresh.

use std::io;
use std::path::Path;

use crate::commit::{Committed, WriteOutstanding};
use crate::directory_lock::remove_if_same;
use crate::fault;
use crate::format::StoreFormat;
use crate::journal::{Found, Journal};
use crate::journal_record::{Contents, LockMark};
use crate::locks::HeldLocks;
use crate::place::Place;
use crate::refresh::{Answered, Holding};
use crate::store::LoginStore;
use crate::text::LoginText;
use crate::verdict::SetAsideReason;
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
        self.journals()
            .into_iter()
            .filter_map(|(place, path, in_place)| {
                self.finish_one(&place, &path, [in_place, is_locked], format, waiter)
                    .unwrap_or_else(|error| Some(Finished::Failed(FinishError(error.kind()))))
            })
            .collect()
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
                return if journal.set_aside() {
                    Ok(Some(Finished::SetAside(SetAsideReason::Unreadable)))
                } else {
                    Err(io::ErrorKind::PermissionDenied.into())
                };
            }
        };
        release(contents.request.locks.iter().chain(&contents.write_lock));
        fault::point("finish.unlocked")?;
        let Contents { request, answer, image, .. } = contents;
        let Some(answer) = answer else {
            return if journal.remove() {
                Ok(Some(Finished::Unanswered))
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            };
        };
        let plan = self.protocol().plan(place);
        let locks = if is_locked { None } else { HeldLocks::take(&plan.refresh, waiter).ok() };
        let answered = Answered {
            holding: Holding {
                write_lock: plan.write,
                place: place.clone(),
                in_place,
                sent: request.sent,
                keep_journal: true,
                journal,
                locks: locks.unwrap_or_else(HeldLocks::none),
            },
            answer,
            login: None,
            image,
            journalled: Ok(()),
        };
        Ok(Some(match answered.commit(format, waiter) {
            Ok(Committed::Written(text)) => Finished::Written(text),
            Ok(Committed::AlreadyWritten(_)) => Finished::AlreadyWritten,
            Ok(Committed::SetAside(reason)) => Finished::SetAside(reason),
            Err(outstanding) => Finished::Outstanding(outstanding),
        }))
    }
}

/// Removes the locks of a dead process, as far as they are still its own.
fn release<'a>(locks: impl Iterator<Item = &'a LockMark>) {
    for lock in locks {
        remove_if_same(&lock.path, &lock.identity);
    }
}
