//! A peer that takes nothing of what is written to it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use crate::client_connection::WRITE_STALL;

/// Since when one end of a WebSocket has taken nothing. Pings and messages of that end do not count: a peer that sends and
/// never reads would hold the connection, and the other side's, for good.
#[derive(Debug, Default)]
pub(super) struct Stall {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Everything was taken.
    pub(super) fn end(&mut self) {
        self.timer = None;
    }

    /// Something is left that cannot be written now; `has_taken`: some was, since the last call. Ready when nothing has been
    /// for [`WRITE_STALL`].
    pub(super) fn poll_over(&mut self, has_taken: bool, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL)));
        if has_taken {
            timer.as_mut().reset(Instant::now() + WRITE_STALL);
        }
        timer.as_mut().poll(context)
    }
}
