//! What picking a credential costs, by the code that serves requests, with many credentials and many sessions.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use trunkline_core::ids::{CredentialId, ServiceId, UserId};
use trunkline_core::selection::{
    Candidate, CredentialKind, Outcome, Pool, Quota, Ranking, RequestFacts, Strategy, Transport, WindowUse,
    by_place, is_usable, select, stays_with,
};
use trunkline_core::sessions::{PoolScope, SessionKey, SessionTable};

use crate::number::float;

/// How many credentials a pool has.
const CREDENTIALS: [u32; 4] = [1, 10, 100, 1_000];

/// How many sessions are bound.
const SESSIONS: [u32; 2] = [1_000, 100_000];

/// How long each is measured.
const WINDOW: Duration = Duration::from_millis(300);

/// How often in a row something is done between two looks at the clock.
const BATCH: u32 = 100;

/// Prints a table.
pub(crate) fn report() -> anyhow::Result<String> {
    let mut text = String::from(
        "| credentials | sessions | a session goes on, ns | by the order that is kept, ns | by the places, ns | by a look at all, ns |\n\
         |---|---|---|---|---|---|\n",
    );
    for credentials in CREDENTIALS {
        for sessions in SESSIONS {
            let [bound, ordered, placed, all] = measure(credentials, sessions)?;
            writeln!(
                text,
                "| {credentials} | {sessions} | {bound:.0} | {ordered:.0} | {placed:.0} | {all:.0} |"
            )?;
        }
    }
    Ok(text)
}

fn measure(credentials: u32, sessions: u32) -> anyhow::Result<[f64; 4]> {
    let now = SystemTime::now();
    let candidates: Vec<_> = (0..credentials).map(|n| candidate(n, now)).collect();
    let pool = Pool {
        strategy: Strategy::LeastUsed,
        rebalance_threshold: 0.0,
        candidates: &candidates,
        last_picked: None,
    };
    let mut table = SessionTable::new();
    let keys: Vec<_> = (0..sessions)
        .filter_map(|n| SessionKey::new(ServiceId(0), Some(UserId(n % 50)), &format!("session-{n:032x}")))
        .collect();
    for (n, key) in keys.iter().enumerate() {
        let at = u32::try_from(n)? % credentials;
        table.bind(key.clone(), CredentialId(at), PoolScope::All, now);
    }
    let mut next = 0;
    let bound = time(|| {
        // Far apart from each other, as requests of different sessions are.
        next = (next + 7_919) % keys.len();
        let key = keys.get(next)?;
        let binding = table.get(key, now)?;
        let own = candidates.get(usize::try_from(binding.credential.0).ok()?)?;
        let stays = stays_with(own, pool.strategy, &request(Some(key)), now);
        (stays && table.touch(key, now)).then_some(())
    })?;
    let mut ranking = Ranking::new(candidates.len());
    let ordered = time(|| {
        let now = SystemTime::now();
        if !ranking.is_current(now) {
            for (place, candidate) in candidates.iter().enumerate() {
                ranking.update(place, candidate, table.bound_to(candidate.id), now);
            }
            ranking.on_made(now);
        }
        // As a service does: another one has changed, and the best is brought up to date before it is picked.
        next = (next + 7_919) % candidates.len();
        let candidate = candidates.get(next)?;
        ranking.update(next, candidate, table.bound_to(candidate.id), now);
        let look = |place: usize, look: &mut dyn FnMut(&Candidate<'_>, usize)| {
            if let Some(candidate) = candidates.get(place) {
                look(candidate, table.bound_to(candidate.id));
            }
        };
        ranking.find(&request(None), now, look).map(drop)
    })?;
    let mut last = 0;
    let placed = time(|| {
        let now = SystemTime::now();
        let (strategy, request) = (Strategy::RoundRobin, request(None));
        let may = |candidate: &Candidate<'_>| is_usable(candidate, strategy, &request, false, now);
        last = by_place(strategy, candidates.len(), Some(last), 0, |at| candidates.get(at).is_some_and(may))?;
        Some(())
    })?;
    let all = time(|| match select(&pool, &request(None), &table, now, 0).outcome {
        Outcome::Picked(pick) => {
            black_box(pick);
            Some(())
        }
        _ => None,
    })?;
    Ok([bound, ordered, placed, all])
}

/// Nanoseconds for each call.
fn time(mut call: impl FnMut() -> Option<()>) -> anyhow::Result<f64> {
    let (mut calls, began) = (0_u64, Instant::now());
    while began.elapsed() < WINDOW {
        for _ in 0..BATCH {
            black_box(call()).context("no credential was picked")?;
        }
        calls += u64::from(BATCH);
    }
    ensure!(calls > 0, "nothing was measured");
    Ok(began.elapsed().as_secs_f64() * 1e9 / float(calls))
}

fn candidate(n: u32, now: SystemTime) -> Candidate<'static> {
    let used = f64::from(n % 90);
    let resets = |hours: u32| Some(now + Duration::from_secs(u64::from(hours) * 3_600));
    Candidate {
        id: CredentialId(n),
        tag: "credential",
        kind: CredentialKind::Login,
        users: None,
        models: &[],
        weight: 1.0,
        weight_is_set: false,
        weekly: WindowUse::new(99.0, Some(used), resets(1 + n % 160)),
        five_hour: WindowUse::new(99.0, Some(used / 2.0), resets(1 + n % 5)),
        facts: &[],
        carries_websocket: true,
    }
}

fn request(session: Option<&SessionKey>) -> RequestFacts<'_> {
    RequestFacts {
        user: Some("user"),
        allows_external: false,
        external_credential: None,
        model: Some("claude-opus-5"),
        transport: Transport::Http,
        needs_api_key: false,
        quota: Quota::Usual,
        session,
        tried: &[],
        has_awaited_refresh: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_finds_a_credential() {
        assert!(measure(10, 100).unwrap().iter().all(|nanos| *nanos > 0.0));
    }
}
