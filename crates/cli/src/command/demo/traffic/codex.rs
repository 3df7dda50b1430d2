//! A client of Codex's: a WebSocket for each conversation, turn by turn.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_testkit::websocket::{Link, Message, upgrade};

use super::{Conversation, USER_AGENT};

/// How often a turn is sent over a new connection where the one that it was sent over ended without an answer: that is how the
/// real client is moved to another credential (codex.md).
const TRIES: usize = 3;

/// What it keeps open.
#[derive(Default)]
pub(super) struct Client {
    open: Option<Link>,
    session: u64,
}

/// How a turn came out.
enum Came {
    Answered(Duration),
    /// The connection ended before there was an answer.
    Ended,
}

impl Client {
    pub(super) async fn ask(&mut self, conversation: &Conversation, session: u64) -> io::Result<Duration> {
        if session != self.session {
            self.open = None;
            self.session = session;
        }
        for _ in 0..TRIES {
            let mut link = match self.open.take() {
                Some(link) => link,
                None => Link::open(conversation.addr, &request(conversation, session)).await?,
            };
            if let Came::Answered(after) = ask(&mut link, conversation).await? {
                self.open = Some(link);
                return Ok(after);
            }
        }
        Err(io::Error::other("the connection ended without an answer, again and again"))
    }
}

fn request(conversation: &Conversation, session: u64) -> trunkline_testkit::client::Request {
    upgrade("/codex/v1/responses")
        .bearer(&conversation.token)
        .header("User-Agent", USER_AGENT)
        .header("OpenAI-Beta", "responses_websockets=2026-02-06")
        .header("session-id", &format!("demo-codex-{}-{session}", conversation.name))
}

async fn ask(link: &mut Link, conversation: &Conversation) -> io::Result<Came> {
    let text = json!({ "type": "input_text", "text": conversation.question() });
    let create = json!({
        "type": "response.create",
        "model": "gpt-5.5",
        "input": [{ "type": "message", "role": "user", "content": [text] }],
        "tools": [],
        "store": false,
        "stream": true,
    });
    let sent = Instant::now();
    if link.send_text(create.to_string()).await.is_err() {
        return Ok(Came::Ended);
    }
    let mut began = None;
    loop {
        let message = link.message().await?;
        if matches!(message, Message::Close(..) | Message::End(_)) {
            return match began {
                None => Ok(Came::Ended),
                Some(_) => Err(io::Error::other("the answer was not whole")),
            };
        }
        let event = message.json()?;
        let after = *began.get_or_insert_with(|| sent.elapsed());
        match event["type"].as_str() {
            Some("response.completed") => return Ok(Came::Answered(after)),
            Some("error" | "response.failed") => {
                return Err(io::Error::other(format!("the answer was {event}")));
            }
            _ => {}
        }
    }
}
