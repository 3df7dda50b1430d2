//! The phases of a refresh. Each takes what the one before made, so none can be left out.

use std::fmt;
use std::time::SystemTime;

use crate::digest::TokenHash;
use crate::format::{StoreFormat, Stored};
use crate::journal::{Journal, JournalProblem};
use crate::journal_record::{Answer, Image};
use crate::locks::{Heartbeat, HeldLocks, LocksLost};
use crate::place::Place;
use crate::protocol::LockSpec;
use crate::text::LoginText;
use crate::verdict::{Verdict, decide};

/// What a refresh holds. Dropped, it removes a journal without an answer, and then lets the locks go.
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
        let sent = Sent { holding: self.holding, text: self.text };
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

    /// There is no answer, or one that is an error: nothing has to be kept. The same as dropping it.
    pub fn abandon(self) {
        drop(self.holding);
    }

    /// The provider has answered with what may be a token. `raw` is in the journal and on the disk before anything else is
    /// done. That this fails is no reason to lose the answer, so it is told by [`Answered::journalled`].
    pub fn answered(mut self, raw: &[u8], received: SystemTime, format: &dyn StoreFormat) -> Answered {
        self.holding.keep_journal = true;
        let journalled = self.holding.journal.record_answer(received, raw);
        let answer = Answer { received, raw: raw.to_vec().into() };
        let login = match decide(format, Ok(self.text), self.holding.sent, &answer, None) {
            Verdict::Write { new, .. } | Verdict::Written(new) => Some(new),
            Verdict::SetAside(_) | Verdict::Wait(_) => None,
        };
        Answered { holding: self.holding, answer, login, image: None, journalled }
    }
}

/// The provider's answer is here and, as a rule, in the journal. Until it is in the login file, no further refresh begins.
pub struct Answered {
    pub(crate) holding: Holding,
    pub(crate) answer: Answer,
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
            .field("answer", &self.answer)
            .field("login", &self.login)
            .field("journalled", &self.journalled)
            .finish_non_exhaustive()
    }
}
