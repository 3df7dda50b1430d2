//! How much memory request bodies may take in this process, and how much of that one user may take.
//!
//! Everything that is held because of a request body is reserved here first: chunks that are kept for a repeat, and the
//! window and the output of a decoder that reads a compressed body. A reservation is given back when it is dropped.
//!
//! Shares are not fixed, since most users of a process are idle. The rule is that nobody may hold more than is still free:
//! one user alone can hold half of the budget, and then half of the rest is there for the second, and so on. Whatever one
//! user does, another one can still hold a whole body of the default `max_body`. (In switches that share a buffer between
//! ports this rule is known as *dynamic thresholds*.)
//!
//! Spec: config.md, `replay_buffer`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trunkline_core::client_address;
use trunkline_core::ids::UserId;

/// What all request bodies of the process may take together: 256 MiB (config.md, `replay_buffer`).
pub const PROCESS_BYTES: usize = 256 * 1024 * 1024;

/// What a user may hold even when less than that is free. Ordinary requests have a few hundred kilobytes, so users who
/// send such requests are served until the budget of the process is really used up.
pub const SMALL_SHARE: usize = 1024 * 1024;

/// Whose share of the budget a reservation is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user.
    User(UserId),
    /// Whoever sends from this network, where a service has no users. See [`Holder::at`].
    Network(IpAddr),
    /// The process itself, for its own requests.
    Process,
}

impl Holder {
    /// The holder for a request: its user, or, in a service without users, the client's network. A client that has a /64 of
    /// IPv6 has one share, not one for each of its addresses.
    pub fn at(user: Option<UserId>, address: IpAddr) -> Self {
        user.map_or_else(|| Self::Network(client_address::network_of(address)), Self::User)
    }
}

/// The budget of the process. See the module.
#[derive(Debug)]
pub struct MemoryBudget {
    total: usize,
    held: Mutex<Held>,
}

/// Who holds how much. The map has only those who hold something, so it is bounded by the number of requests.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(PROCESS_BYTES)
    }
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self { total, held: Mutex::default() }
    }

    /// What `holder` takes its reservations from.
    pub fn share_of(self: &Arc<Self>, holder: Holder) -> MemoryShare {
        MemoryShare { budget: Arc::clone(self), holder }
    }

    /// How many bytes are reserved, by everybody.
    pub fn reserved(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in it can panic half way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, holder: Holder, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let mut held = self.lock();
        let (Some(all), Some(of_holder)) = (
            held.all.checked_add(bytes).filter(|all| *all <= self.total),
            held.by_holder.get(&holder).copied().unwrap_or_default().checked_add(bytes),
        ) else {
            return false;
        };
        if of_holder > SMALL_SHARE && of_holder > self.total - all {
            return false;
        }
        held.all = all;
        held.by_holder.insert(holder, of_holder);
        true
    }

    fn give_back(&self, holder: Holder, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut held = self.lock();
        held.all = held.all.saturating_sub(bytes);
        if let Some(of_holder) = held.by_holder.get_mut(&holder) {
            *of_holder = of_holder.saturating_sub(bytes);
            if *of_holder == 0 {
                held.by_holder.remove(&holder);
            }
        }
    }
}

/// One holder's access to the budget. It reserves nothing by itself.
#[derive(Debug, Clone)]
pub struct MemoryShare {
    budget: Arc<MemoryBudget>,
    holder: Holder,
}

impl MemoryShare {
    /// A share in a budget that nobody else uses, for bodies of our own, which are small and there already.
    pub fn of_own() -> Self {
        Arc::<MemoryBudget>::default().share_of(Holder::Process)
    }

    /// Reserves `bytes`; `None` if the process or the holder would have too much then.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.empty();
        reservation.grow(bytes).then_some(reservation)
    }

    /// A reservation of nothing, which can grow.
    pub fn empty(&self) -> Reservation {
        Reservation { share: self.clone(), bytes: 0 }
    }
}

/// Reserved memory, given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    share: MemoryShare,
    bytes: usize,
}

impl Reservation {
    /// Reserves `more` bytes besides. `false`, and nothing has changed, if the process or the holder would have too much.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let taken = self.share.budget.take(self.share.holder, more);
        if taken {
            self.bytes += more;
        }
        taken
    }

    /// Gives back what is over `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.share.budget.give_back(self.share.holder, less);
    }

    /// How many bytes are reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn user(number: u32) -> Holder {
        Holder::User(UserId(number))
    }

    /// Reserves one MiB after the other until that is refused.
    fn exhaust(share: &MemoryShare) -> Reservation {
        let mut taken = share.empty();
        while taken.grow(MIB) {}
        taken
    }

    #[test]
    fn one_user_alone_has_half_and_leaves_others_a_whole_body() {
        let budget = Arc::new(MemoryBudget::default());
        let first = exhaust(&budget.share_of(user(1)));
        assert_eq!(first.bytes(), PROCESS_BYTES / 2);
        let second = exhaust(&budget.share_of(user(2)));
        assert_eq!(second.bytes(), 64 * MIB);
        let third = exhaust(&budget.share_of(user(3)));
        assert_eq!(third.bytes(), 32 * MIB);
        // Nothing more for the first, also in another reservation.
        assert!(budget.share_of(user(1)).reserve(1).is_none());
        drop(first);
        assert!(budget.share_of(user(1)).reserve(64 * MIB).is_some());
    }

    #[test]
    fn little_is_to_be_had_until_nothing_is_left() {
        let budget = Arc::new(MemoryBudget::new(4 * MIB));
        let all: Vec<_> = (0..4).map(|n| budget.share_of(user(n)).reserve(MIB)).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(budget.share_of(user(9)).reserve(1).is_none());
        drop(all);
        assert_eq!(budget.reserved(), 0);
        assert!(budget.lock().by_holder.is_empty());
    }

    #[test]
    fn a_refused_growth_leaves_what_was_there() {
        let budget = Arc::new(MemoryBudget::new(10 * MIB));
        let mut reservation = budget.share_of(user(1)).reserve(3 * MIB).unwrap();
        assert!(!reservation.grow(usize::MAX));
        assert!(!reservation.grow(4 * MIB));
        assert_eq!((reservation.bytes(), budget.reserved()), (3 * MIB, 3 * MIB));
        reservation.shrink_to(MIB);
        assert_eq!((reservation.bytes(), budget.reserved()), (MIB, MIB));
        reservation.shrink_to(2 * MIB);
        assert_eq!(budget.reserved(), MIB);
    }

    #[test]
    fn without_users_a_network_is_one_holder() {
        let at = |address: &str| Holder::at(None, address.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        // A user has one share, from wherever the requests come.
        let of = |address: &str| Holder::at(Some(UserId(7)), address.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.2"));
    }

    proptest! {
        /// Whatever is reserved and given back in whatever order: the sums are right, the bound of the process holds, no
        /// holder gets more than is free then (or the small share), and nothing is refused that these rules admit.
        #[test]
        fn sums_and_shares_hold(
            steps in prop::collection::vec((0_u32..5, 0_usize..40 * MIB, any::<prop::sample::Index>()), 1..80),
        ) {
            const TOTAL: usize = 64 * MIB;
            let budget = Arc::new(MemoryBudget::new(TOTAL));
            let mut kept: Vec<(u32, Reservation)> = Vec::new();
            for (number, bytes, which) in steps {
                let of = |kept: &[(u32, Reservation)]| -> usize {
                    kept.iter().filter(|(of, _)| *of == number).map(|(_, taken)| taken.bytes()).sum()
                };
                let (before, used) = (of(&kept), budget.reserved());
                if let Some(taken) = budget.share_of(user(number)).reserve(bytes) {
                    kept.push((number, taken));
                    let now = of(&kept);
                    prop_assert!(bytes == 0 || now <= SMALL_SHARE || now <= TOTAL - budget.reserved());
                } else {
                    prop_assert_eq!(budget.reserved(), used);
                    let after = before + bytes;
                    prop_assert!(used + bytes > TOTAL || (after > SMALL_SHARE && after > TOTAL - used - bytes));
                    let gone = which.index(kept.len() + 1);
                    if gone < kept.len() {
                        kept.remove(gone);
                    }
                }
                prop_assert_eq!(budget.reserved(), kept.iter().map(|(_, taken)| taken.bytes()).sum::<usize>());
                prop_assert!(budget.reserved() <= TOTAL);
            }
            kept.clear();
            prop_assert_eq!(budget.reserved(), 0);
            prop_assert!(budget.lock().by_holder.is_empty());
        }
    }
}
