//! What is to be done with an answer, given what the login file holds now. Pure.

#[cfg(test)]
mod tests;

use trunkline_core::json_edit;
use trunkline_core::refresh::Unread;

use crate::digest::TokenHash;
use crate::format::{AnswerEdits, StoreFormat, Stored};
use crate::journal_record::{Answer, Image};
use crate::read::ReadError;
use crate::text::LoginText;

/// Why a journal was kept aside instead of being written to the login file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetAsideReason {
    /// The login file holds another login: somebody logged in meanwhile.
    #[error("the login file holds another login by now")]
    OtherLogin,
    /// The login file is gone: somebody logged out.
    #[error("the login file is gone")]
    NoLogin,
    /// No token could be read from the answer. It is tried again at the next start, and before the next refresh.
    #[error("no token could be read from the provider's answer: {0}")]
    Unread(Unread),
    /// The journal is damaged.
    #[error("the journal is damaged")]
    Unreadable,
}

/// Why the login file does not say what is to be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclear {
    Read(ReadError),
    NotALogin,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The new text is to be written; the old one is what is there.
    Write {
        old: LoginText,
        new: LoginText,
    },
    /// The new text is there already.
    Written(LoginText),
    SetAside(SetAsideReason),
    /// It cannot be told now: looked at again later.
    Wait(Unclear),
}

/// Reads the last of the answers that can be read: a call that was repeated has two, of which the first was cut.
pub(crate) fn read(format: &dyn StoreFormat, answers: &[Answer]) -> Result<AnswerEdits, Unread> {
    let mut why = None;
    for answer in answers.iter().rev() {
        match format.answer(answer) {
            Ok(meaning) => return Ok(meaning),
            Err(unread) => _ = why.get_or_insert(unread),
        }
    }
    Err(why.unwrap_or(Unread::NoToken))
}

/// Decides. `sent`: the refresh token that the answers were given for. `image`: of an earlier try to rewrite the file in place.
pub(crate) fn decide(
    format: &dyn StoreFormat,
    found: Result<LoginText, ReadError>,
    sent: TokenHash,
    answers: &[Answer],
    image: Option<&Image>,
) -> Verdict {
    if let Some(image) = image
        && let Some(torn) = torn(&found, image)
    {
        let new = LoginText::new(image.new.to_vec());
        return Verdict::Write { old: torn, new };
    }
    let text = match found {
        Ok(text) => text,
        Err(ReadError::Missing) => return Verdict::SetAside(SetAsideReason::NoLogin),
        Err(error) => return Verdict::Wait(Unclear::Read(error)),
    };
    let Ok(stored) = format.stored(text.as_bytes()) else {
        return Verdict::Wait(Unclear::NotALogin);
    };
    let meaning = match read(format, answers) {
        Ok(meaning) => meaning,
        Err(unread) => return Verdict::SetAside(SetAsideReason::Unread(unread)),
    };
    let is_for_this = match &stored {
        Stored::RefreshToken(token) => TokenHash::of(token) == sent,
        Stored::LoggedOut => true,
        Stored::OtherKind => false,
    };
    if is_for_this {
        return match json_edit::apply(text.as_bytes(), &meaning.edits).map(LoginText::new) {
            Ok(new) if new == text => Verdict::Written(text),
            Ok(new) => Verdict::Write { old: text, new },
            // A login of another kind, which has no place for these tokens.
            Err(_) => Verdict::SetAside(SetAsideReason::OtherLogin),
        };
    }
    match (stored, meaning.refresh_token) {
        (Stored::RefreshToken(stored), Some(carried)) if stored == carried => return Verdict::Written(text),
        _ => {}
    }
    Verdict::SetAside(SetAsideReason::OtherLogin)
}

/// The file's bytes, if they are what an interrupted rewrite leaves: neither of the texts, but made of both.
fn torn(found: &Result<LoginText, ReadError>, image: &Image) -> Option<LoginText> {
    let text = match found {
        Ok(text) => text.clone(),
        Err(ReadError::Empty) if image.old.is_empty() => LoginText::new(Vec::new()),
        // Cut inside a character; what is written is the image, so the bytes themselves matter no more.
        Err(ReadError::NotText) => return Some(LoginText::new(image.old.to_vec())),
        Err(_) => return None,
    };
    let bytes = text.as_bytes();
    if bytes == image.old.as_slice() || bytes == image.new.as_slice() {
        return None;
    }
    let between = image.old.len().min(image.new.len())..=image.old.len().max(image.new.len());
    let is_mixed = between.contains(&bytes.len())
        && bytes.iter().enumerate().all(|(at, byte)| {
            // Zeros are what a crash leaves of a part that had grown but was not yet on the disk.
            image.old.get(at).map_or(*byte == 0, |old| old == byte) || image.new.get(at) == Some(byte)
        });
    is_mixed.then_some(text)
}
