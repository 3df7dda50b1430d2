//! Gates under the control of a test, and the bound on every wait.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long anything in this crate is waited for before the wait is an error.
///
/// It only bounds a hang, so it is far longer than anything takes on a machine that is busy with other programs, and longer than
/// what the program itself waits for before it tries again: a poll that failed is repeated after a minute.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A gate that is closed until it is set, and stays open: a waiter that comes late passes at once.
///
/// Clones are the same gate.
#[derive(Clone)]
pub struct Signal(Arc<watch::Sender<bool>>);

impl Signal {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens the gate for everyone who waits and everyone who will.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether the gate is open.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the gate is open, however long that takes: for scripts. A test uses [`Signal::reached`].
    pub async fn wait(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }

    /// Waits until the gate is open, no longer than [`PATIENCE`].
    pub async fn reached(&self) -> io::Result<()> {
        bounded("a signal", self.wait()).await
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.is_set()).finish()
    }
}

/// Waits for `future`, no longer than [`PATIENCE`]; the error of kind `TimedOut` names `what`.
pub async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_is_latched() {
        let signal = Signal::new();
        assert!(!signal.is_set());
        let waiter = tokio::spawn({
            let signal = signal.clone();
            async move { signal.reached().await }
        });
        signal.set();
        waiter.await.unwrap().unwrap();
        signal.reached().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_a_bound() {
        let error = Signal::new().reached().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
