//! Why nothing could be picked, and when something can. Spec: routing.md, *No candidate usable*.

use std::time::SystemTime;

use super::{Assessment, Pool, RequestFacts, Standing, Window, state};
use crate::sessions::Binding;

/// Most credentials named with their reasons; the rest is counted.
pub const MAX_REASONS: usize = 8;

/// Why nothing could be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNone {
    /// The pool has credentials, but none that this user may use; or it has none at all.
    NotForUser,
    /// None that the user may use serves the model.
    NotForModel,
    /// None of those is an API key, and the request is for those alone.
    NoApiKey,
    /// None of those can carry a WebSocket.
    NotForTransport,
    /// All are at a limit.
    AllLimited,
    /// Some are at a limit, the others unavailable or blocked.
    SomeLimited,
    /// All are unavailable or blocked.
    AllUnavailable,
    /// What is usable has been tried.
    AllTried,
}

/// How many credentials that the user may use for this model stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// At a limit, or refused a moment ago with a time to wait.
    pub limited: usize,
    /// Those of them that no limit stands behind.
    pub throttled: usize,
    /// Blocked for a while.
    pub blocked: usize,
    /// Unavailable.
    pub unavailable: usize,
    /// Usable, but tried already.
    pub tried: usize,
}

impl Counts {
    /// Whether what keeps the limited ones is a refusal of the moment alone.
    pub fn is_throttled(&self) -> bool {
        self.limited > 0 && self.throttled == self.limited
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.limited + self.blocked + self.unavailable + self.tried
    }
}

/// Nothing could be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCandidate {
    /// Why.
    pub why: WhyNone,
    /// How they stand.
    pub counts: Counts,
    /// The earliest moment at which one becomes usable by itself, by the end of a limit or a block.
    pub free_at: Option<SystemTime>,
    /// The window that frees first, and when.
    pub window: Option<(Window, SystemTime)>,
    /// The name of the model family, if every limit is one of that family's alone.
    pub limited_family: Option<String>,
    /// Tags and states, at most [`MAX_REASONS`].
    pub reasons: Vec<(String, String)>,
}

pub(super) fn explain_none(
    pool: &Pool<'_>,
    assessed: &[Assessment<'_>],
    request: &RequestFacts<'_>,
    binding: Option<Binding>,
    now: SystemTime,
) -> NoCandidate {
    let mut counts = Counts::default();
    let mut free_at: Option<SystemTime> = None;
    let mut window: Option<(Window, SystemTime)> = None;
    let mut family: Option<&str> = None;
    let mut is_family_alone = true;
    let mut reasons = Vec::new();
    for (candidate, one) in pool.candidates.iter().zip(assessed) {
        let state = match one.standing {
            Standing::NotForUser | Standing::NotForModel | Standing::NoApiKey | Standing::NotForTransport => {
                continue;
            }
            Standing::Usable | Standing::UsableAtCost | Standing::PollFailed | Standing::Throttled => {
                counts.tried += 1;
                "tried".to_owned()
            }
            Standing::Refreshing => {
                counts.unavailable += 1;
                "being refreshed".to_owned()
            }
            Standing::Unusable(fact) => {
                let is_bound = binding.is_some_and(|bound| bound.credential == candidate.id);
                let holding = || state::applying(candidate.facts, request, is_bound, now);
                let limits = || holding().filter(|fact| fact.is_limit() || fact.is_stated_throttle());
                // It is usable when the last of what keeps it is over, if all of that ends by itself.
                let free = holding().try_fold(now, |latest, fact| Some(latest.max(fact.until()?)));
                free_at = [free_at, free].into_iter().flatten().min();
                match fact {
                    _ if holding().any(|fact| matches!(fact, super::Fact::Unavailable { .. })) => {
                        counts.unavailable += 1;
                    }
                    _ if limits().next().is_some() => {
                        counts.limited += 1;
                        counts.throttled += usize::from(!holding().any(super::Fact::is_limit));
                        let last = holding().filter(|fact| fact.is_limit()).max_by_key(|fact| fact.until());
                        if let Some((last, until)) =
                            last.and_then(|last| Some((last.window()?, last.until()?)))
                            && window.as_ref().is_none_or(|(_, earliest)| until < *earliest)
                        {
                            window = Some((last.clone(), until));
                        }
                        for limit in limits() {
                            match limit.family() {
                                Some(of) if family.is_none_or(|family| family == of.name) => {
                                    family = Some(&of.name);
                                }
                                _ => is_family_alone = false,
                            }
                        }
                    }
                    _ => counts.blocked += 1,
                }
                fact.to_string()
            }
        };
        if reasons.len() < MAX_REASONS {
            reasons.push((one.tag.to_owned(), state));
        }
    }
    let limited_family = family.filter(|_| is_family_alone).map(str::to_owned);
    NoCandidate { why: why(assessed, counts), counts, free_at, window, limited_family, reasons }
}

fn why(assessed: &[Assessment<'_>], counts: Counts) -> WhyNone {
    if counts.total() == 0 {
        // The furthest that any of them came.
        return if assessed.iter().any(|one| one.standing == Standing::NotForTransport) {
            WhyNone::NotForTransport
        } else if assessed.iter().any(|one| one.standing == Standing::NoApiKey) {
            WhyNone::NoApiKey
        } else if assessed.iter().any(|one| one.standing == Standing::NotForModel) {
            WhyNone::NotForModel
        } else {
            WhyNone::NotForUser
        };
    }
    match counts {
        Counts { tried: 1.., .. } => WhyNone::AllTried,
        Counts { limited: 0, .. } => WhyNone::AllUnavailable,
        Counts { blocked: 0, unavailable: 0, .. } => WhyNone::AllLimited,
        _ => WhyNone::SomeLimited,
    }
}
