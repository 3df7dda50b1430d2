//! The order of a pool under `least_used`, kept up to date piece by piece, so that picking from a thousand credentials costs no
//! more than picking from ten.
//!
//! What [`select`](super::select) would find is found here for requests that are bound to nothing and have not been tried yet. In the
//! order stand all members that are usable at all; whether one serves this request is asked when its turn comes
//! ([`Ranking::find`]). Scores change slowly with time, so that the order is made anew once in [`MAX_AGE`]; whoever picks brings
//! the best one up to date first, so that what is picked is usable for certain, and at worst the second best by a breath.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Candidate, Quota, RequestFacts, Standing, Strategy, Transport};

/// How old the order may be.
pub const MAX_AGE: Duration = Duration::from_secs(1);

/// How many members are looked at for one request, before all of them are.
const LOOKS: usize = 16;

/// The order of a pool.
#[derive(Debug)]
pub struct Ranking {
    order: BTreeSet<Rank>,
    /// Where each member stands in it.
    ranks: Vec<Option<Rank>>,
    made_at: Option<SystemTime>,
}

/// Where a member stands. The best comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    costs_extra: bool,
    /// Its score, so that a higher one comes first.
    score: u64,
    sessions: usize,
    place: usize,
}

impl Ranking {
    /// The order of a pool of which nothing is known.
    pub fn new(members: usize) -> Self {
        Self { order: BTreeSet::new(), ranks: vec![None; members], made_at: None }
    }

    /// Whether every member was brought up to date within [`MAX_AGE`].
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.made_at.is_some_and(|made| now.duration_since(made).is_ok_and(|age| age < MAX_AGE))
    }

    /// Every member has just been brought up to date.
    pub fn on_made(&mut self, now: SystemTime) {
        self.made_at = Some(now);
    }

    /// Brings the member at `place` up to date. `sessions`: how many are bound to it.
    pub fn update(&mut self, place: usize, candidate: &Candidate<'_>, sessions: usize, now: SystemTime) {
        let Some(known) = self.ranks.get_mut(place) else { return };
        let rank = rank(place, candidate, sessions, now);
        let before = std::mem::replace(known, rank);
        if before != rank {
            if let Some(before) = before {
                self.order.remove(&before);
            }
            self.order.extend(rank);
        }
    }

    /// The place of the best member that serves `request`, each brought up to date before it is taken. `with` calls what it is
    /// given with the member at a place and how many sessions are bound to it. `None`: a few looks do not tell.
    pub fn find(
        &mut self,
        request: &RequestFacts<'_>,
        now: SystemTime,
        mut with: impl FnMut(usize, &mut dyn FnMut(&Candidate<'_>, usize)),
    ) -> Option<usize> {
        let mut passed = 0;
        for _ in 0..LOOKS {
            let place = self.nth(passed)?;
            let mut serves = false;
            with(place, &mut |candidate, sessions| {
                self.update(place, candidate, sessions, now);
                let standing = super::standing(candidate, Strategy::LeastUsed, request, false, now);
                serves = standing.is_usable() && !request.tried.contains(&candidate.id);
            });
            match self.nth(passed) == Some(place) {
                true if serves => return Some(place),
                true => passed += 1,
                // It has fallen behind another.
                false => {}
            }
        }
        None
    }

    fn nth(&self, nth: usize) -> Option<usize> {
        self.order.iter().nth(nth).map(|rank| rank.place)
    }
}

/// A request that any member may serve.
const PLAIN: RequestFacts<'_> = RequestFacts {
    user: None,
    allows_external: true,
    external_credential: None,
    model: None,
    transport: Transport::Http,
    needs_api_key: false,
    quota: Quota::Usual,
    session: None,
    tried: &[],
    has_awaited_refresh: false,
};

fn rank(place: usize, candidate: &Candidate<'_>, sessions: usize, now: SystemTime) -> Option<Rank> {
    let for_anybody = Candidate { users: None, ..*candidate };
    let costs_extra = match super::standing(&for_anybody, Strategy::LeastUsed, &PLAIN, false, now) {
        Standing::Usable => false,
        Standing::UsableAtCost => true,
        _ => return None,
    };
    let score =
        super::score(&candidate.weekly, &candidate.five_hour, candidate.sound_weight(), sessions, now);
    Some(Rank { costs_extra, score: descending(score), sessions, place })
}

/// A number in whose order higher scores come first, as [`f64::total_cmp`] has it.
fn descending(score: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = score.to_bits();
    // Negative numbers grow with their bits, in the wrong direction.
    if bits & SIGN == 0 { !(bits | SIGN) } else { bits }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Outcome, Pool, WindowUse, select};
    use super::*;
    use crate::availability::BlockReason;
    use crate::ids::CredentialId;
    use crate::selection::{CredentialKind, Fact, ModelFamily, Scope, Window};
    use crate::sessions::SessionTable;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(1_800_000_000)
            + Duration::from_secs_f64(1_000.0 + seconds)
    }

    proptest! {
        #[test]
        fn higher_scores_come_first(one in any::<f64>(), other in any::<f64>()) {
            prop_assert_eq!(descending(one).cmp(&descending(other)), other.total_cmp(&one));
        }

        #[test]
        fn the_best_is_what_selection_finds(
            members in prop::collection::vec(
                (0.0..110.0_f64, 0.0..110.0_f64, 1_u32..200, any::<bool>(), prop::option::of(-5.0..50.0_f64), 0_u8..6),
                1..40,
            ),
            changed in prop::collection::vec((any::<prop::sample::Index>(), 0.0..110.0_f64), 0..10),
            weights in prop::collection::vec(0.5..20.0_f64, 40),
            is_opus: bool,
        ) {
            let now = at(0.0);
            let facts: Vec<Vec<Fact>> = members
                .iter()
                .map(|&(_, _, _, _, until, what)| {
                    let until = until.map(at);
                    let limit = |scope| Fact::RateLimited { window: Window::Weekly, scope, until };
                    match what {
                        0 => vec![Fact::Blocked { reason: BlockReason::Burst, until }],
                        1 => vec![limit(Scope::All)],
                        2 => {
                            let models = vec!["*opus*".to_owned()];
                            vec![limit(Scope::ModelFamily(ModelFamily { name: "opus".into(), models }))]
                        }
                        3 => vec![Fact::Blocked { reason: BlockReason::PollFailed, until }],
                        _ => Vec::new(),
                    }
                })
                .collect();
            let (others, sonnets) = (&["bob".to_owned()][..], &["*sonnet*".to_owned()][..]);
            let mut candidates: Vec<Candidate<'_>> = members
                .iter()
                .zip(&facts)
                .zip(&weights)
                .enumerate()
                .map(|(place, ((&(week, hours, reset, is_key, _, _), facts), weight))| Candidate {
                    id: CredentialId(u32::try_from(place).unwrap()),
                    tag: "x",
                    users: (place % 5 == 0).then_some(others),
                    models: if place % 7 == 0 { sonnets } else { &[] },
                    kind: if is_key { CredentialKind::ApiKey } else { CredentialKind::Login },
                    weight: *weight,
                    weight_is_set: false,
                    weekly: WindowUse::new(99.0, Some(week), Some(at(f64::from(reset) * 3_600.0))),
                    five_hour: WindowUse::new(99.0, Some(hours), None),
                    facts,
                    carries_websocket: false,
                })
                .collect();
            let mut ranking = Ranking::new(candidates.len());
            prop_assert!(!ranking.is_current(now) && ranking.nth(0).is_none());
            for (place, candidate) in candidates.iter().enumerate() {
                ranking.update(place, candidate, 0, now);
            }
            ranking.on_made(now);
            // One after the other changes, and is the only one that is looked at again.
            for (place, week) in changed {
                let place = place.index(candidates.len());
                candidates[place].weekly = WindowUse::new(99.0, Some(week), None);
                ranking.update(place, &candidates[place], 0, now);
            }
            prop_assert!(ranking.is_current(now) && !ranking.is_current(at(1.0)) && !ranking.is_current(at(-1.0)));
            let pool = Pool {
                strategy: super::Strategy::LeastUsed, rebalance_threshold: 0.0, candidates: &candidates, last_picked: None,
            };
            let model = Some(if is_opus { "claude-opus-4-8" } else { "claude-sonnet-5" });
            let request = RequestFacts { user: Some("alice"), model, ..PLAIN };
            let table = SessionTable::new();
            let found = select(&pool, &request, &table, now, 0);
            let mut looks = 0;
            let best = ranking.find(&request, now, |place, look| {
                looks += 1;
                look(&candidates[place], 0);
            });
            let usable = found.assessed.iter().filter(|one| one.standing.is_usable()).count();
            match (best, &found.outcome) {
                (Some(best), Outcome::Picked(pick)) => prop_assert_eq!(candidates[best].id, pick.credential),
                (Some(best), other) => prop_assert!(false, "{best} is usable, and {other:?}"),
                (None, _) => prop_assert!(usable == 0 || looks == LOOKS),
            }
        }
    }
}
