//! A selection in words: for the log, the dashboard, and a header of the answer where the user may see it.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Outcome, Selection, Standing, WhyNone};

/// Longest line that [`Explanation::to_line`] gives, in bytes. Header values of this length pass everywhere.
pub const MAX_EXPLANATION: usize = 1_024;

/// Why a selection came out as it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The strategy's name.
    pub strategy: &'static str,
    /// The tag of what was picked.
    pub picked: Option<String>,
    /// The reason, by a short stable name.
    pub reason: &'static str,
    /// Every credential of the pool, in order.
    pub candidates: Vec<Explained>,
}

/// A credential in an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Its tag.
    pub tag: String,
    /// Its state, as this request sees it.
    pub state: String,
    /// Its score under `least_used`, if it is usable.
    pub score: Option<f64>,
    /// How many sessions are bound to it.
    pub sessions: usize,
    /// Whether it had been tried for this request.
    pub tried: bool,
}

impl Selection<'_> {
    /// The selection in words.
    pub fn explain(&self) -> Explanation {
        let (picked, reason) = match &self.outcome {
            Outcome::Picked(pick) => (Some(pick.credential), pick.reason.label()),
            Outcome::AwaitRefresh(_) => (None, "await_refresh"),
            Outcome::None(none) => (None, none.why.label()),
        };
        let tag = |one: &super::Assessment<'_>| (Some(one.credential) == picked).then(|| one.tag.to_owned());
        Explanation {
            strategy: self.strategy.label(),
            picked: self.assessed.iter().find_map(tag),
            reason,
            candidates: self
                .assessed
                .iter()
                .map(|one| Explained {
                    tag: one.tag.to_owned(),
                    state: state(one.standing),
                    score: one.standing.is_usable().then_some(one.score),
                    sessions: one.sessions,
                    tried: one.is_tried,
                })
                .collect(),
        }
    }
}

impl WhyNone {
    /// A short stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotForUser => "not_for_user",
            Self::NotForModel => "not_for_model",
            Self::NoApiKey => "no_api_key",
            Self::NotForTransport => "not_for_transport",
            Self::AllLimited => "all_limited",
            Self::SomeLimited => "some_limited",
            Self::AllUnavailable => "all_unavailable",
            Self::AllTried => "all_tried",
        }
    }
}

fn state(standing: Standing<'_>) -> String {
    match standing {
        Standing::NotForUser => "not for this user".to_owned(),
        Standing::NotForModel => "not for this model".to_owned(),
        Standing::NoApiKey => "is no API key".to_owned(),
        Standing::NotForTransport => "carries no WebSocket".to_owned(),
        Standing::Usable => "usable".to_owned(),
        Standing::UsableAtCost => "usable at a cost".to_owned(),
        Standing::PollFailed => "blocked: poll_failed".to_owned(),
        Standing::Throttled => "blocked: burst".to_owned(),
        Standing::Refreshing => "refreshing".to_owned(),
        Standing::Unusable(fact) => fact.to_string(),
    }
}

impl Explanation {
    /// The explanation in one line of printable ASCII, at most [`MAX_EXPLANATION`] bytes: fit for a header. What does
    /// not fit is counted.
    pub fn to_line(&self) -> String {
        // Room for ` (+4294967295 more)` behind the last credential that fits.
        const ROOM: usize = MAX_EXPLANATION - 24;
        let mut line = String::new();
        let picked = self.picked.as_deref().unwrap_or("none");
        let _ = write!(line, "picked={} reason={} strategy={};", safe(picked), self.reason, self.strategy);
        for (at, one) in self.candidates.iter().enumerate() {
            let mut part = format!(" {} [{}", safe(&one.tag), safe(&one.state));
            if let Some(score) = one.score {
                let _ = write!(part, ", score {score:.1}");
            }
            let _ = write!(part, ", {} sessions", one.sessions);
            part.push_str(if one.tried { ", tried]" } else { "]" });
            if line.len() + part.len() > ROOM {
                let _ = write!(line, " (+{} more)", self.candidates.len() - at);
                break;
            }
            line.push_str(&part);
        }
        line
    }
}

/// Printable ASCII, other characters replaced; at most 200 of them, since one tag may not crowd out the others.
fn safe(text: &str) -> String {
    text.chars().take(200).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}
