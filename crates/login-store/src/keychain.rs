//! The keychain as a place for a login: what the store needs of one.
//!
//! On macOS the Claude client keeps its login in a generic password of the keychain: the same JSON as in the file, under a
//! service and an account (credentials.md, *Login file: Claude*; fact sheet, section 3; the service's name is
//! [`trunkline_core::provider::claude::keychain_service`], the account the user's name).

#[cfg(unix)]
mod security;

use std::fmt;
use std::io;

use crate::text::LoginText;

#[cfg(unix)]
pub use self::security::SecurityTool;

/// Longest name of a service or an account, in bytes.
pub const MAX_ITEM_NAME: usize = 255;

/// Where in a keychain a login is. Both names are no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeychainItem {
    service: String,
    account: String,
}

/// A name that no keychain item has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} of a keychain item must have 1 to 255 bytes and no control characters; name the login file instead"
)]
pub struct BadItem {
    /// Which of the two.
    pub what: &'static str,
}

impl KeychainItem {
    /// The item of this service and account. Both go into a command line, so they are short and have no control characters.
    pub fn new(service: impl Into<String>, account: impl Into<String>) -> Result<Self, BadItem> {
        let check = |what, name: String| {
            let is_name = (1..=MAX_ITEM_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
            if is_name { Ok(name) } else { Err(BadItem { what }) }
        };
        Ok(Self { service: check("service", service.into())?, account: check("account", account.into())? })
    }

    /// The service: which program's it is.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The account: whose it is.
    pub fn account(&self) -> &str {
        &self.account
    }
}

/// Why a keychain did not do what it was asked for. Tells nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeychainProblem {
    /// It is locked, and nobody can be asked to unlock it here.
    #[error(
        "the keychain is locked; run \"security unlock-keychain\", or name the login file in the configuration"
    )]
    Locked,
    /// The user, or the item's list of programs, refused.
    #[error(
        "access to the login in the keychain was refused; allow it in the dialogue, or name the login file in the configuration"
    )]
    Denied,
    /// It did not answer in time, as when a dialogue waits for somebody.
    #[error(
        "the keychain did not answer in time; see whether a dialogue asks for its password, and answer that"
    )]
    TimedOut,
    /// What is in it is too large to be a login.
    #[error("the login in the keychain is larger than 1 MiB, so it is none; log in with the client")]
    TooLarge,
    /// A text is too long to be handed over without showing it to other programs.
    #[error(
        "the login in the keychain is too long to be written safely, so it is not refreshed; the client can, or take the entries of other services out of it"
    )]
    NoRoom,
    /// What was written is not what is there.
    #[error(
        "the keychain holds something else than what was just written; see which other program writes it"
    )]
    NotKept,
    /// The program that speaks to the keychain could not be run.
    #[error("the keychain cannot be reached ({0}); name the login file in the configuration")]
    Unreachable(io::ErrorKind),
    /// Anything else: the exit status of `security`, which is the low byte of an `OSStatus`.
    #[error("the keychain failed (security exited with {0}); see \"security error\", or name the login file")]
    Failed(i32),
}

/// A keychain. Its calls block, for a bounded time: ten seconds or so, if a dialogue waits for somebody.
pub trait Keychain: fmt::Debug + Send + Sync {
    /// The data of an item; `None`: there is no such item, for certain. At most [`MAX_LOGIN_FILE`](crate::MAX_LOGIN_FILE)
    /// bytes of it are taken in.
    fn read(&self, item: &KeychainItem) -> Result<Option<LoginText>, KeychainProblem>;

    /// Replaces the data of an item that is there, as a whole or not at all. An error does not say which.
    fn write(&self, item: &KeychainItem, text: &LoginText) -> Result<(), KeychainProblem>;

    /// Whether a text like this one, but up to `spare` bytes longer, could be written.
    fn has_room(&self, item: &KeychainItem, text: &LoginText, spare: usize) -> bool;
}
