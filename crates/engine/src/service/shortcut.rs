//! Selecting without a look at every credential of the pool, which is what nearly every request needs. Each of these finds what
//! core's `select` would, or nothing.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use trunkline_core::glob;
use trunkline_core::selection::{
    Candidate, Ranking, RequestFacts, by_place, is_usable, rebalances, stays_with, stays_without_a_look,
};
use trunkline_core::sessions::SessionTable;

use super::Service;
use super::asked::Asked;
use super::attempt::Tries;
use super::pool::{ORDERED_FROM, Order, Pool, Seen};
use super::select::Selected;

impl Service {
    /// What is selected for a request that has not been tried yet, if a few looks are enough to tell.
    pub(super) fn shortcut(&self, asked: &Asked, tries: &Tries, now: SystemTime) -> Option<Selected> {
        if !tries.tried.is_empty() {
            return None;
        }
        self.the_only_one(asked, now)
            .or_else(|| self.the_bound_one(asked, now))
            .or_else(|| self.the_best_one(asked, now))
            .or_else(|| self.the_next_one(asked, now))
    }

    /// The shortcut for a pool of one against which nothing speaks: there is nothing to weigh.
    fn the_only_one(&self, asked: &Asked, now: SystemTime) -> Option<Selected> {
        let [credential] = asked.pool.members() else { return None };
        let request = asked.facts(&[], false);
        let seen = Seen::new(credential, now);
        let model = asked.model.as_deref();
        let admits = credential.admits_user(asked.user_name())
            && model.is_none_or(|model| glob::admits(&credential.settings().models, model))
            && (!asked.needs_api_key || credential.is_api_key());
        if !seen.facts().is_empty() || !admits {
            return None;
        }
        let was_bound = asked.session.as_ref().is_some_and(|session| {
            let scope = request.pool_scope();
            let mut table = self.settings.bindings.table();
            let is_bound = table.touch_if_bound_to(session, credential.id(), scope, now);
            if !is_bound && request.binds() {
                table.bind(session.clone(), credential.id(), scope, now);
            }
            is_bound
        });
        Some(Selected::Picked { credential: Arc::clone(credential), was_bound })
    }

    /// The shortcut for a session that stays with its credential, however many others there are.
    fn the_bound_one(&self, asked: &Asked, now: SystemTime) -> Option<Selected> {
        let (pool, session) = (&asked.pool, asked.session.as_ref()?);
        if !stays_without_a_look(pool.strategy(), pool.rebalance_threshold()) {
            return None;
        }
        let request = asked.facts(&[], false);
        let scope = request.pool_scope();
        let mut table = self.settings.bindings.table();
        let bound = table.get(session, now).filter(|bound| bound.scope == scope)?.credential;
        let credential = pool.find(bound)?;
        if !stays_with(&Seen::new(credential, now).candidate(), pool.strategy(), &request, now) {
            return None;
        }
        table.touch(session, now);
        Some(Selected::Picked { credential: Arc::clone(credential), was_bound: true })
    }

    /// The shortcut for a request in a large pool, by the order that it keeps: for a session that is bound to nothing, and for one
    /// that stays unless another credential is used much less.
    fn the_best_one(&self, asked: &Asked, now: SystemTime) -> Option<Selected> {
        let (pool, order) = (&asked.pool, asked.pool.order.as_ref()?);
        let mut ranking = order.ranking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.settings.bindings.table();
        let request = asked.facts(&[], false);
        let scope = request.pool_scope();
        let bound = asked.session.as_ref().and_then(|session| table.get(session, now));
        let own = match bound {
            // What its credential is in the way of is for a look at all of them.
            Some(bound) if bound.scope != scope => return None,
            Some(bound) => Some(Seen::new(pool.find(bound.credential)?, now)),
            None => None,
        };
        let stays = |own: &Seen<'_>| stays_with(&own.candidate(), pool.strategy(), &request, now);
        if own.as_ref().is_some_and(|own| !stays(own)) {
            return None;
        }
        let place = best_place(pool, order, &mut ranking, &table, &request, now)?;
        let best = pool.members().get(place)?;
        if let (Some(own), Some(session)) = (own, &asked.session) {
            let best = Seen::new(best, now);
            if rebalances(&own.candidate(), &best.candidate(), pool.rebalance_threshold(), now) {
                return None;
            }
            table.touch(session, now);
            return Some(Selected::Picked { credential: Arc::clone(own.credential), was_bound: true });
        }
        if let Some(session) = asked.session.as_ref().filter(|_| request.binds()) {
            table.bind(session.clone(), best.id(), scope, now);
            bring_up_to_date(pool, &mut ranking, &table, place, now);
        }
        pool.set_last_picked(best.id());
        Some(Selected::Picked { credential: Arc::clone(best), was_bound: false })
    }

    /// The shortcut for a large pool whose strategy goes by the members' places.
    fn the_next_one(&self, asked: &Asked, now: SystemTime) -> Option<Selected> {
        let (pool, request) = (&asked.pool, asked.facts(&[], false));
        let members = pool.members();
        if members.len() < ORDERED_FROM {
            return None;
        }
        let scope = request.pool_scope();
        let mut table = self.settings.bindings.table();
        let bound = asked.session.as_ref().and_then(|session| table.get(session, now));
        let bound = bound.filter(|bound| bound.scope == scope).map(|bound| bound.credential);
        let last = pool.last_picked().and_then(|last| pool.place(last));
        let strategy = pool.strategy();
        let place = by_place(strategy, members.len(), last, fastrand::u64(..), |place| {
            members.get(place).is_some_and(|member| {
                let is_bound = bound == Some(member.id());
                is_usable(&Seen::new(member, now).candidate(), strategy, &request, is_bound, now)
            })
        })?;
        let credential = members.get(place)?;
        let was_bound = bound == Some(credential.id());
        match &asked.session {
            Some(session) if was_bound => {
                table.touch(session, now);
            }
            Some(session) if request.binds() => {
                table.bind(session.clone(), credential.id(), scope, now);
            }
            Some(_) | None => {}
        }
        pool.set_last_picked(credential.id());
        Some(Selected::Picked { credential: Arc::clone(credential), was_bound })
    }
}

/// The place of the best one that serves the request, brought up to date.
fn best_place(
    pool: &Pool,
    order: &Order,
    ranking: &mut Ranking,
    table: &SessionTable,
    request: &RequestFacts<'_>,
    now: SystemTime,
) -> Option<usize> {
    let is_current = ranking.is_current(now);
    order.changed.take(|place| {
        if is_current {
            bring_up_to_date(pool, ranking, table, place, now);
        }
    });
    if !is_current {
        (0..pool.members().len()).for_each(|place| bring_up_to_date(pool, ranking, table, place, now));
        ranking.on_made(now);
    }
    ranking.find(request, now, |place, look| look_at(pool, table, place, now, look))
}

fn bring_up_to_date(pool: &Pool, ranking: &mut Ranking, table: &SessionTable, place: usize, now: SystemTime) {
    look_at(pool, table, place, now, &mut |candidate, sessions| {
        ranking.update(place, candidate, sessions, now);
    });
}

/// Calls `look` with the member at a place and how many sessions are bound to it.
fn look_at(
    pool: &Pool,
    table: &SessionTable,
    place: usize,
    now: SystemTime,
    look: &mut dyn FnMut(&Candidate<'_>, usize),
) {
    if let Some(member) = pool.members().get(place) {
        look(&Seen::new(member, now).candidate(), table.bound_to(member.id()));
    }
}
