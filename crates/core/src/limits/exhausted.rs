//! The answer to a request for which no candidate is usable (routing.md, *No candidate usable*).

use std::time::{Duration, SystemTime};

use crate::limits::moment::announce;
use crate::limits::{Claim, Limited, timestamp};

/// A client waits out a `retry-after` up to this long, and gives up at once beyond it (fact sheet `claude-code.md`, 2.1:
/// 60 s waits, 61 fails).
pub const LONGEST_CLIENT_WAIT: Duration = Duration::from_secs(60);

/// Credentials that are named with their reasons; more are counted.
pub const MAX_NAMED: usize = 8;

/// Longest reason that is shown, in characters.
pub const MAX_REASON: usize = 160;

/// Why a candidate cannot be used for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// `rate_limited` or `capped`, for this request.
    Limited(Limited),
    /// Blocked for a while.
    Blocked {
        /// By what: a short text of ours, without paths and addresses.
        reason: String,
        /// Its end, if known.
        until: Option<SystemTime>,
    },
    /// Unavailable until somebody does something.
    Unavailable {
        /// Why: a short text of ours, without paths and addresses.
        reason: String,
    },
}

/// An answer of ours: 429, or 503 if no limit stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCandidate {
    /// Whether limits, or refusals of the moment, are the reason: 429 `rate_limit_error`. Else 503 `api_error`.
    pub is_limit: bool,
    /// What the client is told.
    pub message: String,
    /// Value of `retry-after`, in whole seconds, at least 1.
    pub retry_after: Option<u64>,
    /// Whether `x-should-retry: false` is sent.
    pub is_final: bool,
    /// The limit that ends first, and speaks for the answer. `None` where no window stands behind it.
    pub limited: Option<Limited>,
}

impl NoCandidate {
    /// The answer for `user` (`None` where there are no users) who asked for `model`; `candidates` are tags and what is
    /// in each one's way.
    pub fn new(
        user: Option<&str>,
        model: Option<&str>,
        candidates: &[(&str, Obstacle)],
        now: SystemTime,
    ) -> Self {
        let ahead = |until: Option<SystemTime>| until.filter(|until| *until > now);
        let blocks = candidates.iter().filter_map(|(_, obstacle)| match obstacle {
            Obstacle::Blocked { until, .. } => ahead(*until),
            _ => None,
        });
        let limits: Vec<Limited> = candidates
            .iter()
            .filter_map(|(_, obstacle)| match obstacle {
                Obstacle::Limited(limited) => {
                    Some(Limited { claim: limited.claim.clone(), until: ahead(limited.until) })
                }
                _ => None,
            })
            .collect();
        let first_block = blocks.min();
        let limited = Limited::first(limits.iter().cloned());
        let first = first_block.into_iter().chain(limited.as_ref().and_then(|limited| limited.until)).min();
        let wait = first.and_then(|first| first.duration_since(now).ok());
        let is_short = wait.is_some_and(|wait| wait <= LONGEST_CLIENT_WAIT);
        let counts = Counts::of(candidates);
        let is_limit = limited.is_some();
        let (message, retry_after) = if is_limit {
            let model = model.filter(|_| limits.iter().any(|l| matches!(l.claim, Some(Claim::Scope(_)))));
            (counts.limited_message(user, model, first, now), wait)
        } else {
            (unusable_message(user, candidates), wait.filter(|_| is_short))
        };
        Self {
            is_limit,
            message,
            retry_after: retry_after.map(|wait| timestamp::seconds_up(wait).max(1)),
            is_final: !is_short,
            limited,
        }
    }

    /// Whether it is a refusal of the moment, behind which no window stands.
    pub fn is_throttle(&self) -> bool {
        self.is_limit && self.limited.is_none()
    }

    /// The status of the answer.
    pub fn status(&self) -> http::StatusCode {
        if self.is_limit {
            http::StatusCode::TOO_MANY_REQUESTS
        } else {
            http::StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    limited: usize,
    blocked: usize,
    unavailable: usize,
}

impl Counts {
    fn of(candidates: &[(&str, Obstacle)]) -> Self {
        let mut counts = Self::default();
        for (_, obstacle) in candidates {
            *match obstacle {
                Obstacle::Limited(_) => &mut counts.limited,
                Obstacle::Blocked { .. } => &mut counts.blocked,
                Obstacle::Unavailable { .. } => &mut counts.unavailable,
            } += 1;
        }
        counts
    }

    fn limited_message(
        &self,
        user: Option<&str>,
        model: Option<&str>,
        first: Option<SystemTime>,
        now: SystemTime,
    ) -> String {
        let all = self.limited + self.blocked + self.unavailable;
        let whose = whose(user);
        let what = model.map_or_else(String::new, |model| format!(" for {}", cut(model)));
        let who = match (self.limited, all) {
            (1, 1) => format!("The only credential{whose} is at its limit{what}"),
            (limited, all) if limited == all => {
                format!("All {all} credentials{whose} are at their limit{what}")
            }
            (1, all) => format!("1 of the {all} credentials{whose} is at its limit{what}"),
            (limited, all) => format!("{limited} of the {all} credentials{whose} are at their limit{what}"),
        };
        let rest = [(self.blocked, "blocked"), (self.unavailable, "unavailable")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {} {word}", if count == 1 { "is" } else { "are" }))
            .collect::<Vec<_>>();
        let rest = if rest.is_empty() { String::new() } else { format!(" and {}", rest.join(" and ")) };
        let subject = if all == 1 { "it is free again" } else { "the next one is free" };
        match first {
            Some(first) => format!("{who}{rest}; {subject} at {}.", announce(first, now)),
            None => format!("{who}{rest}; when {subject} is not known."),
        }
    }
}

fn whose(user: Option<&str>) -> String {
    user.map_or_else(String::new, |user| format!(" for {user}"))
}

fn unusable_message(user: Option<&str>, candidates: &[(&str, Obstacle)]) -> String {
    let mut parts: Vec<String> = candidates
        .iter()
        .take(MAX_NAMED)
        .map(|(tag, obstacle)| match obstacle {
            Obstacle::Limited(_) => format!("{tag} is at its limit"),
            Obstacle::Blocked { reason, .. } => format!("{tag} is blocked ({})", cut(reason)),
            Obstacle::Unavailable { reason } => format!("{tag} is unavailable ({})", cut(reason)),
        })
        .collect();
    if candidates.len() > MAX_NAMED {
        parts.push(format!("and {} more", candidates.len() - MAX_NAMED));
    }
    format!("No credential{} can be used now: {}.", whose(user), parts.join("; "))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests;
