//! How everything that runs learns that it is to come to an end: first gently, then at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use trunkline_engine::client_connection::Ending;

/// Ends what it was given to: `stop` takes no more and lets what is under way finish, `abort` ends that as well.
///
/// Clones are the same one; a [`part`](Self::part) ends with the whole, and can be ended alone.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The same as `stop`, to be looked at without a lock.
    stopping: AtomicBool,
    stop: CancellationToken,
    abort: CancellationToken,
    whole: Option<Drain>,
}

impl Drain {
    /// One for a part: it ends when the whole does, or alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            shared: Arc::new(Shared {
                stopping: AtomicBool::new(false),
                stop: self.shared.stop.child_token(),
                abort: self.shared.abort.child_token(),
                whole: Some(self.clone()),
            }),
        }
    }

    /// Takes no more, and lets what is under way finish.
    pub fn stop(&self) {
        // Before the wake-ups: whoever is woken looks here first.
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.stop.cancel();
    }

    /// Ends what is under way. Stops as well.
    pub fn abort(&self) {
        self.stop();
        self.shared.abort.cancel();
    }

    /// Whether it was stopped. Cheap: it is asked at every turn of every connection.
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
            || self.shared.whole.as_ref().is_some_and(Drain::is_stopping)
    }

    /// The same, for what goes on over a connection.
    pub(crate) fn ending(&self) -> Ending {
        Ending { stop: self.shared.stop.clone(), abort: self.shared.abort.clone() }
    }

    /// Waits for the stop.
    pub fn stopped(&self) -> WaitForCancellationFuture<'_> {
        self.shared.stop.cancelled()
    }

    /// Waits for the abort.
    pub fn aborted(&self) -> WaitForCancellationFuture<'_> {
        self.shared.abort.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_ends_alone_or_with_the_whole() {
        let whole = Drain::default();
        let (one, other) = (whole.part(), whole.part());
        one.stop();
        one.stopped().await;
        assert!(one.is_stopping() && !other.is_stopping() && !whole.is_stopping());
        whole.abort();
        other.aborted().await;
        one.aborted().await;
        assert!(other.is_stopping() && whole.is_stopping());
        assert!(whole.part().is_stopping(), "a part made later is stopped from the start");
    }
}
