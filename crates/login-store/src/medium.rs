//! What a login is kept in: a file, or an item of a keychain. All that a refresh does differently between the two is here, in
//! [`crate::proof`], and in how [`crate::commit`] writes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::fault;
use crate::keychain::{Keychain, KeychainItem, KeychainProblem};
use crate::read::{self, MAX_LOGIN_FILE, ReadError};
use crate::replace::{remove_leftover, sync};
use crate::text::LoginText;

/// Where a login's text is.
#[derive(Debug, Clone)]
pub(crate) enum Medium {
    /// A file, by its real path.
    File(PathBuf),
    Keychain(InKeychain),
}

/// An item of a keychain.
#[derive(Debug, Clone)]
pub(crate) struct InKeychain {
    pub(crate) keychain: Arc<dyn Keychain>,
    pub(crate) item: KeychainItem,
}

impl Medium {
    /// Reads the login once.
    pub(crate) fn read(&self) -> Result<LoginText, ReadError> {
        match self {
            Self::File(real) => read::read(real),
            Self::Keychain(kept) => kept.read()?.ok_or(ReadError::Missing),
        }
    }

    /// Whether both are one place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Keychain(one), Self::Keychain(other)) => one.item == other.item,
            _ => false,
        }
    }

    /// Makes sure that what was read is there to stay. A keychain has no more to offer than having been read.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(real) => sync(real),
            Self::Keychain(_) => Ok(()),
        }
    }

    /// Removes what a process left that died while it wrote.
    pub(crate) fn remove_leftover(&self) {
        match self {
            Self::File(real) => remove_leftover(real),
            Self::Keychain(_) => {}
        }
    }
}

impl InKeychain {
    /// The item's text, checked like a file's; `None`: there is no such item.
    pub(crate) fn read(&self) -> Result<Option<LoginText>, ReadError> {
        let Some(text) = self.keychain.read(&self.item)? else { return Ok(None) };
        let bytes = text.as_bytes();
        if bytes.len() as u64 > MAX_LOGIN_FILE {
            return Err(ReadError::TooLarge);
        }
        if bytes.is_empty() {
            return Err(ReadError::Empty);
        }
        std::str::from_utf8(bytes).map_err(|_| ReadError::NotText)?;
        Ok(Some(text))
    }

    /// Whether there is such an item, whatever is in it: the client looks no further then.
    pub(crate) fn exists(&self) -> Result<bool, ReadError> {
        Ok(self.keychain.read(&self.item)?.is_some())
    }

    /// Writes the item, and reads it again: only what comes back was written.
    pub(crate) fn write(&self, text: &LoginText) -> Result<(), KeychainProblem> {
        if !self.keychain.has_room(&self.item, text, 0) {
            return Err(KeychainProblem::NoRoom);
        }
        fault_point("keychain.writing")?;
        self.keychain.write(&self.item, text)?;
        fault_point("keychain.written")?;
        match self.keychain.read(&self.item)? {
            Some(found) if found == *text => fault_point("keychain.read_back"),
            _ => Err(KeychainProblem::NotKept),
        }
    }
}

fn fault_point(name: &'static str) -> Result<(), KeychainProblem> {
    fault::point(name).map_err(|error| KeychainProblem::Unreachable(error.kind()))
}
