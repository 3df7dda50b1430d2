//! Slowing down whoever tries tokens: failures of authentication are answered later and later, per address.
//!
//! Spec: operations.md, *Security*. A valid token is never refused or delayed for the failures of others at its
//! address, so this is asked only once a token has been found wrong.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::client_address::network_of;

/// Failures within [`MEMORY`] that cost nothing: a person with an old token in one terminal notices no delay.
pub const FREE_FAILURES: u32 = 5;

/// How long a failure is remembered.
pub const MEMORY: Duration = Duration::from_secs(60);

/// The longest delay of one answer. Short enough that a real client with a wrong token still fails within seconds.
pub const MAX_DELAY: Duration = Duration::from_secs(2);

/// Addresses remembered at once; beyond it the one whose last failure is oldest is forgotten.
pub const MAX_ADDRESSES: usize = 4_096;

/// Failures of authentication by address.
#[derive(Debug, Default)]
pub struct AuthThrottle {
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl AuthThrottle {
    /// Notes one failure at `now` and says how long its answer is to be held back: nothing for the first
    /// [`FREE_FAILURES`], then 100 ms doubling to [`MAX_DELAY`].
    pub fn on_failure(&mut self, address: IpAddr, now: Instant) -> Duration {
        if self.failures.len() >= MAX_ADDRESSES && !self.failures.contains_key(&network_of(address)) {
            self.forget(now);
        }
        let entry = self.failures.entry(network_of(address)).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(entry.last) > MEMORY {
            entry.count = 0;
        }
        entry.last = now;
        entry.count = entry.count.saturating_add(1);
        match entry.count.checked_sub(FREE_FAILURES + 1) {
            None => Duration::ZERO,
            Some(over) => (Duration::from_millis(100) * 2_u32.pow(over.min(8))).min(MAX_DELAY),
        }
    }

    fn forget(&mut self, now: Instant) {
        self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) <= MEMORY);
        if self.failures.len() >= MAX_ADDRESSES
            && let Some(oldest) =
                self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(a, _)| *a)
        {
            self.failures.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn delays_grow_and_are_forgotten() {
        let mut throttle = AuthThrottle::default();
        let start = Instant::now();
        for _ in 0..FREE_FAILURES {
            assert_eq!(throttle.on_failure(A, start), Duration::ZERO);
        }
        assert_eq!(throttle.on_failure(A, start), Duration::from_millis(100));
        assert_eq!(throttle.on_failure(A, start), Duration::from_millis(200));
        for _ in 0..100 {
            throttle.on_failure(A, start);
        }
        assert_eq!(throttle.on_failure(A, start), MAX_DELAY);
        assert_eq!(throttle.on_failure(A, start + MEMORY + Duration::from_millis(1)), Duration::ZERO);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut throttle = AuthThrottle::default();
        let start = Instant::now();
        for n in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 50 {
            throttle.on_failure(IpAddr::V4(n.into()), start + Duration::from_millis(n.into()));
        }
        assert_eq!(throttle.failures.len(), MAX_ADDRESSES);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let mut throttle = AuthThrottle::default();
        let start = Instant::now();
        for n in 0..6_u16 {
            throttle.on_failure(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 2, 3, n)), start);
        }
        assert_eq!(throttle.failures.len(), 1);
    }
}
