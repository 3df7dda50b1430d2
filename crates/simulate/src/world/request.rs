//! One request's way: selected, tried, judged, tried elsewhere, answered or refused.

use std::time::{Duration, SystemTime};

use trunkline_core::failure::{
    Action, Answer, CLAUDE, Effect, ErrorFields, Failure, LimitScope, RefusalKind, Repeat, Situation,
    after_interrupt, judge,
};
use trunkline_core::final_answer::{FinalAnswer, final_answer};
use trunkline_core::ids::CredentialId;
use trunkline_core::interrupt::{Interrupt, Phase, interrupt};
use trunkline_core::selection::{
    BindingChange, Fact, NoCandidate, Outcome, Pick, PickReason, Pool, Scope, Window, select,
};
use trunkline_core::sessions::PoolScope;

use super::{Event, World, id_of};
use crate::account::Answered;
use crate::flight::{CACHE_LASTS, Flight, Tries};

/// What a client waits before it tries again when it was not told how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(5 * 60);

/// What went wrong with a try.
enum Trouble {
    Unreachable,
    Overloaded,
    Refused(RefusalKind),
}

impl World<'_> {
    /// A session asks for its next turn, or for the same again.
    pub(super) fn turn(&mut self, session: usize) {
        self.sessions[session].asked_at.get_or_insert(self.now);
        let mut waiting = vec![(session, Tries::default())];
        while let Some((session, tries)) = waiting.pop() {
            self.attempt(session, tries, &mut waiting);
        }
    }

    /// Tries until the request is on its way or has its answer. Requests that are interrupted by what comes of it are
    /// put to `waiting`.
    fn attempt(&mut self, session: usize, mut tries: Tries, waiting: &mut Vec<(usize, Tries)>) {
        let mut again = None;
        loop {
            let account = match again.take() {
                Some(account) => account,
                None => match self.select_for(session, &tries.tried, true) {
                    Outcome::Picked(pick) => {
                        if tries.tried.is_empty() {
                            tries.was_bound = pick.was_bound;
                        }
                        pick.credential.0 as usize
                    }
                    Outcome::None(none) => return self.no_candidate(session, &tries, &none),
                    Outcome::AwaitRefresh(_) => {
                        self.watch.violated(self.now, || "nothing is ever refreshed here".to_owned());
                        return;
                    }
                },
            };
            let Some(trouble) = self.ask(session, account) else {
                self.fly(session, account, tries);
                return;
            };
            let (reason, action) = self.judge_trouble(session, account, &trouble, &mut tries, waiting);
            match action {
                Action::Repeat(Repeat::NewConnection) => again = Some(account),
                Action::Next | Action::Hop => {
                    tries.tried.push(id_of(account));
                    tries.hopped |= action == Action::Hop;
                    tries.moved_for = Some(reason);
                }
                Action::End => {
                    tries.tried.push(id_of(account));
                    match self.select_for(session, &tries.tried, false) {
                        Outcome::None(none) => self.no_candidate(session, &tries, &none),
                        _ => self.fail(session),
                    }
                    return;
                }
                Action::PassThrough if reason == "burst" => return self.refuse(session, None),
                Action::PassThrough => return self.fail(session),
                Action::Repeat(Repeat::NewToken) | Action::AuthRecovery | Action::GatewayTimeout => {
                    self.watch.violated(self.now, || format!("{reason}: {action:?} does not happen here"));
                    return;
                }
            }
        }
    }

    fn ask(&mut self, session: usize, account: usize) -> Option<Trouble> {
        let since = self.now.duration_since(self.begin).unwrap_or_default();
        let is_in = |from: &Duration, to: &Duration| (*from..*to).contains(&since);
        let spells = &self.workload.spells;
        if spells.unreachable.iter().any(|(who, from, to)| *who == account && is_in(from, to)) {
            return Some(Trouble::Unreachable);
        }
        if spells.overloaded.iter().any(|(from, to)| is_in(from, to)) && self.rng.u32(..3) == 0 {
            return Some(Trouble::Overloaded);
        }
        match self.accounts[account].ask(self.sessions[session].spec.is_family, self.now) {
            Answered::Accepted => None,
            Answered::Refused(kind) => Some(Trouble::Refused(kind)),
        }
    }

    fn judge_trouble(
        &mut self,
        session: usize,
        account: usize,
        trouble: &Trouble,
        tries: &mut Tries,
        waiting: &mut Vec<(usize, Tries)>,
    ) -> (&'static str, Action) {
        let mut tried = tries.tried.clone();
        tried.push(id_of(account));
        let situation = Situation {
            attempts: tries.attempts,
            was_bound: tries.was_bound,
            is_replayable: true,
            has_others: matches!(self.select_for(session, &tried, false), Outcome::Picked(_)),
            is_api_key: false,
            is_free: false,
            now: self.now,
        };
        let kind = |name: &str| ErrorFields { kind: Some(name.to_owned()), ..ErrorFields::default() };
        let (error, status, refusal) = match trouble {
            Trouble::Unreachable => (ErrorFields::default(), 0, None),
            Trouble::Overloaded => (kind("overloaded_error"), 529, None),
            Trouble::Refused(refusal) => (kind("rate_limit_error"), 429, Some(*refusal)),
        };
        let failure = match trouble {
            Trouble::Unreachable => Failure::NotSent,
            _ => Failure::Answer(Answer { status, error: &error, is_first_event: false, refusal }),
        };
        let verdict = judge(&CLAUDE, &failure, &situation);
        tries.attempts.note(&verdict);
        self.known[account].suffer(verdict.effect, self.now);
        if matches!(refusal, Some(RefusalKind::Base { .. } | RefusalKind::Scoped { .. })) {
            let told = self.accounts[account].told(self.now);
            self.known[account].observe(&told, self.now);
            self.watch.told(account, &told, self.in_flight[account]);
        }
        self.notice(account);
        if let Effect::RateLimited { scope: LimitScope::All, until, .. } = verdict.effect {
            self.interrupt_all(account, until, waiting);
        }
        (verdict.reason, verdict.action)
    }

    /// Requests that wait for a head from an account that refuses everything go elsewhere.
    fn interrupt_all(&mut self, account: usize, until: SystemTime, waiting: &mut Vec<(usize, Tries)>) {
        let fact = Fact::RateLimited { window: Window::Weekly, scope: Scope::All, until: Some(until) };
        let hit: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.account == account)
            .filter(|(_, flight)| {
                let phase = if flight.has_head { Phase::Answering } else { Phase::AwaitingHead };
                interrupt(&fact, phase) == Interrupt::TryElsewhere
            })
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            let Some(flight) = self.flights.get(&id) else { continue };
            let mut tries = flight.tries.clone();
            tries.tried.push(id_of(account));
            let has_others =
                matches!(self.select_for(flight.session, &tries.tried, false), Outcome::Picked(_));
            let situation = Situation {
                attempts: tries.attempts,
                was_bound: tries.was_bound,
                is_replayable: true,
                has_others,
                is_api_key: false,
                is_free: false,
                now: self.now,
            };
            let action = after_interrupt(&situation);
            tries.attempts.act(action);
            tries.moved_for = Some("interrupted");
            if let Some(flight) = self.flights.remove(&id) {
                self.in_flight[account] -= flight.units;
                waiting.push((flight.session, tries));
            }
        }
    }

    fn fly(&mut self, session: usize, account: usize, tries: Tries) {
        let scale = self.workload.scale;
        let state = &self.sessions[session];
        let turn = state.spec.turn(state.turn);
        let warm_at = state
            .last
            .filter(|(_, at)| self.now.duration_since(*at).is_ok_and(|idle| idle <= CACHE_LASTS))
            .map(|(account, _)| account);
        let rewrite = if warm_at == Some(account) { 0.0 } else { turn.rewrite * scale };
        let rewritten = if warm_at.is_some() { rewrite } else { 0.0 };
        let units = turn.warm * scale + rewrite;
        self.in_flight[account] += units;
        // The number of events scheduled is as good an id as any.
        let id = self.scheduled;
        self.flights.insert(id, Flight { session, account, units, rewritten, tries, has_head: false });
        self.schedule(self.now + turn.head_after, Event::Head(id));
    }

    /// Selects, and does what comes with it if this is in `earnest`.
    pub(super) fn select_for(&mut self, session: usize, tried: &[CredentialId], earnest: bool) -> Outcome {
        let candidates: Vec<_> = (0..self.known.len())
            .map(|account| self.candidate(account, self.known[account].facts()))
            .collect();
        let pool = Pool {
            strategy: self.setting.strategy,
            rebalance_threshold: self.setting.rebalance_threshold,
            candidates: &candidates,
            last_picked: self.last_picked,
        };
        let random = if earnest { self.rng.clone().u64(..) } else { 0 };
        let request = self.request(session, tried);
        let selection = select(&pool, &request, &self.table, self.now, random);
        let (outcome, rebalanced) = (selection.outcome, selection.rebalanced);
        if earnest {
            self.rng.u64(..);
            if let Some(what) = self.check(session, tried, &outcome, rebalanced.is_some()) {
                self.watch.violated(self.now, || what);
            }
            if let Some((credential, scope)) = rebalanced {
                let dropped = self.table.drop_bindings_of(credential, Some(scope));
                self.tally.rebalanced += u64::try_from(dropped).unwrap_or(u64::MAX);
            }
            if let Outcome::Picked(pick) = &outcome {
                self.bind(session, *pick);
            }
        }
        outcome
    }

    fn bind(&mut self, session: usize, pick: Pick) {
        let key = self.sessions[session].key.clone();
        match pick.binding {
            BindingChange::Leave => {}
            BindingChange::Touch => {
                self.table.touch(&key, self.now);
            }
            BindingChange::Bind => {
                self.table.bind(key, pick.credential, PoolScope::All, self.now);
            }
        }
        if pick.reason == PickReason::Strategy {
            self.last_picked = Some(pick.credential);
        }
    }

    /// Nothing can be picked: refused by a limit, or failed.
    fn no_candidate(&mut self, session: usize, tries: &Tries, none: &NoCandidate) {
        let has_tried = !tries.tried.is_empty();
        match final_answer(Some(none), has_tried, has_tried) {
            FinalAnswer::NoCandidate if none.counts.limited > 0 => self.refuse(session, none.free_at),
            FinalAnswer::NoCandidate | FinalAnswer::LastUpstream | FinalAnswer::BadGateway => {
                self.fail(session);
            }
        }
    }

    /// The client is told that a limit is reached, and comes back when it is told to.
    fn refuse(&mut self, session: usize, free_at: Option<SystemTime>) {
        self.tally.refused += 1;
        self.sessions[session].refusals += 1;
        let late = Duration::from_secs_f64(30.0 * self.rng.f64());
        let free = free_at.unwrap_or(self.now + UNTOLD_WAIT).max(self.now + Duration::from_secs(1));
        self.schedule(free + late, Event::Turn(session));
    }

    /// The client is told of a failure, and comes back soon.
    fn fail(&mut self, session: usize) {
        self.tally.failed += 1;
        let wait = Duration::from_secs_f64(2.0 + 18.0 * self.rng.f64());
        self.schedule(self.now + wait, Event::Turn(session));
    }
}
