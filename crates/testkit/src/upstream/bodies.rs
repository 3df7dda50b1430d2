//! Bounds on the request bodies that an upstream holds: whoever reaches it may be anyone on this machine.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Largest body of an HTTP/1.1 request, in bytes: four times what the provider takes.
const MAX_BODY: usize = 128 << 20;

/// Most bytes of bodies that HTTP/1.1 requests under way may have together. What is recorded is not counted: see
/// [`super::Upstream::set_recording`].
const MAX_HELD: usize = 512 << 20;

/// How many bytes of bodies there are.
#[derive(Debug, Default)]
pub(super) struct Bodies(AtomicUsize);

impl Bodies {
    /// Room for one more body, empty at first.
    pub(super) fn body(&self) -> Held<'_> {
        Held { bodies: self, bytes: 0 }
    }
}

/// The bytes of one request's body, counted until dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    bodies: &'a Bodies,
    bytes: usize,
}

impl Held<'_> {
    /// Takes `count` bytes more; whether there was room.
    pub(super) fn take(&mut self, count: usize) -> bool {
        self.bytes = self.bytes.saturating_add(count);
        let held = self.bodies.0.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        self.bytes <= MAX_BODY && held <= MAX_HELD
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_one_by_one_and_together() {
        let bodies = Bodies::default();
        let mut one = bodies.body();
        assert!(one.take(MAX_BODY));
        assert!(!one.take(1));
        drop(one);
        let mut held: Vec<_> = (0..MAX_HELD / MAX_BODY).map(|_| bodies.body()).collect();
        assert!(held.iter_mut().all(|held| held.take(MAX_BODY)));
        assert!(!bodies.body().take(1));
        held.pop();
        assert!(bodies.body().take(1));
        drop(held);
        assert_eq!(bodies.0.load(Ordering::Relaxed), 0);
    }
}
