//! Reading what the token endpoint answered with success. Such an answer has spent the token that was sent, so whatever it may
//! mean is tried: compressed though we asked for no compression, named otherwise than it is, cut.

use std::time::SystemTime;

use trunkline_core::login::Login;
use trunkline_core::provider::Provider;
use trunkline_core::refresh::{RefreshAnswer, Unread, closed};
use trunkline_decode::DecodeError;
use trunkline_login_store::{
    Answer, AnswerEdits, AnswerEnd, NotALogin, ProviderFormat, Reason, StoreFormat, Stored, no_login,
};
use zeroize::Zeroizing;

use crate::own_request::decode;

/// A body in one reading.
type Text = Zeroizing<Vec<u8>>;

/// A provider's logins as the store sees them, with answers as they come from the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenFormat(pub(super) &'static dyn Provider);

impl StoreFormat for TokenFormat {
    fn stored(&self, login: &[u8]) -> Result<Stored, NotALogin> {
        ProviderFormat(self.0).stored(login)
    }

    fn is_fresh(&self, login: &[u8], reason: &Reason, now: SystemTime) -> bool {
        ProviderFormat(self.0).is_fresh(login, reason, now)
    }

    fn answer(&self, answer: &Answer) -> Result<AnswerEdits, Unread> {
        read(self.0, &no_login(), answer).map(|read| AnswerEdits::of(&read))
    }
}

/// Reads an answer to the refresh of `before`.
pub(super) fn read(
    provider: &dyn Provider,
    before: &Login,
    answer: &Answer,
) -> Result<RefreshAnswer, Unread> {
    let (texts, undone) = texts(answer);
    let read = |text: &[u8]| provider.read_refresh_answer(before, text, answer.received());
    let mut why = None;
    for text in &texts {
        match read(text) {
            Ok(read) => return Ok(read),
            Err(error) => _ = why.get_or_insert(Unread::from(error)),
        }
    }
    // What stands before a cut is what the provider said. The end of an answer may be missing without a sign of it.
    for text in &texts {
        if let Some(closed) = closed(text)
            && let Ok(read) = read(&closed)
        {
            return Ok(read);
        }
    }
    Err(match (answer.end(), undone) {
        (AnswerEnd::TooLong, _) | (_, Err(DecodeError::TooLarge)) => Unread::TooLong,
        (AnswerEnd::Cut, _) => Unread::Cut,
        (AnswerEnd::Whole, Err(DecodeError::Unreadable)) => Unread::Encoded,
        (AnswerEnd::Whole, Ok(())) => why.unwrap_or(Unread::NotAnObject),
    })
}

/// What the body may say, the likeliest first, and whether it is what its header says.
fn texts(answer: &Answer) -> (Vec<Text>, Result<(), DecodeError>) {
    let (said, undone) = decode(answer.raw(), answer.encoding());
    let mut texts = vec![without_mark(said)];
    if !answer.encoding().is_empty() {
        // Somebody on the way undid the coding, and left the header.
        texts.push(without_mark(answer.raw().to_vec()));
    }
    if let Some(coding) = coding_by_magic(answer.raw()) {
        texts.push(without_mark(decode(answer.raw(), coding).0));
    }
    (texts, undone)
}

/// Without a byte order mark, which some servers put before JSON (RFC 8259, 8.1, allows to ignore it).
fn without_mark(mut text: Vec<u8>) -> Text {
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    text.into()
}

/// The coding that a body shows by its first bytes. Brotli has no such mark.
fn coding_by_magic(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some("deflate"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use trunkline_core::provider::claude::Claude;

    use super::*;

    const TOKENS: &str = r#"{"access_token":"a1","refresh_token":"r1","expires_in":28800}"#;

    fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "zstd" => zstd::encode_all(body, 3).unwrap(),
            _ => body.to_vec(),
        }
    }

    fn read_as(raw: &[u8], encoding: &str, end: AnswerEnd) -> Result<(String, Option<String>), Unread> {
        let answer = Answer::new(SystemTime::UNIX_EPOCH, raw, encoding, end);
        read(&Claude, &no_login(), &answer).map(|read| {
            let refresh = read.login.refresh_token.map(|token| token.expose().to_owned());
            (read.login.access_token.expose().to_owned(), refresh)
        })
    }

    fn both() -> (String, Option<String>) {
        ("a1".to_owned(), Some("r1".to_owned()))
    }

    #[test]
    fn an_answer_is_read_whatever_its_coding_and_whatever_the_header_says() {
        for coding in ["", "identity", "gzip", "deflate", "zstd"] {
            let raw = encoded(coding, TOKENS.as_bytes());
            for header in [coding, "", "gzip", "br", "rot13", "GZIP"] {
                assert_eq!(read_as(&raw, header, AnswerEnd::Whole), Ok(both()), "{coding} as {header}");
            }
        }
        let twice = encoded("zstd", &encoded("gzip", TOKENS.as_bytes()));
        assert_eq!(read_as(&twice, "gzip, zstd", AnswerEnd::Whole), Ok(both()));
        let marked = [b"\xef\xbb\xbf", TOKENS.as_bytes()].concat();
        assert_eq!(read_as(&marked, "", AnswerEnd::Whole), Ok(both()));
    }

    #[test]
    fn an_answer_that_is_cut_is_read_as_far_as_it_goes() {
        for end in [AnswerEnd::Whole, AnswerEnd::Cut] {
            assert_eq!(read_as(&TOKENS.as_bytes()[..TOKENS.len() - 2], "", end), Ok(both()));
        }
        assert_eq!(read_as(TOKENS.as_bytes(), "", AnswerEnd::Cut), Ok(both()), "all of it came");
        assert_eq!(
            read_as(&TOKENS.as_bytes()[..25], "", AnswerEnd::Cut),
            Ok(("a1".to_owned(), None)),
            "the access token alone"
        );
        assert_eq!(read_as(&TOKENS.as_bytes()[..10], "", AnswerEnd::Cut), Err(Unread::Cut));
        let long = format!("{},{}", &TOKENS[..TOKENS.len() - 1], "\"x\":1,".repeat(200_000));
        assert_eq!(
            read_as(long.as_bytes(), "", AnswerEnd::Whole),
            Ok(both()),
            "what is too long has a beginning"
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (raw, encoding, end, why) in [
            (&b"<html>"[..], "", AnswerEnd::Whole, Unread::NotAnObject),
            (b"[]", "", AnswerEnd::Whole, Unread::NotAnObject),
            (b"{}", "", AnswerEnd::Whole, Unread::NoToken),
            (b"\xff\xfe\xfd", "br", AnswerEnd::Whole, Unread::Encoded),
            (b"xyz", "rot13", AnswerEnd::Whole, Unread::Encoded),
            (b"xyz", "gzip, gzip, gzip, gzip", AnswerEnd::Whole, Unread::Encoded),
            (b"", "", AnswerEnd::Cut, Unread::Cut),
            (b"x", "", AnswerEnd::TooLong, Unread::TooLong),
        ] {
            assert_eq!(read_as(raw, encoding, end), Err(why), "{raw:?} {encoding}");
        }
        let bomb = encoded("gzip", &vec![b' '; 2 << 20]);
        assert_eq!(read_as(&bomb, "gzip", AnswerEnd::Whole), Err(Unread::TooLong));
    }
}
