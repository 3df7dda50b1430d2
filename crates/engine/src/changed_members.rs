//! Which members of a pool have changed since its order was looked at last: set by the credentials, taken by the pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Members in each word.
const BITS: usize = 64;

/// A mark for each member.
#[derive(Debug)]
pub(crate) struct ChangedMembers {
    any: AtomicBool,
    words: Box<[AtomicU64]>,
}

impl ChangedMembers {
    /// None of `members` has changed.
    pub(crate) fn new(members: usize) -> Self {
        let words = (0..members.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect();
        Self { any: AtomicBool::new(false), words }
    }

    /// The member at this place has changed, and what is known of it has been published.
    pub(crate) fn mark(&self, place: usize) {
        if let Some(word) = self.words.get(place / BITS) {
            word.fetch_or(1 << (place % BITS), Ordering::AcqRel);
            self.any.store(true, Ordering::Release);
        }
    }

    /// Takes the marks, and calls for each.
    pub(crate) fn take(&self, mut changed: impl FnMut(usize)) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        // Before the words are read: what is marked from here on sets it again.
        self.any.store(false, Ordering::Release);
        for (at, word) in self.words.iter().enumerate() {
            let mut marks = word.swap(0, Ordering::AcqRel);
            while marks != 0 {
                changed(at * BITS + usize::try_from(marks.trailing_zeros()).unwrap_or(0));
                marks &= marks - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_taken_once() {
        let changed = ChangedMembers::new(130);
        for place in [0, 63, 64, 129, 64, 5_000] {
            changed.mark(place);
        }
        let taken = || {
            let mut places = Vec::new();
            changed.take(|place| places.push(place));
            places
        };
        assert_eq!(taken(), [0, 63, 64, 129]);
        assert_eq!(taken(), [0; 0]);
        changed.mark(1);
        assert_eq!(taken(), [1]);
    }
}
