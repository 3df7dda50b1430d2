//! What has not been read of a request's body when the request is answered by us.
//!
//! Spec: claude.md, *Errors of our own*. An answer before the end of the body would leave its rest in the way of the next
//! request. The HTTP library then closes the connection without having said so, and a client that sends its next request over it
//! has that one lost; where bytes are left unread, the system resets the connection, which takes away the answer too. So what is
//! left is read and dropped before the answer goes, within bounds; beyond them the answer says that the connection ends.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{HeaderMap, Response};
use http_body::Body as _;

use crate::client_connection::ClientConnection;
use crate::received_body::ReceivedBody;
use crate::relay::ResponseBody;
use crate::upload::{Unread, Upload};

/// Most that is read of a body that nobody needs any more. Most bodies are smaller; more would be a transfer at our cost.
pub const MAX_DROPPED: u64 = 1024 * 1024;

/// The longest that an answer waits for the rest of such a body, and that a connection is read after its last answer.
pub const DROP_PATIENCE: Duration = Duration::from_secs(2);

/// The body of a request, wherever it is while the request is served.
pub(super) struct Rest {
    body: At,
    /// Whether the client sends nothing of it before it is told to go on, or answered.
    expects_continue: bool,
}

enum At {
    /// Nobody has looked at it.
    Untouched(ReceivedBody),
    /// It is being read.
    Upload(Arc<Upload>),
    /// It was refused as a whole.
    Refused,
}

impl Rest {
    pub(super) fn new(body: ReceivedBody, headers: &HeaderMap) -> Self {
        let expects =
            headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body: At::Untouched(body), expects_continue: expects }
    }

    /// The body, for the one that reads it; `None` if that was done before.
    pub(super) fn take(&mut self) -> Option<ReceivedBody> {
        match std::mem::replace(&mut self.body, At::Refused) {
            At::Untouched(body) => Some(body),
            other => {
                self.body = other;
                None
            }
        }
    }

    /// What follows the head is not to be read: where it ends is not known (RFC 9112, 6.3).
    pub(super) fn refuse(&mut self) {
        self.body = At::Refused;
    }

    /// The body, if nobody has it yet. What is read of it counts as read.
    pub(super) fn untouched(&mut self) -> Option<&mut ReceivedBody> {
        match &mut self.body {
            At::Untouched(body) => Some(body),
            At::Upload(_) | At::Refused => None,
        }
    }

    /// It is being read.
    pub(super) fn is_in(&mut self, upload: &Arc<Upload>) {
        self.body = At::Upload(Arc::clone(upload));
    }

    /// Reads the rest away before an answer of ours goes, or has the answer announce the end of the connection.
    pub(super) async fn settle(self, response: &mut Response<ResponseBody>, client: &ClientConnection) {
        let (unread, is_begun) = match self.body {
            At::Untouched(body) if body.is_end_stream() => (Unread::Nothing, false),
            At::Untouched(body) => (Unread::Body(body), false),
            At::Upload(upload) => (upload.take_unread(), upload.received() > 0),
            At::Refused => (Unread::Lost, false),
        };
        let is_whole = match unread {
            Unread::Nothing => true,
            // Asking for it would be the word to send it.
            Unread::Body(_) if self.expects_continue && !is_begun => false,
            Unread::Body(body) => Box::pin(read_away(body)).await,
            Unread::Lost => false,
        };
        if !is_whole && !client.is_http2() {
            announce_end(response.headers_mut(), client);
        }
    }
}

/// Has an HTTP/1.1 answer say that its connection ends with it, and the listener read on for a while then.
pub(super) fn announce_end(headers: &mut HeaderMap, client: &ClientConnection) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    client.will_end_unread();
}

/// Reads a body and drops it. Whether its end has come within the bounds.
async fn read_away(mut body: ReceivedBody) -> bool {
    if body.size_hint().lower() > MAX_DROPPED {
        return false;
    }
    let mut left = MAX_DROPPED;
    let reads = std::future::poll_fn(|context| {
        loop {
            match std::task::ready!(Pin::new(&mut body).poll_frame(context)) {
                None => return std::task::Poll::Ready(true),
                Some(Err(_)) => return std::task::Poll::Ready(false),
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
                    let Some(rest) = left.checked_sub(length) else { return std::task::Poll::Ready(false) };
                    left = rest;
                }
            }
        }
    });
    tokio::time::timeout(DROP_PATIENCE, pin!(reads)).await == Ok(true)
}
