//! A client of Claude's: requests over one connection, one after the other.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_testkit::client::{Connection, Ended, Frame, Request};

use super::{Conversation, USER_AGENT};

/// The event that a whole answer ends with.
const LAST_EVENT: &[u8] = b"event: message_stop";

/// What it keeps open.
#[derive(Default)]
pub(super) struct Client(Option<Connection>);

impl Client {
    pub(super) async fn ask(&mut self, conversation: &Conversation, session: u64) -> io::Result<Duration> {
        let mut connection = match self.0.take() {
            Some(connection) => connection,
            None => Connection::connect(conversation.addr).await?,
        };
        let head_after = ask(&mut connection, &request(conversation, session)).await?;
        self.0 = Some(connection);
        Ok(head_after)
    }
}

fn request(conversation: &Conversation, session: u64) -> Request {
    let body = json!({
        "model": "claude-sonnet-5",
        "max_tokens": 64,
        "stream": true,
        "messages": [{ "role": "user", "content": conversation.question() }],
    });
    Request::post("/claude/v1/messages?beta=true", body.to_string())
        .bearer(&conversation.token)
        .header("Accept", "application/json")
        .header("User-Agent", USER_AGENT)
        .header("X-Claude-Code-Session-Id", &format!("demo-{}-{session}", conversation.name))
        .header("anthropic-version", "2023-06-01")
}

async fn ask(connection: &mut Connection, request: &Request) -> io::Result<Duration> {
    let sent = Instant::now();
    connection.write_request(request).await?;
    let head = connection.head().await?;
    let head_after = sent.elapsed();
    if head.status != 200 {
        return Err(io::Error::other(format!("the status was {}", head.status)));
    }
    let mut is_whole = false;
    loop {
        match connection.frame().await? {
            Frame::Data(bytes) => {
                is_whole = bytes.windows(LAST_EVENT.len()).any(|window| window == LAST_EVENT);
            }
            Frame::Trailers(_) => {}
            Frame::End(Ended::Complete) if is_whole => return Ok(head_after),
            Frame::End(end) => return Err(io::Error::other(format!("the answer was not whole ({end:?})"))),
        }
    }
}
