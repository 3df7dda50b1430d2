//! The call of the token endpoint: when it is tried again (credentials.md, *Refreshing*, step 5).

use std::time::Duration;

/// Tries of a call of which no byte could be sent.
const UNSENT_TRIES: u8 = 3;

/// The wait before the second of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The wait before a call is repeated that was sent and not answered. The same token is sent: if the first call had been
/// carried out, some servers answer a repetition within a moment with the same result, and those that do not have
/// spent the token either way.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// How long a call that was sent is waited for at the least. It is abandoned no earlier, since the server may have spent
/// the refresh token already.
pub const CALL_LASTS: Duration = Duration::from_secs(60);

/// What to do after a try without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTry {
    /// Wait, then send the same request again.
    After(Duration),
    /// Give up: the refresh has failed for want of an answer.
    GiveUp,
}

/// One call with its tries.
#[derive(Debug, Clone, Default)]
pub struct TokenCall {
    unsent: u8,
    is_repeated: bool,
}

impl TokenCall {
    /// A call of which nothing was tried yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A try failed before a byte of the request was sent.
    pub fn on_not_sent(&mut self) -> NextTry {
        self.unsent = self.unsent.saturating_add(1);
        if self.unsent >= UNSENT_TRIES {
            return NextTry::GiveUp;
        }
        NextTry::After(FIRST_WAIT * 2_u32.pow(u32::from(self.unsent) - 1))
    }

    /// A try ended without an answer after something was sent, or nothing came for [`CALL_LASTS`].
    pub fn on_no_answer(&mut self) -> NextTry {
        if self.is_repeated {
            return NextTry::GiveUp;
        }
        *self = Self { unsent: 0, is_repeated: true };
        NextTry::After(REPEAT_AFTER)
    }
}
