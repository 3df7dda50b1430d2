//! How many lines of the log one client may cause.
//!
//! A client that is refused, or goes away before it is answered, costs a line of the log each time, and can do so thousands
//! of times a second. So such lines have a rate for each client; what is over it is counted instead, and the count is
//! written in one line from time to time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Lines that a client may cause at once. An agent that is refused retries some ten times, and there may be a dozen agents.
pub const BURST: u32 = 200;

/// Lines that a client may cause in a second after that.
pub const PER_SECOND: u32 = 5;

/// How long lines are counted before the count is written.
pub const COUNTED_FOR: Duration = Duration::from_secs(30);

/// Clients that are known at once: at most 400 KB. Beyond it lines of further clients are counted together.
pub const MAX_CLIENTS: usize = 4_096;

/// Whether a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Written,
    /// It is counted. `is_first`: nothing had been counted since the last call of [`LogRate::take_left_out`], so that
    /// should be called in [`COUNTED_FOR`].
    LeftOut {
        /// See above.
        is_first: bool,
    },
}

/// What was left out of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Lines about the client that was asked for.
    pub of_client: u64,
    /// Lines about clients that were not remembered.
    pub of_others: u64,
}

/// The lines of all clients. See the module.
#[derive(Debug)]
pub struct LogRate<K> {
    clients: HashMap<K, Lines>,
    of_others: u64,
}

#[derive(Debug)]
struct Lines {
    /// What may still be written at once, in parts of a line: one for each millisecond's share.
    allowance: u64,
    at: Instant,
    left_out: u64,
}

/// Parts that make a line, so that a millisecond's share of [`PER_SECOND`] is a whole number of them.
const LINE: u64 = 1_000;
const FULL: u64 = BURST as u64 * LINE;

impl<K> Default for LogRate<K> {
    fn default() -> Self {
        Self { clients: HashMap::new(), of_others: 0 }
    }
}

impl Lines {
    fn refill(&mut self, now: Instant) {
        let millis = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.allowance =
                self.allowance.saturating_add(millis.saturating_mul(u64::from(PER_SECOND))).min(FULL);
            self.at = now;
        }
    }
}

impl<K: Hash + Eq> LogRate<K> {
    /// Asks for a line about `client` at `now`.
    pub fn admit(&mut self, client: K, now: Instant) -> Admission {
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&client) {
            // Of those who have all of their allowance again, nothing need be known.
            self.clients.retain(|_, lines| {
                lines.refill(now);
                lines.allowance < FULL || lines.left_out > 0
            });
            if self.clients.len() >= MAX_CLIENTS {
                self.of_others = self.of_others.saturating_add(1);
                return Admission::LeftOut { is_first: false };
            }
        }
        let lines = self.clients.entry(client).or_insert(Lines { allowance: FULL, at: now, left_out: 0 });
        lines.refill(now);
        if let Some(left) = lines.allowance.checked_sub(LINE) {
            lines.allowance = left;
            return Admission::Written;
        }
        lines.left_out = lines.left_out.saturating_add(1);
        Admission::LeftOut { is_first: lines.left_out == 1 }
    }

    /// How many lines were left out since the last call.
    pub fn take_left_out(&mut self, client: &K) -> LeftOut {
        let of_client = self.clients.get_mut(client).map_or(0, |lines| std::mem::take(&mut lines.left_out));
        LeftOut { of_client, of_others: std::mem::take(&mut self.of_others) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_ends() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        let written = (0..50_000_u64)
            .filter(|n| {
                rate.admit("a", start + Duration::from_millis(n * 15_000 / 50_000)) == Admission::Written
            })
            .count();
        assert_eq!(written, 200 + 15 * 5 - 1);
        assert_eq!(rate.take_left_out(&"a"), LeftOut { of_client: 50_000 - 274, of_others: 0 });
        assert_eq!(rate.take_left_out(&"a"), LeftOut::default());
        // Another client is not affected, and this one is heard again.
        assert_eq!(rate.admit("b", start), Admission::Written);
        assert_eq!(rate.admit("a", start + Duration::from_secs(16)), Admission::Written);
    }

    #[test]
    fn only_the_first_that_is_left_out_asks_for_the_count() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(rate.admit(1, start), Admission::Written);
        }
        assert_eq!(rate.admit(1, start), Admission::LeftOut { is_first: true });
        assert_eq!(rate.admit(1, start), Admission::LeftOut { is_first: false });
        assert_eq!(rate.take_left_out(&1).of_client, 2);
        assert_eq!(rate.admit(1, start), Admission::LeftOut { is_first: true });
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_quiet() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        for n in 0..MAX_CLIENTS {
            assert_eq!(rate.admit(n, start), Admission::Written);
        }
        assert_eq!(rate.admit(MAX_CLIENTS, start), Admission::LeftOut { is_first: false });
        assert_eq!(rate.clients.len(), MAX_CLIENTS);
        assert_eq!(rate.take_left_out(&0), LeftOut { of_client: 0, of_others: 1 });
        assert_eq!(rate.admit(MAX_CLIENTS, start + Duration::from_secs(1)), Admission::Written);
        assert_eq!(rate.clients.len(), 1);
    }

    proptest! {
        /// Every line is either written or counted, and no more are written than the rate admits.
        #[test]
        fn nothing_is_forgotten(waits in prop::collection::vec(0_u64..2_000, 1..1_000)) {
            let (mut rate, start) = (LogRate::default(), Instant::now());
            let (mut at, mut written) = (0, 0);
            for wait in &waits {
                at += wait;
                written += u64::from(rate.admit((), start + Duration::from_millis(at)) == Admission::Written);
            }
            prop_assert_eq!(written + rate.take_left_out(&()).of_client, waits.len() as u64);
            prop_assert!(written <= u64::from(BURST) + at * u64::from(PER_SECOND) / 1_000 + 1);
        }
    }
}
