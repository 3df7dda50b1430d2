//! A login by its place and the rules of the clients that share it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::format::StoreFormat;
use crate::keychain::{Keychain, KeychainItem};
use crate::lock_note::{self, LockNote};
use crate::medium::{InKeychain, Medium};
use crate::place::{Place, journal_beside};
use crate::protocol::LockProtocol;
use crate::read::{self, ReadError};
use crate::text::LoginText;
use crate::waiter::Waiter;

/// A file that is gone or torn is looked at again after this: other programs replace it, or write over it, without a lock.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// A login file, or an item of a keychain, with all that belongs to it on the disk. Cheap to clone; nothing is held between
/// calls.
#[derive(Debug, Clone)]
pub struct LoginStore(Arc<Configured>);

#[derive(Debug)]
struct Configured {
    path: PathBuf,
    protocol: LockProtocol,
    data_directory: Option<PathBuf>,
    /// Looked at before the file.
    keychain: Option<InKeychain>,
}

impl LoginStore {
    /// The login at `path`. `data_directory`: where the journal goes if the login's own directory admits no new files; without
    /// one, such a login is not refreshed.
    pub fn new(path: PathBuf, protocol: LockProtocol, data_directory: Option<PathBuf>) -> Self {
        Self(Arc::new(Configured { path, protocol, data_directory, keychain: None }))
    }

    /// The login in `keychain`, or, if there is no such item, at `path`: as the Claude client looks for it on macOS. If both are
    /// there, the item is the login, whatever it holds. A keychain that is locked or refuses is an error and does not lead to the
    /// file: what lies there may be an older login, whose refresh token is spent. The locks are those of the configuration
    /// directory, or that of `path`. `data_directory`: where the journal of an item goes; without one, it is not refreshed.
    pub fn with_keychain(
        keychain: Arc<dyn Keychain>,
        item: KeychainItem,
        path: PathBuf,
        protocol: LockProtocol,
        data_directory: Option<PathBuf>,
    ) -> Self {
        let keychain = Some(InKeychain { keychain, item });
        Self(Arc::new(Configured { path, protocol, data_directory, keychain }))
    }

    /// Reads the login once.
    pub fn read(&self) -> Result<LoginText, ReadError> {
        if let Some(kept) = &self.0.keychain
            && let Some(text) = kept.read()?
        {
            return Ok(text);
        }
        read::read(&self.0.path)
    }

    /// Reads the login, and once more after 200 ms if it is gone, cannot be read, or is no login. A keychain that fails is not
    /// asked twice.
    pub fn read_patiently(
        &self,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Result<LoginText, ReadError> {
        read_patiently(format, waiter, || self.read())
    }

    pub(crate) fn protocol(&self) -> &LockProtocol {
        &self.0.protocol
    }

    pub(crate) fn data_directory(&self) -> Option<&Path> {
        self.0.data_directory.as_deref()
    }

    pub(crate) fn keychain(&self) -> Option<&InKeychain> {
        self.0.keychain.as_ref()
    }

    /// The place of the login file, whether or not the login is there.
    pub(crate) fn file(&self) -> Place {
        Place::find(&self.0.path)
    }

    /// Where the login is now. An item that is not there is looked for once more: behind it there may be an old file.
    pub(crate) fn place(&self, waiter: &dyn Waiter) -> Result<Place, ReadError> {
        if let Some(kept) = &self.0.keychain {
            let is_there = kept.exists()? || {
                let _ = waiter.wait(SECOND_LOOK);
                kept.exists()?
            };
            if is_there {
                return Ok(Place::in_keychain(kept, &self.0.path));
            }
        }
        Ok(Place::find(&self.0.path))
    }

    /// The note of the locks that are taken for a login at this place.
    pub(crate) fn note(&self, place: &Place) -> LockNote {
        let beside = match &place.medium {
            Medium::File(real) => Some(journal_beside(real)),
            Medium::Keychain(_) => None,
        };
        let in_data = self.data_directory().map(|directory| place.journal_in(directory));
        LockNote::at(beside.into_iter().chain(in_data).map(|journal| lock_note::beside(&journal)).collect())
    }

    /// The places where a journal of this login may lie, each with where its answer belongs and whether that is a file to be
    /// rewritten in place.
    pub(crate) fn journals(&self) -> Vec<(Place, PathBuf, bool)> {
        let mut journals = Vec::new();
        let file = Place::find(&self.0.path);
        if let Medium::File(real) = &file.medium {
            journals.push((file.clone(), journal_beside(real), false));
        }
        if let Some(directory) = self.data_directory() {
            let in_data = file.journal_in(directory);
            journals.push((file, in_data, true));
            if let Some(kept) = &self.0.keychain {
                let place = Place::in_keychain(kept, &self.0.path);
                let in_data = place.journal_in(directory);
                journals.push((place, in_data, false));
            }
        }
        journals
    }
}

/// See [`LoginStore::read_patiently`]. A wait that is ended counts as over.
pub(crate) fn read_patiently(
    format: &dyn StoreFormat,
    waiter: &dyn Waiter,
    read: impl Fn() -> Result<LoginText, ReadError>,
) -> Result<LoginText, ReadError> {
    match read() {
        Ok(text) if format.stored(text.as_bytes()).is_ok() => Ok(text),
        Err(error @ ReadError::Keychain(_)) => Err(error),
        _ => {
            let _ = waiter.wait(SECOND_LOOK);
            read()
        }
    }
}
