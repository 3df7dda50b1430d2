//! How long a connection of a client may go on as it is: the waits for its first request, for a head, between requests, and
//! for the client to take what is written to it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use trunkline_engine::client_connection::{ClientConnection, WRITE_STALL};

/// Longest time for a request head to arrive whole, once it has begun.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for the first request of a connection to begin.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection is kept between two requests. Agents think for minutes, and reuse their connections.
const KEEP_ALIVE: Duration = Duration::from_secs(600);

/// The shortest time between two looks.
const MIN_TICK: Duration = Duration::from_millis(100);

pin_project! {
    /// The waits of one connection. A timer for each would have to be set with every request; so there is one, which is set
    /// when it has run out, by what is waited for then.
    #[derive(Debug)]
    pub(crate) struct Waits {
        #[pin]
        tick: Sleep,
    }
}

impl Waits {
    /// The waits of a connection that begins now.
    pub(crate) fn new() -> Self {
        // A head may begin at once, and has less time than the first request has to begin.
        Self { tick: tokio::time::sleep(HEAD_TIMEOUT) }
    }

    /// Ready when something has been waited for too long.
    pub(crate) fn poll_over(
        self: Pin<&mut Self>,
        client: &ClientConnection,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut tick = self.project().tick;
        loop {
            ready!(tick.as_mut().poll(context));
            let Some(left) = left(client) else { return Poll::Ready(()) };
            tick.as_mut().reset(Instant::now() + left.max(MIN_TICK));
        }
    }
}

/// How long this connection may go on as it is; `None`: no longer.
fn left(client: &ClientConnection) -> Option<Duration> {
    if let Some(blocked) = client.write_blocked_for() {
        return WRITE_STALL.checked_sub(blocked);
    }
    if client.in_flight() > 0 {
        return Some(HEAD_TIMEOUT);
    }
    let allowed = if client.is_mid_head() {
        HEAD_TIMEOUT
    } else if client.has_served() {
        KEEP_ALIVE
    } else {
        FIRST_REQUEST_TIMEOUT
    };
    // A wait that is allowed for long is looked at again when a shorter one could have begun meanwhile.
    allowed.checked_sub(client.quiet_for()).filter(|left| !left.is_zero()).map(|left| left.min(HEAD_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HEAD: &[u8] = b"GET /v1/models HTTP/1.1\r\nHost";

    fn connection() -> Arc<ClientConnection> {
        ClientConnection::new(([127, 0, 0, 1], 1).into())
    }

    /// After how many seconds a connection ends, to which `happens` happens.
    async fn lasts(client: &ClientConnection, happens: impl AsyncFnOnce(&ClientConnection)) -> u64 {
        let begun = Instant::now();
        let mut waits = std::pin::pin!(Waits::new());
        let over = std::future::poll_fn(|context| waits.as_mut().poll_over(client, context));
        tokio::join!(over, happens(client));
        // Looks are 100 ms apart at least.
        begun.elapsed().as_secs()
    }

    async fn after(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_thirty_seconds_whenever_it_begins() {
        for begins in [0, 1, 29, 30, 31, 45, 59] {
            let client = connection();
            let ended = lasts(&client, async |client| {
                after(begins).await;
                client.on_read(HEAD);
                // Byte by byte is no better.
                for _ in 0..20 {
                    after(1).await;
                    client.on_read(b"x");
                }
            })
            .await;
            assert_eq!(ended, begins + 30, "begun at {begins}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_a_minute_to_begin_and_the_next_ten() {
        assert_eq!(lasts(&connection(), async |_| {}).await, 60);
        let client = connection();
        let of_request = Arc::clone(&client);
        let served = lasts(&client, async |_| {
            after(10).await;
            drop(of_request.begin_request(false));
        });
        assert_eq!(served.await, 610);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_has_five_minutes() {
        let client = connection();
        let request = client.begin_request(false);
        let ended = lasts(&client, async |client| {
            after(50).await;
            client.on_write(true);
            after(100).await;
            // Something was taken.
            client.on_write(false);
            after(10).await;
            client.on_write(true);
        });
        assert_eq!(ended.await, 160 + 300);
        drop(request);
    }
}
