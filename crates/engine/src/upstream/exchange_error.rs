//! Why an exchange with a provider has no answer, told apart as far as what follows depends on it.

use std::fmt;

use trunkline_core::answer_head::Unreadable;

use super::dial;

/// An exchange without an answer that can be used. As text, it is the library's own words, for the log.
#[derive(Debug)]
pub(crate) struct ExchangeError {
    pub(crate) how: NoAnswer,
    detail: String,
}

/// How an exchange came to have no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nothing of the request has been sent.
    NotSent,
    /// The provider said that it has not looked at the request: REFUSED_STREAM, or a GOAWAY that leaves it out.
    NotProcessed,
    /// The provider reset the HTTP/2 stream.
    Reset,
    /// The connection ended.
    Closed,
    /// We ended the HTTP/2 connection, since what came on it broke the rules. However soon that is, the connection had not been
    /// closed before the request was sent on it.
    Broken,
    /// There was an answer, which cannot be used.
    Unreadable(Unreadable),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<Unreadable> for ExchangeError {
    fn from(unreadable: Unreadable) -> Self {
        Self { how: NoAnswer::Unreadable(unreadable), detail: format!("the answer {unreadable}") }
    }
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        let how = match of_http2(&error) {
            _ if error.is_canceled() => NoAnswer::NotSent,
            Some(how) => how,
            None if error.is_parse() => NoAnswer::Unreadable(unreadable(&error)),
            None => NoAnswer::Closed,
        };
        Self { how, detail: dial::chain(&error) }
    }
}

/// What the library did not understand of an HTTP/1.1 head. It has methods for some causes, and words for all.
fn unreadable(error: &hyper::Error) -> Unreadable {
    if error.is_parse_too_large() {
        return Unreadable::TooLarge;
    }
    if error.is_parse_status() {
        return Unreadable::Status;
    }
    let words = error.to_string();
    if words.contains("content-length") {
        Unreadable::Lengths
    } else if words.contains("transfer-encoding") {
        Unreadable::TransferCoding
    } else if words.contains("header") {
        Unreadable::Field
    } else {
        Unreadable::NotHttp1
    }
}

/// What became of an HTTP/2 stream whose connection stands, or was ended with words.
fn of_http2(error: &hyper::Error) -> Option<NoAnswer> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return match error {
                // The library gives the error of a GOAWAY to no stream that is not left out by it.
                error if error.is_remote() && (is_refused || error.is_go_away()) => {
                    Some(NoAnswer::NotProcessed)
                }
                // The library resets a stream whose answer breaks the rules.
                error if error.is_reset() && error.is_library() => {
                    Some(NoAnswer::Unreadable(Unreadable::NotHttp2))
                }
                error if error.is_reset() => Some(NoAnswer::Reset),
                error if error.is_go_away() && error.is_library() => Some(NoAnswer::Broken),
                _ => None,
            };
        }
        cause = error.source();
    }
    None
}
