//! The proof for a login in a keychain: a journal in the data directory, and the item written as it is.
//!
//! Nothing less proves that the item can be written: reading it, or writing another one, says nothing of who may change this
//! one, of the keychain that it lies in, or of how long a text may be. What is written is what was just read under the lock
//! around a write, so the only loss could be to a program that writes without that lock within the same moment; the
//! write behind the refresh, which cannot be spared, has the same gap.

use std::io;
use std::path::Path;

use super::NoProof;
use crate::journal::Journal;
use crate::journal_record::Request;
use crate::keychain::KeychainProblem;
use crate::medium::InKeychain;
use crate::place::Place;
use crate::text::LoginText;

/// How much longer than the old text a new one may be, in bytes: tokens have about a hundred, and scopes may be added.
const SPARE: usize = 512;

/// `text`: the item as it was read under the lock around a write, which is held.
pub(super) fn prove(
    kept: &InKeychain,
    place: &Place,
    data_directory: Option<&Path>,
    request: &Request,
    text: &LoginText,
) -> Result<Journal, NoProof> {
    let data_directory = data_directory.ok_or(NoProof::KeychainWithoutDataDirectory)?;
    if !kept.keychain.has_room(&kept.item, text, SPARE) {
        return Err(NoProof::Keychain(KeychainProblem::NoRoom));
    }
    let journal = match Journal::create(&place.journal_in(data_directory), None, request, 0) {
        Ok(journal) => journal,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(NoProof::InTheWay),
        Err(error) => return Err(NoProof::NoJournalInData(error.kind())),
    };
    match kept.write(text) {
        Ok(()) => Ok(journal),
        Err(problem) => {
            journal.remove();
            Err(NoProof::Keychain(problem))
        }
    }
}
