//! Whether a client sends its request body fast enough.
//!
//! A bound on silence alone lets a client send a byte a minute and hold a request, with the memory that is kept for it, for
//! days. So over each minute that is spent waiting for the client it must send a least number of bytes. Time in which the
//! provider is waited for does not count: then the client could not send more if it wanted.

use std::time::Duration;

/// Over how much waiting the rate is taken. Links that stall for some seconds are not slow by that.
pub const PERIOD: Duration = Duration::from_secs(60);

/// The rate of one body. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRate {
    /// The least number of bytes in a [`PERIOD`] of waiting.
    least: u64,
    /// How much of the present period has been waited.
    waited: Duration,
    /// Bytes that came in the present period.
    bytes: u64,
}

impl BodyRate {
    /// A body of which at least this many bytes are to come in a second; 0: however slowly.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { least: bytes_per_second.saturating_mul(PERIOD.as_secs()), waited: Duration::ZERO, bytes: 0 }
    }

    /// Notes that bytes came, after the client had been waited for as long as `waited`, which may be no time.
    pub fn on_bytes(&mut self, bytes: u64, waited: Duration) {
        if self.least == 0 {
            return;
        }
        self.waited = self.waited.saturating_add(waited);
        // Who has not sent enough has no new period by sending a little just when the old one ends.
        if self.waited >= PERIOD && self.bytes >= self.least {
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// How much longer the client may be waited for, from the moment the present wait began; `None`: it is not bounded.
    pub fn patience(&self) -> Option<Duration> {
        if self.least == 0 {
            return None;
        }
        let left = PERIOD.saturating_sub(self.waited);
        // Whoever has sent enough in this period has all of the next.
        Some(if self.bytes >= self.least { left.saturating_add(PERIOD) } else { left })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how long a client is given up that sends `bytes` after each wait of `every`; `None`: it sends `times` of them.
    fn given_up(rate: u64, bytes: u64, every: Duration, times: u32) -> Option<Duration> {
        let mut body = BodyRate::new(rate);
        for n in 0..times {
            if let Some(patience) = body.patience().filter(|patience| *patience < every) {
                return Some(every * n + patience);
            }
            body.on_bytes(bytes, every);
        }
        None
    }

    #[test]
    fn a_trickle_is_given_up_after_a_minute() {
        assert_eq!(given_up(1024, 1, SECOND, 1_000), Some(60 * SECOND));
        assert_eq!(given_up(1024, 1_000, 7 * SECOND, 1_000), Some(60 * SECOND));
        assert_eq!(given_up(1024, 0, 90 * SECOND, 10), Some(60 * SECOND));
    }

    #[test]
    fn the_least_rate_is_enough() {
        assert_eq!(given_up(1024, 1024, SECOND, 10_000), None);
        assert_eq!(given_up(1024, 60 * 1024, 59 * SECOND, 1_000), None);
        assert_eq!(given_up(0, 1, 1_000 * SECOND, 1_000), None);
    }

    #[test]
    fn what_came_at_once_does_not_pay_for_ever() {
        let mut body = BodyRate::new(1024);
        body.on_bytes(10_000_000, Duration::ZERO);
        assert_eq!(body.patience(), Some(120 * SECOND));
        body.on_bytes(1, 61 * SECOND);
        assert_eq!(body.patience(), Some(60 * SECOND));
    }

    #[test]
    fn enough_at_the_last_moment_is_enough() {
        let mut body = BodyRate::new(1024);
        body.on_bytes(60 * 1024, 60 * SECOND);
        assert_eq!(body.patience(), Some(60 * SECOND));
        body.on_bytes(1, 60 * SECOND);
        assert_eq!(body.patience(), Some(60 * SECOND));
        body.on_bytes(1, 60 * SECOND);
        assert_eq!(body.patience(), Some(Duration::ZERO));
    }

    #[test]
    fn waits_for_the_provider_do_not_count() {
        let mut body = BodyRate::new(1024);
        // It sends whenever it may, and is never waited for.
        for _ in 0..1_000 {
            body.on_bytes(1, Duration::ZERO);
        }
        assert_eq!(body.patience(), Some(PERIOD));
    }

    proptest! {
        /// Whoever sends twice the least rate, in pieces at most half a minute apart, is never given up; whoever sends half
        /// of it is, within two minutes.
        #[test]
        fn fast_enough_goes_on_and_slow_ends(
            waits in prop::collection::vec(1_u64..=30, 1..200),
            rate in 1_u64..100_000,
        ) {
            let (mut fast, mut slow) = (BodyRate::new(rate), BodyRate::new(rate));
            let (mut elapsed, mut has_ended) = (0, false);
            for wait in waits {
                let waited = Duration::from_secs(wait);
                prop_assert!(fast.patience().is_some_and(|patience| patience >= waited));
                fast.on_bytes(2 * rate * wait, waited);
                has_ended |= slow.patience().is_some_and(|patience| patience <= waited);
                slow.on_bytes(rate * wait / 2, waited);
                elapsed += wait;
                prop_assert!(has_ended || elapsed <= 120);
            }
        }
    }
}
