//! WebSockets under the control of a test: frames one by one, also such as no library would send.
//!
//! [`Link`] is one end of a connection: of a client ([`Link::connect`]), or of a server, in a [`Conversation`] that a script
//! goes over to behind its 101 ([`accept`]). Frames that keep the rules are coded by tungstenite; what breaks them is bytes
//! made by hand. `cases` are those of the Autobahn suite, for servers and clients under test.

#[cfg(feature = "testing")]
pub mod cases;
mod frame;
mod link;
#[cfg(feature = "testing")]
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub use frame::{Frame, FrameReader, Opcode};
pub(crate) use link::Outgoing;
pub use link::{Link, Message, Upgraded};
#[cfg(feature = "testing")]
pub use replay::{Replayed, play_client, play_server};

use crate::client::Request;
use crate::upstream::{RequestHead, Script};

/// What a scripted server does on a WebSocket. A closure `Fn(Link) -> impl Future<Output = ()>` is one.
///
/// When it ends, the connection is closed as TCP has it; [`Link::cut`] ends it otherwise.
pub trait Conversation: Send + Sync + 'static {
    /// Holds it.
    fn converse(&self, link: Link) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<F, Held> Conversation for F
where
    F: Fn(Link) -> Held + Send + Sync + 'static,
    Held: Future<Output = ()> + Send + 'static,
{
    fn converse(&self, link: Link) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self(link))
    }
}

/// A conversation as a step of a script.
#[derive(Clone)]
pub(crate) struct Held(pub(crate) Arc<dyn Conversation>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation")
    }
}

/// Whether a request asks for a WebSocket.
pub fn is_upgrade(request: &RequestHead) -> bool {
    request.headers.lists("upgrade", "websocket") && request.headers.lists("connection", "upgrade")
}

/// Accepts the upgrade that `request` asks for, without an extension: add headers, then [`Script::converse`].
pub fn accept(request: &RequestHead) -> Script {
    let key = request.headers.get("sec-websocket-key").unwrap_or_default();
    Script::status(101)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()))
}

/// A request that asks for a WebSocket, with the headers that it needs.
pub fn upgrade(target: &str) -> Request {
    Request::get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

/// The key of every upgrade here: what it must be answered with is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[cfg(feature = "testing")]
/// A server that sends every message back, and answers pings and closes as it should.
pub fn echo() -> impl Conversation {
    |mut link: Link| async move {
        while let Ok(message) = link.message().await {
            let sent = match message {
                Message::Text(text) => link.send(Frame::text(text)).await,
                Message::Binary(bytes) => link.send(Frame::binary(bytes)).await,
                Message::Close(..) | Message::End(_) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
