//! The waits of the store, on a thread that may block; they end when nobody wants to wait any longer.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use trunkline_login_store::{Cancelled, Waiter};

/// Waits that can be ended. Clones end together.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<(Mutex<bool>, Condvar)>);

impl Waits {
    /// Ends the waits, those to come too.
    pub(super) fn end(&self) {
        let (ended, changed) = &*self.0;
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

impl Waiter for Waits {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&self, span: Duration) -> Result<(), Cancelled> {
        tracing::debug!(?span, "waiting for a login file, or for its locks");
        let (ended, changed) = &*self.0;
        let guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, span, |ended| !*ended);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *ended { Err(Cancelled) } else { Ok(()) }
    }

    fn jitter(&self, bound: Duration) -> Duration {
        bound.mul_f64(fastrand::f64())
    }
}
