//! Whether an answer says that the token was refused (credentials.md, *Auth failure on a request*).

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use trunkline_core::auth_recovery::is_auth_failure;

use crate::credential::error_message;
use crate::decode::BodyDecoder;
use crate::forward::Answer;
use crate::own_request::poll_answer;

/// Most that is read of an error for its message. Real ones have some hundred bytes.
const MAX_ERROR: usize = 64 * 1024;

/// The longest that it is waited for. What has come by then is passed on, and nothing is made of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at an answer. A 403 says in its body what it is about: what is read of that is put aside, to be handed on.
pub(crate) async fn refuses_authorization(answer: &mut Answer) -> bool {
    match answer.response.status() {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => {
            let whole = tokio::time::timeout(PATIENCE, read_ahead(answer)).await;
            whole.is_ok_and(|whole| whole) && is_auth_failure(403, message(answer).as_deref())
        }
        _ => false,
    }
}

/// Reads on, to the end or the bound. Whether that was the end.
async fn read_ahead(answer: &mut Answer) -> bool {
    let mut length = 0;
    std::future::poll_fn(|context| {
        loop {
            let frame =
                std::task::ready!(poll_answer(answer.response.body_mut(), &mut answer.source, context));
            match frame {
                None => return std::task::Poll::Ready(true),
                // The relay meets it as well.
                Some(Err(_)) => return std::task::Poll::Ready(false),
                Some(Ok(frame)) => {
                    length += frame.data_ref().map_or(0, Bytes::len);
                    answer.read_ahead.push_back(frame);
                    if length > MAX_ERROR {
                        return std::task::Poll::Ready(false);
                    }
                }
            }
        }
    })
    .await
}

/// What the error says, decoded for reading.
fn message(answer: &Answer) -> Option<String> {
    let pieces = answer.read_ahead.iter().filter_map(hyper::body::Frame::data_ref);
    let encoding = answer.response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let mut text = Vec::new();
    match encoding {
        None => pieces.for_each(|piece| text.extend_from_slice(piece)),
        Some(encoding) => {
            let mut decoder = BodyDecoder::new(encoding, MAX_ERROR as u64);
            for piece in pieces {
                decoder.push(piece, |decoded| text.extend_from_slice(decoded)).ok()?;
            }
            decoder.finish(|decoded| text.extend_from_slice(decoded)).ok()?;
        }
    }
    error_message(&text)
}
