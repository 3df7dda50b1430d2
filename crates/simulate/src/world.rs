//! The run: events in the order of time.

mod check;
mod request;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use trunkline_core::ids::{CredentialId, ServiceId};
use trunkline_core::selection::{
    Candidate, CredentialKind, Fact, Outcome, Pool, Quota, RequestFacts, Strategy, Transport, moves_binding,
    select,
};
use trunkline_core::sessions::{PoolScope, SessionKey, SessionTable};

use crate::account::{Account, Told};
use crate::flight::{Flight, Session};
use crate::invariants::{Violation, Watch};
use crate::known::Known;
use crate::tally::Tally;
use crate::workload::Workload;

/// What a workload is run under.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// How credentials are picked.
    pub strategy: Strategy,
    /// When sessions are moved for balance, in percent; 0: never.
    pub rebalance_threshold: f64,
    /// What chance is drawn from.
    pub seed: u64,
}

/// How often an account is polled that nothing was heard of.
const POLL_AFTER: Duration = Duration::from_secs(60 * 60);

/// 2026-01-05 00:00 UTC, a Monday.
const BEGIN: Duration = Duration::from_secs(1_767_571_200);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A session asks for its next turn, or again.
    Turn(usize),
    /// The head of an answer is in.
    Head(u64),
    /// An answer has ended.
    End(u64),
    /// An account may be polled.
    Poll(usize),
}

pub(crate) struct World<'w> {
    workload: &'w Workload,
    setting: &'w Setting,
    begin: SystemTime,
    now: SystemTime,
    queue: BinaryHeap<Reverse<(SystemTime, u64, Event)>>,
    scheduled: u64,
    accounts: Vec<Account>,
    known: Vec<Known>,
    tags: Vec<String>,
    table: SessionTable,
    last_picked: Option<CredentialId>,
    sessions: Vec<Session>,
    flights: BTreeMap<u64, Flight>,
    in_flight: Vec<f64>,
    was_out: Vec<bool>,
    rng: Rng,
    tally: Tally,
    watch: Watch,
}

/// Does a workload's work under a setting, and says what came of it and what did not hold.
pub fn run(workload: &Workload, setting: &Setting) -> (Tally, Vec<Violation>) {
    let mut world = World::new(workload, setting);
    let end = world.begin + workload.lasts;
    while let Some(Reverse((at, _, event))) = world.queue.pop() {
        if at > end {
            break;
        }
        world.now = at;
        match event {
            Event::Turn(session) => world.turn(session),
            Event::Head(flight) => world.head(flight),
            Event::End(flight) => world.end(flight),
            Event::Poll(account) => world.poll(account),
        }
    }
    world.finish(end)
}

impl<'w> World<'w> {
    fn new(workload: &'w Workload, setting: &'w Setting) -> Self {
        let begin = SystemTime::UNIX_EPOCH + BEGIN;
        let count = workload.plans.len();
        let session = |(at, spec): (usize, &crate::workload::SessionSpec)| {
            let key = SessionKey::new(ServiceId(0), None, &format!("session {at}"))?;
            Some(Session { spec: *spec, key, turn: 0, last: None, asked_at: None, refusals: 0 })
        };
        let mut world = Self {
            workload,
            setting,
            begin,
            now: begin,
            queue: BinaryHeap::new(),
            scheduled: 0,
            accounts: workload.plans.iter().map(|plan| Account::new(plan, begin)).collect(),
            known: (0..count).map(|_| Known::default()).collect(),
            tags: (0..count).map(|at| format!("account-{at}")).collect(),
            table: SessionTable::new(),
            last_picked: None,
            sessions: workload.sessions.iter().enumerate().filter_map(session).collect(),
            flights: BTreeMap::new(),
            in_flight: vec![0.0; count],
            was_out: vec![false; count],
            rng: Rng::with_seed(setting.seed),
            tally: Tally { by_account: vec![0; count], ..Tally::default() },
            watch: Watch::new(begin, count),
        };
        for account in 0..count {
            world.schedule(begin, Event::Poll(account));
        }
        for at in 0..world.sessions.len() {
            world.schedule(begin + workload.sessions[at].begins, Event::Turn(at));
        }
        world
    }

    fn schedule(&mut self, at: SystemTime, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled, event)));
    }

    fn head(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.has_head = true;
        let (account, session) = (flight.account, flight.session);
        let tries = flight.tries.clone();
        let rewritten = flight.rewritten;
        let told = self.accounts[account].told(self.now);
        self.observe(account, &told);
        self.known[account].succeed();
        self.watch.told(account, &told, self.in_flight[account]);

        let key = self.sessions[session].key.clone();
        let credential = id_of(account);
        let bound = self.table.get(&key, self.now).map(|binding| binding.credential);
        if !tries.tried.is_empty() && bound != Some(credential) {
            if moves_binding(tries.was_bound, tries.hopped) {
                self.table.bind(key, credential, PoolScope::All, self.now);
            }
            if tries.moved_for.is_none() {
                self.watch
                    .violated(self.now, || format!("session {session} moved to {account} without a reason"));
            }
        }
        self.tally.answered += 1;
        self.tally.by_account[account] += 1;
        if rewritten > 0.0 {
            self.tally.cold_moves += 1;
            self.tally.rewritten += rewritten;
        }
        let state = &mut self.sessions[session];
        let turn = state.spec.turn(state.turn);
        let asked_at = state.asked_at.take().unwrap_or(self.now);
        if std::mem::take(&mut state.refusals) > 0 {
            let waited = self.now.duration_since(asked_at).unwrap_or_default();
            self.tally.refused_units += turn.warm * self.workload.scale;
            self.tally.waited += turn.warm * self.workload.scale * waited.as_secs_f64() / 3_600.0;
            self.tally.longest_wait = self.tally.longest_wait.max(waited);
        }
        self.schedule(self.now + turn.ends_after, Event::End(id));
    }

    fn end(&mut self, id: u64) {
        let Some(flight) = self.flights.remove(&id) else { return };
        let Flight { session, account, units, .. } = flight;
        let state = &mut self.sessions[session];
        let turn = state.spec.turn(state.turn);
        state.turn += 1;
        state.last = Some((account, self.now));
        let (is_family, is_over) = (state.spec.is_family, state.turn >= state.spec.turns);
        self.accounts[account].charge(units, is_family, self.now);
        self.tally.charged += units;
        let told = self.accounts[account].told(self.now);
        self.watch.charged(account, &told, self.in_flight[account], self.now);
        self.in_flight[account] -= units;
        if !is_over {
            self.schedule(self.now + turn.pause, Event::Turn(session));
        }
    }

    fn poll(&mut self, account: usize) {
        let is_stale = self.known[account]
            .fresh_at
            .is_none_or(|at| self.now.duration_since(at).is_ok_and(|age| age >= POLL_AFTER));
        if is_stale {
            let told = self.accounts[account].told(self.now);
            self.observe(account, &told);
            self.watch.told(account, &told, self.in_flight[account]);
        }
        self.schedule(self.now + POLL_AFTER, Event::Poll(account));
    }

    fn observe(&mut self, account: usize, told: &Told) {
        self.known[account].observe(told, self.now);
        self.notice(account);
    }

    /// When an account has gone out of use, it must be seen to come back at the time that it names, without anything
    /// happening.
    fn notice(&mut self, account: usize) {
        let is_out = self.known[account].is_out(self.now);
        if !is_out || std::mem::replace(&mut self.was_out[account], is_out) {
            self.was_out[account] = is_out;
            return;
        }
        let facts = self.known[account].facts().to_vec();
        self.watch.comes_back(account, &facts, self.now);
        let Some(back) = facts.iter().filter_map(Fact::until).max() else { return };
        let candidate = self.candidate(account, &facts);
        let pool = Pool {
            strategy: self.setting.strategy,
            rebalance_threshold: 0.0,
            candidates: &[candidate],
            last_picked: None,
        };
        let request = RequestFacts { session: None, ..self.request(0, &[]) };
        let outcome = select(&pool, &request, &self.table, back, 0).outcome;
        if !matches!(outcome, Outcome::Picked(_)) {
            self.watch.violated(self.now, || {
                format!("account {account} is not back when it should be: {outcome:?}")
            });
        }
    }

    fn candidate<'a>(&'a self, account: usize, facts: &'a [Fact]) -> Candidate<'a> {
        Candidate {
            id: id_of(account),
            tag: &self.tags[account],
            kind: CredentialKind::Login,
            users: None,
            models: &[],
            weight: self.workload.plans[account].weight,
            weight_is_set: false,
            weekly: self.known[account].weekly(),
            five_hour: self.known[account].five_hour(),
            facts,
            carries_websocket: true,
        }
    }

    fn request<'a>(&'a self, session: usize, tried: &'a [CredentialId]) -> RequestFacts<'a> {
        let state = &self.sessions[session];
        RequestFacts {
            user: None,
            allows_external: true,
            external_credential: None,
            model: Some(if state.spec.is_family { "claude-opus-4-8" } else { "claude-sonnet-5" }),
            transport: Transport::Http,
            needs_api_key: false,
            quota: Quota::Usual,
            session: Some(&state.key),
            tried,
            has_awaited_refresh: false,
        }
    }

    fn finish(mut self, end: SystemTime) -> (Tally, Vec<Violation>) {
        self.now = end;
        for (account, plan) in self.accounts.iter_mut().zip(&self.workload.plans) {
            account.told(end);
            for week in account.ended_weeks.iter().filter(|week| week.is_whole) {
                self.tally.unused += week.unused;
                self.tally.offered += plan.weight * crate::account::WEEKLY_UNITS;
            }
        }
        for state in &self.sessions {
            if let Some(asked_at) = state.asked_at {
                let waited = end.duration_since(asked_at).unwrap_or_default();
                self.tally.longest_wait = self.tally.longest_wait.max(waited);
            }
            let left = state.turn..state.spec.turns;
            self.tally.undone +=
                left.map(|turn| state.spec.turn(turn).warm * self.workload.scale).sum::<f64>();
            let all = 0..state.spec.turns;
            self.tally.asked += all.map(|turn| state.spec.turn(turn).warm * self.workload.scale).sum::<f64>();
        }
        (self.tally, self.watch.into_found())
    }
}

fn id_of(account: usize) -> CredentialId {
    CredentialId(u32::try_from(account).unwrap_or(u32::MAX))
}
