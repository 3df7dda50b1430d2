//! The login store: everything that refreshing a token does to the disk.
//!
//! A refresh token is good once. The provider forgets it when it hands out the next one, so a next one that is lost
//! logs the owner out everywhere. This crate sees to it that it is not lost, whatever ends the process and when, and
//! that no other program that shares the login is raced. It speaks no HTTP and starts no thread; it blocks on the file
//! system, and waits only through the caller's [`Waiter`], except for a keychain, which may take seconds to answer.
//!
//! The phases of a refresh are types, so that none can be left out:
//!
//! ```text
//! LoginStore::begin ─► Pending ─ sending() ─► Sent ─ answered() ─► Answered ─ commit() ─► Committed
//!      │                  └─ abandon()         └─ give_up()            └─ WriteOutstanding ─ commit() again
//!      ├─► Fresh: another has refreshed it
//!      └─► Outstanding: an Answered that a process left which died
//! ```
//!
//! - [`Pending`]: the locks are held and the journal is on the disk, so the answer can be kept. Nothing is sent.
//! - [`Sent`]: a byte may have gone out. [`Heartbeat::touch`] keeps the locks, from a timer of the caller's.
//!   [`Sent::keep`] puts what the provider answers with success into the journal, before anybody knows whether it can be read;
//!   [`Sent::give_up`] keeps what cannot be read aside.
//! - [`Answered`]: the raw answer is in the journal. Its [`Answered::login`] is what to use, written or not.
//!
//! Each may be dropped at any time: what is on the disk then is what [`LoginStore::finish`] deals with.
//!
//! What is out of order does not compile, such as taking an answer before saying that something is sent:
//!
//! ```compile_fail
//! # use trunkline_login_store::{Answered, StoreFormat, Pending};
//! fn hasty(pending: Pending, format: &dyn StoreFormat) -> Answered {
//!     pending.answered(format)
//! }
//! ```
//!
//! ```
//! # use trunkline_login_store::{Answered, LocksLost, StoreFormat, Pending, journal_record::Answer};
//! fn in_order(pending: Pending, answer: Answer, format: &dyn StoreFormat) -> Result<Answered, LocksLost> {
//!     let mut sent = pending.sending()?;
//!     let _kept = sent.keep(answer);
//!     Ok(sent.answered(format))
//! }
//! ```
//!
//! Specification: credentials.md, *Locks*, *Refreshing, step by step* and *Finishing a journal*.

mod begin;
mod commit;
mod digest;
mod directory_lock;
pub mod fault;
mod file_lock;
mod finish;
mod format;
mod identity;
mod inspect;
mod journal;
pub mod journal_record;
mod keychain;
mod lock_note;
mod locks;
mod medium;
mod owner_record;
mod place;
mod poll;
mod proof;
mod protocol;
mod read;
mod refresh;
mod replace;
mod store;
mod text;
mod verdict;
mod waiter;

pub use begin::{BeginError, Begun};
pub use commit::{Committed, WriteOutstanding, WriteProblem};
pub use finish::{FinishError, Finished};
pub use format::{AnswerEdits, NotALogin, ProviderFormat, Reason, StoreFormat, Stored, no_login};
pub use inspect::{
    FoundJournal, FoundLock, Inspection, JournalState, LockState, UnreadJournal, WhyInPlace, Writing,
};
pub use journal::JournalProblem;
pub use journal_record::{Answer, AnswerEnd};
#[cfg(unix)]
pub use keychain::SecurityTool;
pub use keychain::{BadItem, Keychain, KeychainItem, KeychainProblem, MAX_ITEM_NAME};
pub use locks::{HEARTBEAT, Heartbeat, LockProblem, LocksLost};
pub use poll::{KEYCHAIN_POLL, KEYCHAIN_RETRY, KEYCHAIN_UNAVAILABLE_POLL, UNAVAILABLE_POLL};
pub use proof::NoProof;
pub use protocol::LockProtocol;
pub use read::{MAX_LOGIN_FILE, ReadError};
pub use refresh::{Answered, Pending, Sent};
pub use store::LoginStore;
pub use text::LoginText;
pub use verdict::SetAsideReason;
pub use waiter::{Cancelled, Waiter};
