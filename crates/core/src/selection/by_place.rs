//! Picking by the members' places, which is all that `fallback`, `round_robin` and `random` go by: a few looks instead of one at
//! every member of a large pool.

use std::time::SystemTime;

use super::{Candidate, RequestFacts, Standing, Strategy};

/// How many members are looked at. Where so many are of no use, the whole pool has to be looked at.
pub const LOOKS: usize = 16;

/// The place that the strategy picks among `members`, if a few looks find it; then [`select`](super::select) finds the same,
/// except that `random` draws in its own way. `last`: the place that was picked last. `is_usable`: see [`is_usable`].
pub fn by_place(
    strategy: Strategy,
    members: usize,
    last: Option<usize>,
    random: u64,
    mut is_usable: impl FnMut(usize) -> bool,
) -> Option<usize> {
    let looks = LOOKS.min(members);
    match strategy {
        Strategy::LeastUsed => None,
        Strategy::Fallback => (0..looks).find(|place| is_usable(*place)),
        Strategy::RoundRobin => {
            let first = last.map_or(0, |last| last + 1);
            (first..first + looks).map(|place| place % members).find(|place| is_usable(*place))
        }
        // Until one is usable, which makes every usable one as likely as any other.
        Strategy::Random => (0..looks).find_map(|draw| {
            let drawn = (u128::from(mixed(random, draw)) * members as u128) >> 64;
            usize::try_from(drawn).ok().filter(|place| is_usable(*place))
        }),
    }
}

/// Whether a candidate can serve a request that has tried none yet, at no extra cost.
pub fn is_usable(
    candidate: &Candidate<'_>,
    strategy: Strategy,
    request: &RequestFacts<'_>,
    is_bound: bool,
    now: SystemTime,
) -> bool {
    super::standing(candidate, strategy, request, is_bound, now) == Standing::Usable
}

/// Another random number out of one (the finalizer of SplitMix64).
fn mixed(random: u64, draw: usize) -> u64 {
    let mut mixed = random.wrapping_add((draw as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{CredentialKind, Outcome, Pool, Quota, Strategy, Transport, WindowUse, select};
    use super::*;
    use crate::availability::BlockReason;
    use crate::ids::{CredentialId, ServiceId};
    use crate::selection::{BindingChange, Fact};
    use crate::sessions::{PoolScope, SessionKey, SessionTable};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn candidate(place: usize, is_key: bool, facts: &[Fact]) -> Candidate<'_> {
        Candidate {
            id: CredentialId(u32::try_from(place).unwrap()),
            tag: "",
            kind: if is_key { CredentialKind::ApiKey } else { CredentialKind::Login },
            users: None,
            models: &[],
            weight: 1.0,
            weight_is_set: false,
            weekly: WindowUse::new(99.0, None, None),
            five_hour: WindowUse::new(99.0, None, None),
            facts,
            carries_websocket: true,
        }
    }

    fn any_facts() -> impl proptest::strategy::Strategy<Value = Vec<Fact>> {
        let until = Some(NOW + Duration::from_secs(5));
        let blocked = |reason| vec![Fact::Blocked { reason, until }];
        prop_oneof![
            3 => Just(Vec::new()),
            1 => Just(blocked(BlockReason::Burst)),
            1 => Just(blocked(BlockReason::Connection)),
            1 => Just(blocked(BlockReason::PollFailed)),
            1 => Just(vec![Fact::Refreshing]),
        ]
    }

    fn any_strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
        prop::sample::select(&[Strategy::Fallback, Strategy::RoundRobin, Strategy::Random])
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_all_finds(
            members in prop::collection::vec((prop::bool::weighted(0.2), any_facts()), 1..40),
            strategy in any_strategy(),
            bound in prop::option::of(any::<prop::sample::Index>()),
            last in prop::option::of(any::<prop::sample::Index>()),
            random: u64,
        ) {
            let candidates: Vec<_> =
                members.iter().enumerate().map(|(place, (is_key, facts))| candidate(place, *is_key, facts)).collect();
            let session = SessionKey::new(ServiceId(0), None, "s").unwrap();
            let mut table = SessionTable::new();
            let bound = bound.map(|at| candidates[at.index(members.len())].id);
            let last = last.map(|at| at.index(members.len()));
            if let Some(bound) = bound {
                table.bind(session.clone(), bound, PoolScope::All, NOW);
            }
            let request = RequestFacts {
                user: None, allows_external: true, external_credential: None, model: None, transport: Transport::Http,
                needs_api_key: false, quota: Quota::Usual, session: Some(&session), tried: &[], has_awaited_refresh: false,
            };
            let pool = Pool {
                strategy, rebalance_threshold: 0.0, candidates: &candidates, last_picked: last.map(|at| candidates[at].id),
            };
            let look = |place: usize| {
                let candidate: &Candidate<'_> = &candidates[place];
                is_usable(candidate, strategy, &request, bound == Some(candidate.id), NOW)
            };
            let mut looks = 0;
            let found = by_place(strategy, members.len(), last, random, |place| { looks += 1; look(place) });
            prop_assert!(looks <= LOOKS);
            let Outcome::Picked(pick) = select(&pool, &request, &table, NOW, random).outcome else {
                prop_assert_eq!(found, None);
                return Ok(());
            };
            let Some(found) = found else { return Ok(()) };
            prop_assert!(look(found));
            // A session that stays is asked for before.
            let stays = strategy != Strategy::Fallback && bound == Some(pick.credential);
            if strategy != Strategy::Random && !stays {
                prop_assert_eq!(candidates[found].id, pick.credential);
                let is_bound = bound == Some(pick.credential);
                prop_assert_eq!(pick.was_bound, is_bound);
                prop_assert_eq!(pick.binding, if is_bound { BindingChange::Touch } else { BindingChange::Bind });
            }
        }

        #[test]
        fn one_of_a_few_looks_is_enough_where_most_are_usable(strategy in any_strategy(), last in 0..1_000_usize, random: u64) {
            let found = by_place(strategy, 1_000, Some(last), random, |place| place % 5 != 0);
            prop_assert!(found.is_some_and(|place| place < 1_000));
        }
    }

    #[test]
    fn chance_leaves_nobody_out() {
        let mut drawn = [0; 20];
        for random in 0..4_000_u64 {
            let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if let Some(place) = by_place(Strategy::Random, 20, None, random, |place| place % 2 == 0) {
                drawn[place] += 1;
            }
        }
        assert!(drawn.iter().step_by(2).all(|times| (300..500).contains(times)), "{drawn:?}");
        assert!(drawn.iter().skip(1).step_by(2).all(|times| *times == 0), "{drawn:?}");
    }

    #[test]
    fn an_empty_pool_has_nobody() {
        for strategy in [Strategy::Fallback, Strategy::RoundRobin, Strategy::Random, Strategy::LeastUsed] {
            assert_eq!(by_place(strategy, 0, Some(3), 7, |_| true), None);
        }
    }
}
