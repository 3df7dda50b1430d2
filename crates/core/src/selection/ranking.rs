//! The order of a pool under `least_used`, kept up to date piece by piece, so that picking from a thousand credentials costs no
//! more than picking from ten.
//!
//! What [`select`](super::select) would find is found here for requests that are like any other: without a session, or with a
//! new one, that have not been tried yet. What depends on the request beyond that ([`Ranking::best`] gives `None`) is for
//! `select`. Scores change slowly with time, so that the order is made anew once in [`MAX_AGE`]; whoever picks brings the best
//! one up to date first, so that what is picked is usable for certain, and at worst the second best by a breath.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Candidate, CredentialKind, Fact, RequestFacts, Scope, Standing, Strategy, Transport};

/// How old the order may be.
pub const MAX_AGE: Duration = Duration::from_secs(1);

/// The order of a pool.
#[derive(Debug)]
pub struct Ranking {
    order: BTreeSet<Rank>,
    places: Vec<Place>,
    /// Members that not every request may have.
    particular: usize,
    made_at: Option<SystemTime>,
}

/// What is known of one member.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    rank: Option<Rank>,
    is_particular: bool,
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
        let places = vec![Place::default(); members];
        Self { order: BTreeSet::new(), places, particular: 0, made_at: None }
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
        let Some(known) = self.places.get_mut(place) else { return };
        let is_particular = is_particular(candidate, now);
        let rank = rank(place, candidate, sessions, now);
        let before = std::mem::replace(known, Place { rank, is_particular });
        self.particular = self.particular + usize::from(is_particular) - usize::from(before.is_particular);
        if before.rank != rank {
            if let Some(before) = before.rank {
                self.order.remove(&before);
            }
            self.order.extend(rank);
        }
    }

    /// The place of the best member. `None`: none is usable, or it depends on the request.
    pub fn best(&self) -> Option<usize> {
        (self.particular == 0).then(|| self.order.first().map(|rank| rank.place)).flatten()
    }
}

/// A request like any other.
const PLAIN: RequestFacts<'_> = RequestFacts {
    user: None,
    allows_external: true,
    external_credential: None,
    model: None,
    transport: Transport::Http,
    needs_api_key: false,
    session: None,
    tried: &[],
    has_awaited_refresh: false,
};

fn is_particular(candidate: &Candidate<'_>, now: SystemTime) -> bool {
    let is_of_some_models = |fact: &Fact| {
        matches!(
            fact,
            Fact::RateLimited { scope: Scope::ModelFamily(_), .. }
                | Fact::Capped { scope: Scope::ModelFamily(_), .. }
        )
    };
    candidate.kind == CredentialKind::External
        || candidate.users.is_some()
        || !candidate.models.is_empty()
        || candidate
            .facts
            .iter()
            .any(|fact| is_of_some_models(fact) && fact.until().is_none_or(|until| until > now))
}

fn rank(place: usize, candidate: &Candidate<'_>, sessions: usize, now: SystemTime) -> Option<Rank> {
    let costs_extra = match super::standing(candidate, Strategy::LeastUsed, &PLAIN, false, now) {
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
    use crate::selection::{ModelFamily, Window};
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
                        2 if members.len() % 7 == 0 => {
                            vec![limit(Scope::ModelFamily(ModelFamily { name: "opus".into(), models: vec![] }))]
                        }
                        3 => vec![Fact::Blocked { reason: BlockReason::PollFailed, until }],
                        _ => Vec::new(),
                    }
                })
                .collect();
            let mut candidates: Vec<Candidate<'_>> = members
                .iter()
                .zip(&facts)
                .zip(&weights)
                .enumerate()
                .map(|(place, ((&(week, hours, reset, is_key, _, _), facts), weight))| Candidate {
                    id: CredentialId(u32::try_from(place).unwrap()),
                    tag: "x",
                    kind: if is_key { CredentialKind::ApiKey } else { CredentialKind::Login },
                    users: None,
                    models: &[],
                    weight: *weight,
                    weight_is_set: false,
                    weekly: WindowUse::new(99.0, Some(week), Some(at(f64::from(reset) * 3_600.0))),
                    five_hour: WindowUse::new(99.0, Some(hours), None),
                    facts,
                    carries_websocket: false,
                })
                .collect();
            let mut ranking = Ranking::new(candidates.len());
            prop_assert!(!ranking.is_current(now) && ranking.best().is_none());
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
            let found = select(&pool, &PLAIN, &SessionTable::new(), now, 0);
            let usable = found.assessed.iter().any(|one| one.standing.is_usable());
            match (ranking.best(), &found.outcome) {
                (Some(best), Outcome::Picked(pick)) => prop_assert_eq!(candidates[best].id, pick.credential),
                (Some(best), other) => prop_assert!(false, "{best} is usable, and {other:?}"),
                (None, _) => prop_assert!(!usable || candidates.iter().any(|one| is_particular(one, now))),
            }
        }
    }
}
