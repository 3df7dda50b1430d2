//! A login by its place and the rules of the clients that share it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::format::StoreFormat;
use crate::place::Place;
use crate::protocol::LockProtocol;
use crate::read::{self, ReadError};
use crate::text::LoginText;
use crate::waiter::Waiter;

/// A file that is gone or torn is looked at again after this: other programs replace it, or write over it, without a lock.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// A login file, with all that belongs to it on the disk. Cheap to clone; nothing is held between calls.
#[derive(Debug, Clone)]
pub struct LoginStore(Arc<Configured>);

#[derive(Debug)]
struct Configured {
    path: PathBuf,
    protocol: LockProtocol,
    data_directory: Option<PathBuf>,
}

impl LoginStore {
    /// The login at `path`. `data_directory`: where the journal goes if the login's own directory admits no new files; without
    /// one, such a login is not refreshed.
    pub fn new(path: PathBuf, protocol: LockProtocol, data_directory: Option<PathBuf>) -> Self {
        Self(Arc::new(Configured { path, protocol, data_directory }))
    }

    /// Reads the login file once.
    pub fn read(&self) -> Result<LoginText, ReadError> {
        read::read(&self.0.path)
    }

    /// Reads the login file, and once more after 200 ms if it is gone, cannot be read, or is no login.
    pub fn read_patiently(
        &self,
        format: &dyn StoreFormat,
        waiter: &dyn Waiter,
    ) -> Result<LoginText, ReadError> {
        read_patiently(&self.0.path, format, waiter)
    }

    pub(crate) fn protocol(&self) -> &LockProtocol {
        &self.0.protocol
    }

    pub(crate) fn data_directory(&self) -> Option<&Path> {
        self.0.data_directory.as_deref()
    }

    pub(crate) fn place(&self) -> Place {
        Place::find(&self.0.path)
    }

    /// The places where a journal of this login may lie, and whether it is then one for rewriting in place.
    pub(crate) fn journals(&self, place: &Place) -> Vec<(PathBuf, bool)> {
        let beside = (place.journal(), false);
        let in_data = self.data_directory().map(|directory| (place.journal_in(directory), true));
        std::iter::once(beside).chain(in_data).collect()
    }
}

/// See [`LoginStore::read_patiently`]. A wait that is ended counts as over.
pub(crate) fn read_patiently(
    path: &Path,
    format: &dyn StoreFormat,
    waiter: &dyn Waiter,
) -> Result<LoginText, ReadError> {
    match read::read(path) {
        Ok(text) if format.stored(text.as_bytes()).is_ok() => Ok(text),
        _ => {
            let _ = waiter.wait(SECOND_LOOK);
            read::read(path)
        }
    }
}
