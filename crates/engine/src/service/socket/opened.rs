//! A WebSocket that a provider has just opened, before anything is relayed on it.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;

use crate::credential::Credential;
use crate::forward::Answer;
use crate::upstream::Source;
use crate::upstream::stream::Stream;
use crate::websocket::{Role, WebSocket};

/// An open WebSocket of a provider's.
pub(in crate::service) struct Opened {
    /// The headers of the answer that opened it.
    pub(in crate::service) headers: HeaderMap,
    /// When that answer came.
    pub(in crate::service) at: SystemTime,
    pub(in crate::service) socket: WebSocket<Stream>,
}

/// Makes a WebSocket of the connection that an answer (101) has changed. `None`: there is none, since it was closed at once.
///
/// Where it is not known that the provider serves what it accepts, its beginning is watched for a moment: the client's own
/// upgrade has not been answered yet, and can still be refused in the way on which it takes to HTTP.
pub(in crate::service) async fn open(answer: Answer, credential: &Credential) -> Option<Box<Opened>> {
    let Answer { response, source, at, .. } = answer;
    let (head, body) = response.into_parts();
    drop(body);
    // WebSockets are asked for over HTTP/1.1 alone.
    let Source::Http1(connection) = source else { return None };
    let (stream, read) = connection.into_upgraded().await;
    let mut socket = WebSocket::new(stream, Role::Client, Bytes::copy_from_slice(&read));
    let settling = credential.live().sockets().settling(Instant::now());
    if let Some(settling) = settling {
        let ahead = std::future::poll_fn(|context| socket.poll_ahead(context));
        if tokio::time::timeout(settling, ahead).await == Ok(false) {
            return None;
        }
    }
    Some(Box::new(Opened { headers: head.headers, at, socket }))
}
