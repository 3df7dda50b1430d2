//! How much is under way, and how much there has been.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests of a service or of a credential.
#[derive(Debug, Default)]
pub struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Requests whose answers have not ended.
    pub fn in_flight(&self) -> u64 {
        // Read in this order, so that one which begins and ends in between makes too many, not a negative number.
        let ended = self.ended.load(Ordering::Acquire);
        self.begun.load(Ordering::Acquire).saturating_sub(ended)
    }

    /// Requests that have begun, since the start.
    pub fn total(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
}

/// One request, counted as under way until dropped.
#[derive(Debug)]
pub struct Counted(Arc<Activity>);

impl Counted {
    /// Begins it.
    pub fn new(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_until_they_end() {
        let activity = Arc::default();
        let one = Counted::new(&activity);
        let two = Counted::new(&activity);
        drop(one);
        assert_eq!((activity.in_flight(), activity.total()), (1, 2));
        drop(two);
        assert_eq!((activity.in_flight(), activity.total()), (0, 2));
    }
}
