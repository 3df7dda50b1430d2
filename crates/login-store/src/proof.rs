//! Proving, before the old token is spent, that the new one can be kept.

mod keychain;

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use crate::journal::Journal;
use crate::journal_record::Request;
use crate::keychain::KeychainProblem;
use crate::medium::Medium;
use crate::place::{Place, journal_beside};
use crate::read::MAX_LOGIN_FILE;
use crate::replace::{asks_for_in_place, open_for_writing};
use crate::text::LoginText;

/// Why a new token could not be kept, so that none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The login file cannot be written.
    #[error(
        "the login file cannot be written ({0}), so it is not refreshed; make it and its directory writable"
    )]
    NotWritable(io::ErrorKind),
    /// There is no room, or the file system fails.
    #[error("no journal can be made beside the login file ({0}), so it is not refreshed; check its disk")]
    NoJournal(io::ErrorKind),
    /// The file can only be rewritten in place, and there is no place for its journal.
    #[error(
        "the login file can only be rewritten in place ({0}), for which data_directory is needed; set it, or mount the whole directory"
    )]
    NoDataDirectory(io::ErrorKind),
    /// The file can only be rewritten in place, and no journal can be made in the data directory.
    #[error(
        "no journal can be made in data_directory ({0}), so the login is not refreshed; make it writable"
    )]
    NoJournalInData(io::ErrorKind),
    /// The journal of a login in the keychain has no other place.
    #[error("refreshing the login in the keychain needs data_directory for its journal; set it")]
    KeychainWithoutDataDirectory,
    /// The item in the keychain cannot be written.
    #[error("the login in the keychain cannot be written, so it is not refreshed: {0}")]
    Keychain(KeychainProblem),
    /// An earlier journal stands in the way.
    #[error(
        "another journal stands in the way; if that goes on, see which other process refreshes this login"
    )]
    InTheWay,
}

/// A journal, and whether the login file is to be rewritten in place. `text`: the login as it was read under the locks.
pub(crate) fn prove(
    place: &Place,
    data_directory: Option<&Path>,
    request: &Request,
    text: &LoginText,
) -> Result<(Journal, bool), NoProof> {
    match &place.medium {
        Medium::File(real) => prove_file(real, place, data_directory, request),
        Medium::Keychain(kept) => {
            keychain::prove(kept, place, data_directory, request, text).map(|journal| (journal, false))
        }
    }
}

fn prove_file(
    real: &Path,
    place: &Place,
    data_directory: Option<&Path>,
    request: &Request,
) -> Result<(Journal, bool), NoProof> {
    let file = open_for_writing(real).map_err(|error| NoProof::NotWritable(error.kind()))?;
    let metadata = file.metadata().map_err(|error| NoProof::NotWritable(error.kind()))?;
    let why = if is_mounted(real, place, &metadata) {
        io::ErrorKind::ResourceBusy
    } else {
        match Journal::create(&journal_beside(real), Some(&metadata), request, 0)
            .map_err(|error| error.kind())
        {
            Ok(journal) => return Ok((journal, false)),
            Err(io::ErrorKind::AlreadyExists) => return Err(NoProof::InTheWay),
            Err(kind) if asks_for_in_place(kind) => kind,
            Err(kind) => return Err(NoProof::NoJournal(kind)),
        }
    };
    let data_directory = data_directory.ok_or(NoProof::NoDataDirectory(why))?;
    // Besides the answer it must hold the file as it was and as it will be.
    let length = usize::try_from(metadata.len().min(MAX_LOGIN_FILE)).unwrap_or(0);
    let room = length.saturating_mul(2);
    match Journal::create(&place.journal_in(data_directory), None, request, room) {
        Ok(journal) => Ok((journal, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(NoProof::InTheWay),
        Err(error) => Err(NoProof::NoJournalInData(error.kind())),
    }
}

/// Whether the file is mounted by itself, as containers do with single files: nothing can be renamed over it.
pub(crate) fn is_mounted(real: &Path, place: &Place, metadata: &Metadata) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        // Since Linux 5.8. A file of the same file system that is mounted has the device of its directory.
        if let Ok(found) = statx(CWD, real, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        {
            return found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let _ = real;
        fs::metadata(&place.directory).is_ok_and(|directory| directory.dev() != metadata.dev())
    }
    #[cfg(not(unix))]
    {
        let _ = (real, place, metadata, fs::metadata);
        false
    }
}
