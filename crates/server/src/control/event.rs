//! What happens in a running instance, as a stream of lines: JSON, one event each.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use trunkline_engine::state_changes::{Followed, Following, StateChange, StateChanges};

use super::status::seconds;
use crate::drain::Drain;

/// Lines that wait for a follower who does not read; then events wait, and then they are missed.
const QUEUE: usize = 16;

/// How long a stream may be silent. A line then says that all is well, so that one whose reader has gone is noticed.
const SILENCE: Duration = Duration::from_secs(30);

/// An event. More fields and more events may join them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// From now on every event is told.
    Following,
    /// The state of a credential has changed.
    CredentialState {
        /// When, in seconds since 1970.
        at: u64,
        /// The service's tag.
        service: String,
        /// The credential's tag.
        credential: String,
        /// The state that it was in: `usable`, `unavailable`, `refreshing`, `blocked`, `rate_limited` or `capped`.
        from: String,
        /// The state that it is in.
        to: String,
        /// The same with what it is about, for a person.
        text: String,
        /// When that ends by itself, in seconds since 1970, if it does.
        until: Option<u64>,
    },
    /// So many events were not told, since nobody read the stream in time.
    Missed {
        /// How many.
        count: u64,
    },
    /// Nothing has happened for a while.
    Quiet,
}

impl From<&StateChange> for Event {
    fn from(told: &StateChange) -> Self {
        let change = &told.change;
        Self::CredentialState {
            at: seconds(change.at),
            service: told.service.to_string(),
            credential: told.credential.to_string(),
            from: change.from.label().to_owned(),
            to: change.to.label().to_owned(),
            text: change.text(),
            until: change.to.until().map(seconds),
        }
    }
}

/// The stream, until the instance ends or nobody reads it any more.
pub(super) fn stream(changes: &StateChanges, drain: Drain) -> Channel<Bytes> {
    let (sender, body) = Channel::new(QUEUE);
    // Before the first line is read: what happens after that line is told.
    let following = changes.follow();
    // Bounded in number with the connections that are followed over, and ends with them.
    tokio::spawn(tell(sender, following, drain));
    body
}

async fn tell(mut sender: Sender<Bytes>, mut following: Following, drain: Drain) {
    let mut event = Event::Following;
    loop {
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        if sender.send_data(line.into()).await.is_err() {
            return;
        }
        event = tokio::select! {
            followed = following.next() => match followed {
                Some(Followed::Change(change)) => Event::from(&*change),
                Some(Followed::Missed(count)) => Event::Missed { count },
                None => return,
            },
            () = tokio::time::sleep(SILENCE) => Event::Quiet,
            () = drain.aborted() => return,
        };
    }
}
