//! Picking one of the usable candidates. Spec: routing.md, *Strategies*.

use std::cmp::Reverse;
use std::time::SystemTime;

use super::{Assessment, PickReason, Pool, Standing, Strategy, WindowUse};
use crate::ids::CredentialId;

const HOURS_OF_A_WEEK: f64 = 168.0;

/// What `least_used` goes by: `(weekly cap − weekly utilization) · weight · √(168 / max(1, hours until the weekly reset)) ·
/// (part of the 5-hour cap left)² / (1 + sessions bound)`; without a known reset that factor is 1.
///
/// routing.md has the first two factors and the third without its root. By these alone every new session goes to the
/// account whose week ends soonest until its 5-hour window is used up, and then all of them move, each at the price of its
/// prompt cache: simulated, that wastes many times what `round_robin` does (docs/simulation.md). Capacity that is lost
/// soon still comes first; the short window and the sessions that will go on using it keep it from being overrun.
pub fn score(
    weekly: &WindowUse,
    five_hour: &WindowUse,
    weight: f64,
    sessions: usize,
    now: SystemTime,
) -> f64 {
    let (weekly, five_hour) = (weekly.at(now), five_hour.at(now));
    let hours = weekly
        .resets_at
        .and_then(|reset| reset.duration_since(now).ok())
        .map_or(HOURS_OF_A_WEEK, |left| (left.as_secs_f64() / 3_600.0).max(1.0));
    let urgency = (HOURS_OF_A_WEEK / hours).sqrt();
    let score = (weekly.cap - weekly.effective) * weight * urgency * five_hour.part_left().powi(2)
        / shared_by(sessions);
    if score.is_nan() { 0.0 } else { score }
}

/// How many would share it, with this one: the table of sessions is bounded far below what a float counts exactly.
fn shared_by(sessions: usize) -> f64 {
    1.0 + f64::from(u32::try_from(sessions).unwrap_or(u32::MAX))
}

/// The best of a standing that has not been tried: by score, then with fewer sessions, then in order.
pub(super) fn least_used<'c, 'a>(
    assessed: &'c [Assessment<'a>],
    standing: Standing<'_>,
) -> Option<&'c Assessment<'a>> {
    open(assessed, standing)
        // `max_by` gives the last of equals: the positions are compared too, reversed.
        .enumerate()
        .max_by(|(n, a), (m, b)| {
            a.score
                .total_cmp(&b.score)
                .then_with(|| (Reverse(a.sessions), Reverse(n)).cmp(&(Reverse(b.sessions), Reverse(m))))
        })
        .map(|(_, best)| best)
}

fn open<'c, 'a>(
    assessed: &'c [Assessment<'a>],
    standing: Standing<'_>,
) -> impl Iterator<Item = &'c Assessment<'a>> {
    assessed.iter().filter(move |one| one.standing == standing && !one.is_tried)
}

/// Picks by the strategy among the usable, else among those that cost extra, else among those of which only the poll
/// failed, else among those that refused a moment ago without saying for how long.
pub(super) fn pick(
    pool: &Pool<'_>,
    assessed: &[Assessment<'_>],
    random: u64,
) -> Option<(CredentialId, PickReason)> {
    [
        (Standing::Usable, PickReason::Strategy),
        (Standing::UsableAtCost, PickReason::LastResort),
        (Standing::PollFailed, PickReason::PollFailed),
        (Standing::Throttled, PickReason::Throttled),
    ]
    .into_iter()
    .find_map(|(standing, reason)| {
        let picked = match pool.strategy {
            Strategy::LeastUsed => least_used(assessed, standing),
            Strategy::Fallback => open(assessed, standing).next(),
            Strategy::RoundRobin => after_last(assessed, standing, pool.last_picked),
            Strategy::Random => {
                let count = open(assessed, standing).count();
                let at = (u128::from(random) * count as u128) >> 64;
                open(assessed, standing).nth(usize::try_from(at).unwrap_or(0))
            }
        };
        picked.map(|one| (one.credential, reason))
    })
}

/// The next after the one picked last, in the order of the pool and round.
fn after_last<'c, 'a>(
    assessed: &'c [Assessment<'a>],
    standing: Standing<'_>,
    last: Option<CredentialId>,
) -> Option<&'c Assessment<'a>> {
    let position = last.and_then(|last| assessed.iter().position(|one| one.credential == last));
    let later = position.and_then(|at| assessed.get(at + 1..)).unwrap_or(assessed);
    open(later, standing).next().or_else(|| open(assessed, standing).next())
}
