//! Whether a credential's provider serves the WebSockets that it accepts.
//!
//! Something between here and the provider may answer an upgrade with 101 and then close the connection at once. The real
//! client takes that for a failure of the moment and tries for seven seconds before it goes on over HTTP (fact sheet, 4),
//! where a 426 would send it there at once. So the beginning of a WebSocket is watched for its end before the client's upgrade
//! is answered, unless WebSockets of that credential have been of use lately. Spec: codex.md, *Connecting*.

use std::time::{Duration, Instant};

/// How long the beginning of a WebSocket is watched. What closes at once says so in the packets behind the 101; this leaves
/// time for a slow one of them, and the client waits 15 s for its upgrade.
pub const SETTLING: Duration = Duration::from_millis(250);

/// How long a message proves that WebSockets are served: the first of a conversation waits for nothing while others go on.
const PROVEN_FOR: Duration = Duration::from_secs(10 * 60);

/// What is known of a credential's WebSockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketHealth {
    last_message: Option<Instant>,
}

impl SocketHealth {
    /// The provider has sent the first message on a WebSocket.
    pub fn on_message(&mut self, now: Instant) {
        self.last_message = self.last_message.max(Some(now));
    }

    /// How long the beginning of a WebSocket that was opened at `now` is watched for its end; `None`: not at all.
    pub fn settling(&self, now: Instant) -> Option<Duration> {
        let is_proven =
            self.last_message.is_some_and(|last| now.saturating_duration_since(last) < PROVEN_FOR);
        (!is_proven).then_some(SETTLING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_spares_the_watching_for_a_while() {
        let start = Instant::now();
        let mut health = SocketHealth::default();
        assert_eq!(health.settling(start), Some(SETTLING));
        health.on_message(start);
        // Told late by another thread.
        health.on_message(start.checked_sub(Duration::from_millis(1)).unwrap());
        let end = start + PROVEN_FOR;
        assert_eq!(health.settling(end.checked_sub(Duration::from_nanos(1)).unwrap()), None);
        assert_eq!(health.settling(end), Some(SETTLING));
    }
}
