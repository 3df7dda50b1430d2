//! Third stage: which credential, out of the user's pool.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::Level;
use trunkline_core::ids::CredentialId;
use trunkline_core::selection::{
    BindingChange, Counts, NoCandidate, Outcome, Pick, PickReason, REFRESH_WAIT, Selection, WhyNone, select,
};
use trunkline_core::sessions::SessionTable;

use super::Service;
use super::asked::Asked;
use super::attempt::{Tries, may_wait};
use super::pool::Seen;
use crate::credential::Credential;

/// The answer of a selection that found what is not there.
const NOBODY: NoCandidate = NoCandidate {
    why: WhyNone::AllUnavailable,
    counts: Counts { limited: 0, throttled: 0, blocked: 0, unavailable: 0, tried: 0 },
    free_at: None,
    window: None,
    limited_family: None,
    reasons: Vec::new(),
};

/// What was found.
pub(super) enum Selected {
    Picked { credential: Arc<Credential>, was_bound: bool },
    Await(Vec<Arc<Credential>>),
    None(NoCandidate),
}

impl Service {
    /// Picks a credential that has not been tried yet, waiting for one as long as the request may; and when it was picked.
    pub(super) async fn pick(
        &self,
        asked: &Asked,
        tries: &mut Tries,
    ) -> Result<(Arc<Credential>, SystemTime), NoCandidate> {
        let mut has_awaited = false;
        loop {
            let now = SystemTime::now();
            match self.select(asked, tries, has_awaited, now) {
                Selected::Picked { credential, was_bound } => {
                    if tries.tried.is_empty() {
                        tries.was_bound = was_bound;
                    }
                    return Ok((credential, now));
                }
                Selected::Await(refreshing) => {
                    has_awaited = true;
                    // In time or not: it is selected again, and this time without waiting.
                    let _ = tokio::time::timeout(REFRESH_WAIT, refreshed(&refreshing)).await;
                }
                Selected::None(none) => {
                    let Some(until) = may_wait(&none, asked, tries) else { return Err(none) };
                    let left = until.duration_since(now).unwrap_or_default();
                    tracing::debug!(id = &*tries.id, "no credential is usable: waiting for {left:?}");
                    let changed = any_change(asked.pool.members());
                    let _ = tokio::time::timeout(left, changed).await;
                    // What was tried before the wait may be free after it.
                    tries.tried.clear();
                }
            }
        }
    }

    /// Selects, and does what comes with it: binds the session, drops what is rebalanced, tells how it was done.
    fn select(&self, asked: &Asked, tries: &mut Tries, has_awaited: bool, now: SystemTime) -> Selected {
        let explains = asked.explain || tracing::enabled!(Level::DEBUG);
        if !explains && let Some(selected) = self.shortcut(asked, tries, now) {
            return selected;
        }
        let seen: Vec<_> = asked.pool.members().iter().map(|member| Seen::new(member, now)).collect();
        let candidates: Vec<_> = seen.iter().map(Seen::candidate).collect();
        let pool = core_pool(asked, &candidates);
        let request = asked.facts(&tries.tried, has_awaited);
        let selection = {
            let mut table = self.settings.bindings.table();
            let selection = select(&pool, &request, &table, now, fastrand::u64(..));
            if let Some((credential, scope)) = selection.rebalanced {
                table.drop_bindings_of(credential, Some(scope));
                self.live.rebalanced.send_modify(|times| *times = times.wrapping_add(1));
            }
            if let Outcome::Picked(pick) = &selection.outcome {
                bind(&mut table, asked, *pick, now);
                if pick.reason == PickReason::Strategy {
                    asked.pool.set_last_picked(pick.credential);
                }
            }
            selection
        };
        if explains {
            self.explain(asked, tries, &selection);
        }
        let find = |id: &CredentialId| asked.pool.find(*id).map(Arc::clone);
        match selection.outcome {
            Outcome::Picked(pick) => match find(&pick.credential) {
                Some(credential) => Selected::Picked { credential, was_bound: pick.was_bound },
                // What is picked is of the pool.
                None => Selected::None(NOBODY),
            },
            Outcome::AwaitRefresh(ids) => Selected::Await(ids.iter().filter_map(find).collect()),
            Outcome::None(none) => Selected::None(none),
        }
    }

    fn explain(&self, asked: &Asked, tries: &mut Tries, selection: &Selection<'_>) {
        let line = selection.explain().to_line();
        tracing::debug!(id = &*tries.id, service = &*self.settings.tag, pool = &**asked.pool.tag(), "{line}");
        if asked.explain {
            tries.explanation = Some(line);
        }
    }

    /// Whether a credential could serve a request that were asked for now; nothing comes of it.
    pub(super) fn would_serve(&self, asked: &Asked, credential: &Arc<Credential>) -> bool {
        let now = SystemTime::now();
        let seen = Seen::new(credential, now);
        let candidates = [seen.candidate()];
        let pool = core_pool(asked, &candidates);
        let selection = select(&pool, &asked.facts(&[], false), &self.settings.bindings.table(), now, 0);
        !matches!(selection.outcome, Outcome::None(_))
    }

    /// What could be had for a request besides what was tried, if that were asked for now; nothing comes of it.
    pub(super) fn look(&self, asked: &Asked, tried: &[CredentialId]) -> Outcome {
        let now = SystemTime::now();
        let seen: Vec<_> = asked.pool.members().iter().map(|member| Seen::new(member, now)).collect();
        let candidates: Vec<_> = seen.iter().map(Seen::candidate).collect();
        let pool = core_pool(asked, &candidates);
        select(&pool, &asked.facts(tried, true), &self.settings.bindings.table(), now, 0).outcome
    }
}

fn core_pool<'a>(
    asked: &Asked,
    candidates: &'a [trunkline_core::selection::Candidate<'a>],
) -> trunkline_core::selection::Pool<'a> {
    trunkline_core::selection::Pool {
        strategy: asked.pool.strategy(),
        rebalance_threshold: asked.pool.rebalance_threshold(),
        candidates,
        last_picked: asked.pool.last_picked(),
    }
}

fn bind(table: &mut SessionTable, asked: &Asked, pick: Pick, now: SystemTime) {
    let Some(session) = &asked.session else { return };
    match pick.binding {
        BindingChange::Leave => {}
        BindingChange::Touch => {
            table.touch(session, now);
        }
        BindingChange::Bind => {
            table.bind(session.clone(), pick.credential, asked.facts(&[], false).pool_scope(), now);
        }
    }
}

/// Waits until one of them can be used, or none is being refreshed any more.
async fn refreshed(credentials: &[Arc<Credential>]) {
    let mut waits: Vec<_> =
        credentials.iter().map(|credential| Box::pin(credential.live().authorization())).collect();
    std::future::poll_fn(|context| {
        let mut ended = None;
        for (at, wait) in waits.iter_mut().enumerate() {
            if let std::task::Poll::Ready(held) = wait.as_mut().poll(context) {
                if held.is_ok() {
                    return std::task::Poll::Ready(());
                }
                ended = Some(at);
                break;
            }
        }
        if let Some(at) = ended {
            drop(waits.swap_remove(at));
            // The others have not been asked in this turn.
            context.waker().wake_by_ref();
        }
        if waits.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Waits until something that is known of one of them changes.
async fn any_change(credentials: &[Arc<Credential>]) {
    let mut waits: Vec<_> = credentials
        .iter()
        .map(|credential| {
            let mut changes = credential.live().changes();
            Box::pin(async move { drop(changes.changed().await) })
        })
        .collect();
    std::future::poll_fn(|context| {
        if waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
