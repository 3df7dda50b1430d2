//! How many connections there may be at once, in all and of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections. The map has as many entries as there are connections at most.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection.
#[derive(Debug)]
pub(crate) struct Slot {
    limit: Arc<ConnectionLimit>,
    address: Option<IpAddr>,
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max: max.into(), max_per_address: max_per_address.into(), counts: Mutex::default() })
    }

    /// Changes both bounds, for connections from now on.
    pub(crate) fn set(&self, max: usize, max_per_address: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address.store(max_per_address, Ordering::Relaxed);
    }

    /// A place for a connection, if there is one; `None` for an address that is that of many clients.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address =
            address.and_then(|address| counts.by_address.get(&address)).copied().unwrap_or_default();
        if counts.total >= self.max.load(Ordering::Relaxed)
            || of_address >= self.max_per_address.load(Ordering::Relaxed)
        {
            return None;
        }
        counts.total += 1;
        if let Some(address) = address {
            *counts.by_address.entry(address).or_default() += 1;
        }
        Some(Slot { limit: Arc::clone(self), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.limit.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(count) = counts.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let limit = ConnectionLimit::new(3, 2);
        let (a, b) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let first = limit.take(a).unwrap();
        let _second = limit.take(a).unwrap();
        assert!(limit.take(a).is_none());
        let _third = limit.take(b).unwrap();
        assert!(limit.take(b).is_none());
        drop(first);
        assert!(limit.take(b).is_some());
        assert!(limit.take(a).is_some());
    }

    #[test]
    fn addresses_of_many_count_in_the_whole_only_and_bounds_can_change() {
        let limit = ConnectionLimit::new(2, 1);
        let _first = limit.take(None).unwrap();
        let _second = limit.take(None).unwrap();
        assert!(limit.take(None).is_none());
        limit.set(3, 1);
        assert!(limit.take(None).is_some());
    }
}
