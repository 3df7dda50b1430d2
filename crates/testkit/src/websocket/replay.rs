//! Recorded conversations, played again from either end.

use std::io;

use serde_json::Value;

use super::link::{Link, Message};
use crate::client::Ended;
use crate::fixtures::{RecordedSocket, SocketFrameKind};
use crate::upstream::Cut;
use crate::wire::malformed;

/// What a recorded conversation came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// The messages that came from the other end, in order.
    pub messages: Vec<Value>,
    /// What ended it, if it was the other end that did.
    pub end: Option<Message>,
}

/// Plays the client's part: sends each of its messages when as many have come from the server as before it in the record,
/// whatever they were.
pub async fn play_client(link: &mut Link, recorded: &RecordedSocket) -> io::Result<Replayed> {
    play(link, recorded, true).await
}

/// Plays the server's part in the same way, and closes or cuts as the recorded one did. Whoever calls it holds the link in a
/// [`super::Conversation`].
pub async fn play_server(mut link: Link, recorded: &RecordedSocket) -> io::Result<Replayed> {
    let replayed = play(&mut link, recorded, false).await?;
    if recorded.was_reset() {
        link.cut(Cut::Reset).await?;
    }
    Ok(replayed)
}

async fn play(link: &mut Link, recorded: &RecordedSocket, is_client: bool) -> io::Result<Replayed> {
    let mut replayed = Replayed { messages: Vec::new(), end: None };
    for frame in &recorded.frames {
        let is_ours = frame.by_client == is_client;
        match (&frame.kind, is_ours) {
            (SocketFrameKind::Message(value), true) => link.send_text(value.to_string()).await?,
            (SocketFrameKind::Message(_), false) => match link.message().await? {
                message @ Message::Text(_) => replayed.messages.push(message.json()?),
                end @ (Message::Close(..) | Message::End(_)) => {
                    replayed.end = Some(end);
                    return Ok(replayed);
                }
                Message::Binary(_) => return Err(malformed("bytes where text was recorded")),
            },
            (SocketFrameKind::Close(code, reason), true) => {
                replayed.end = Some(Message::Close(link.close(*code, reason).await?));
                return Ok(replayed);
            }
            (SocketFrameKind::Close(..) | SocketFrameKind::Ended, false) => {
                replayed.end = Some(link.message().await?);
                return Ok(replayed);
            }
            // The real client leaves without a close.
            (SocketFrameKind::Ended, true) => return Ok(replayed),
        }
    }
    Ok(replayed)
}

impl RecordedSocket {
    /// Whether the server cut the connection without a close.
    pub fn was_reset(&self) -> bool {
        self.server_end() == Some(Message::End(Ended::Reset))
    }

    /// How the client saw it end, if it was the server that ended it.
    pub fn server_end(&self) -> Option<Message> {
        match &self.frames.iter().rfind(|frame| !frame.by_client)?.kind {
            SocketFrameKind::Close(code, reason) => Some(Message::Close(Some((*code, reason.clone())))),
            SocketFrameKind::Ended => Some(Message::End(Ended::Reset)),
            SocketFrameKind::Message(_) => None,
        }
    }
}
