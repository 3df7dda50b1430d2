//! Time and chance, which come from the caller: tests run in no time, and a caller can end a wait.

use std::time::{Duration, SystemTime};

/// A wait was ended by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended while waiting")]
pub struct Cancelled;

/// The clock, the waits and the chance of a refresh.
pub trait Waiter {
    /// Now, on the clock that sets the modification times of files.
    fn now(&self) -> SystemTime;

    /// Waits this long, at most a few seconds, or says that nobody wants to wait any longer.
    fn wait(&self, span: Duration) -> Result<(), Cancelled>;

    /// A random span below `bound`, so that two that collided do not collide again.
    fn jitter(&self, bound: Duration) -> Duration;
}
