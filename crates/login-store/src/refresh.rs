//! The phases of a refresh. Each takes what the one before made, so none can be left out.

use std::fmt;

use trunkline_core::refresh::Unread;

use crate::digest::TokenHash;
use crate::format::{StoreFormat, Stored};
use crate::journal::{Aside, Journal, JournalProblem};
use crate::journal_record::{Answer, Image};
use crate::locks::{Heartbeat, HeldLocks, LocksLost};
use crate::place::Place;
use crate::protocol::LockSpec;
use crate::text::LoginText;
use crate::verdict::{Verdict, decide, read};

/// What a refresh holds. Dropped, it removes a journal without an answer, leaves one with an answer where it is, and then lets
/// the locks go.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) place: Place,
    pub(crate) write_lock: LockSpec,
    pub(crate) in_place: bool,
    pub(crate) sent: TokenHash,
    pub(crate) keep_journal: bool,
    pub(crate) journal: Journal,
    /// Last, so that they go last.
    pub(crate) locks: HeldLocks,
}

impl Drop for Holding {
    fn drop(&mut self) {
        if !self.keep_journal {
            self.journal.remove();
        }
    }
}

/// Everything is ready, and nothing has been sent.
#[derive(Debug)]
pub struct Pending {
    pub(crate) holding: Holding,
    pub(crate) text: LoginText,
}

impl Pending {
    /// The login file under the locks: the token to send is in it.
    pub fn text(&self) -> &LoginText {
        &self.text
    }

    /// Keeps the locks while the request is prepared and made.
    pub fn heartbeat(&self) -> Heartbeat {
        self.holding.locks.heartbeat()
    }

    /// To be called before the first byte of the token request goes out. If another program took a lock over, there is
    /// no sending: the journal is removed, and so are the locks that are still ours.
    pub fn sending(self) -> Result<Sent, LocksLost> {
        let sent = Sent { holding: self.holding, text: self.text, answers: Vec::new(), journalled: Ok(()) };
        sent.again()?;
        Ok(sent)
    }

    /// Nothing is sent. The same as dropping it.
    pub fn abandon(self) {
        drop(self.holding);
    }
}

/// The token may have been sent.
#[derive(Debug)]
pub struct Sent {
    holding: Holding,
    text: LoginText,
    answers: Vec<Answer>,
    journalled: Result<(), JournalProblem>,
}

impl Sent {
    /// The login file under the locks.
    pub fn text(&self) -> &LoginText {
        &self.text
    }

    /// Keeps the locks while the answer is awaited.
    pub fn heartbeat(&self) -> Heartbeat {
        self.holding.locks.heartbeat()
    }

    /// To be called before the request is made once more. An error means that it must not be.
    pub fn again(&self) -> Result<(), LocksLost> {
        if self.holding.locks.are_ours() { Ok(()) } else { Err(LocksLost) }
    }

    /// The provider has answered with success, so that the token that was sent may be spent: what came is in the journal and on
    /// the disk when this returns, whether it can be read or not. That this fails is no reason to lose the answer.
    pub fn keep(&mut self, answer: Answer) -> Result<(), JournalProblem> {
        self.holding.keep_journal = true;
        let recorded = self.holding.journal.record_answer(&answer);
        self.journalled = self.journalled.and(recorded);
        self.answers.push(answer);
        recorded
    }

    /// The call has failed. Without an answer that was kept, this is the same as dropping it. Otherwise no token could be read
    /// from any: the journal is kept aside, with `.unread` behind its name, and read again at every start and before every
    /// refresh. Says why it could not be read.
    pub fn give_up(self, format: &dyn StoreFormat) -> Option<Unread> {
        if self.answers.is_empty() {
            return None;
        }
        // Should it have to stay where it is, the next one who comes sets it aside.
        self.holding.journal.set_aside(Aside::Unread);
        Some(read(format, &self.answers).err().unwrap_or(Unread::NoToken))
    }

    /// A token can be read from what was kept.
    pub fn answered(self, format: &dyn StoreFormat) -> Answered {
        let login = match decide(format, Ok(self.text), self.holding.sent, &self.answers, None) {
            Verdict::Write { new, .. } | Verdict::Written(new) => Some(new),
            Verdict::SetAside(_) | Verdict::Wait(_) => None,
        };
        let journalled = self.journalled;
        Answered { holding: self.holding, answers: self.answers, login, image: None, journalled }
    }
}

/// The provider's answer is here and, as a rule, in the journal. Until it is in the login file, no further refresh begins.
pub struct Answered {
    pub(crate) holding: Holding,
    pub(crate) answers: Vec<Answer>,
    pub(crate) login: Option<LoginText>,
    pub(crate) image: Option<Image>,
    pub(crate) journalled: Result<(), JournalProblem>,
}

impl Answered {
    /// The login file as it will be: what is to be used from now on, whether it can be written or not. `None`: the answer holds
    /// no usable token, or, after a crash, the login file does not tell.
    pub fn login(&self) -> Option<&LoginText> {
        self.login.as_ref()
    }

    /// Whether the answer is in the journal. If not, it is in memory alone until it is written.
    pub fn journalled(&self) -> Result<(), JournalProblem> {
        self.journalled
    }

    /// Keeps the locks while the write is outstanding: without them the client would send the token that is spent.
    pub fn heartbeat(&self) -> Heartbeat {
        self.holding.locks.heartbeat()
    }

    /// Whether a text still holds the refresh token that was sent, or none, or is no login: such a file must not be loaded over
    /// the login in memory.
    pub fn is_newer_than(&self, text: &LoginText, format: &dyn StoreFormat) -> bool {
        match format.stored(text.as_bytes()) {
            Ok(Stored::RefreshToken(token)) => TokenHash::of(&token) == self.holding.sent,
            Ok(Stored::OtherKind) => false,
            Ok(Stored::LoggedOut) | Err(_) => true,
        }
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("answers", &self.answers)
            .field("login", &self.login)
            .field("journalled", &self.journalled)
            .finish_non_exhaustive()
    }
}
