//! What a failed try means for its credential and for its request.
//!
//! Spec: routing.md, *Failures before the first response byte has been sent to the client*, and codex.md, *Failures*.
//! [`judge`] is that table: one [`Row`] a line, tried from the top, each with a name that metrics use. It decides from
//! plain facts and changes nothing; [`Attempts::note`] keeps a request's history between its tries.
//!
//! External credentials have failures of their own (federation.md), which are not judged here.

mod attempts;
mod effect;
mod error_fields;
mod rows;
mod texts;

use std::time::{Duration, SystemTime};

pub use attempts::{Attempts, MAX_TRIES, Recovery, Situation, after_interrupt, after_recovery};
pub use effect::{Action, Counter, Effect, LimitScope, Repeat, Streak};
pub use error_fields::{ErrorFields, MAX_ERROR_BODY, MAX_FIELD};
pub use rows::{ROWS, Row};
pub use texts::{CLAUDE, CODEX, Meaning, Statuses, Text, Texts, Words};

/// How a 429 is to be read, as found by the provider's parser from headers and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A base window is used up. `until`: the latest reset of those rejected; an hour from now for `out_of_credits`;
    /// `None` if no reset is stated.
    Base {
        /// Until when.
        until: Option<SystemTime>,
    },
    /// Only a scoped window is. The scope itself stays with the parser, which applies it: [`LimitScope::Named`].
    Scoped {
        /// Until when: its reset, else the unified reset.
        until: Option<SystemTime>,
    },
    /// No limit was named.
    Burst {
        /// What `Retry-After` asks.
        retry_after: Option<Duration>,
    },
    /// The request asked for what its account has not paid for: extra usage, long context, credits.
    Entitlement,
}

/// An answer of the provider's that is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// What its body, or the first telling event of its stream, says.
    pub error: &'a ErrorFields,
    /// Whether `error` is the first telling event of a stream that began with a good status.
    pub is_first_event: bool,
    /// How the provider's parser reads it, if it is a 429 (or the headers of a stream that begins with an error say so).
    /// `None`: it had nothing to read, and the texts decide.
    pub refusal: Option<RefusalKind>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy)]
pub enum Failure<'a> {
    /// An answer.
    Answer(Answer<'a>),
    /// The request was not sent, or certainly not processed: refused, no address, TLS, a timeout before it was sent;
    /// HTTP/2 REFUSED_STREAM, or GOAWAY below the stream.
    NotSent,
    /// The connection was lost after the request was sent, before the head of an answer or before the first telling event
    /// of its stream.
    Lost,
    /// No head came within `timeouts.response_head`.
    NoHead,
}

/// What is to be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The line of the table: `failovers_total{reason}`.
    pub reason: &'static str,
    /// What the credential becomes.
    pub effect: Effect,
    /// What the request does.
    pub action: Action,
    /// Whether this was a refusal with a reset time, which does not count towards [`MAX_TRIES`].
    pub has_reset: bool,
}

/// Judges a failure by the table.
pub fn judge(texts: &Texts, failure: &Failure<'_>, situation: &Situation) -> Verdict {
    let seen = Seen::new(texts, failure);
    let mut verdict = judge_by(&ROWS, &seen, situation);
    if let Failure::Answer(answer) = failure
        && answer.is_first_event
        && verdict.reason == rows::FIRST_EVENT
    {
        // The last line: judged again, as the status that the event stands for. Without one it is none of our business.
        let status = answer.error.status.or_else(|| texts.status_of(answer.error)).unwrap_or(0);
        let answer = Answer { status, is_first_event: false, ..*answer };
        verdict = judge_by(&ROWS, &Seen::new(texts, &Failure::Answer(answer)), situation);
    }
    verdict
}

/// The first row that matches decides. The last but one matches whatever is left.
fn judge_by(rows: &[Row], seen: &Seen<'_>, situation: &Situation) -> Verdict {
    match rows.iter().find(|row| (row.matches)(seen, situation)) {
        Some(row) => {
            let effect = row.effect(seen, situation);
            let has_reset =
                matches!(effect, Effect::RateLimited { needs_poll: false, .. }) && row.may_have_reset();
            Verdict {
                reason: row.reason,
                effect,
                action: attempts::action(row, has_reset, seen.is_answer(), situation),
                has_reset,
            }
        }
        None => Verdict {
            reason: rows::OTHER,
            effect: Effect::Unchanged,
            action: if seen.is_answer() { Action::PassThrough } else { Action::End },
            has_reset: false,
        },
    }
}

/// A failure with the meaning of its text looked up.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    failure: Failure<'a>,
    meaning: Option<Meaning>,
    refusal: Option<RefusalKind>,
    recovers_any_403: bool,
    /// Whether the answer is none of the provider's API.
    is_foreign: bool,
}

impl<'a> Seen<'a> {
    fn new(texts: &Texts, failure: &Failure<'a>) -> Self {
        let mut seen = Self {
            failure: *failure,
            meaning: None,
            refusal: None,
            recovers_any_403: texts.recovers_any_403,
            is_foreign: false,
        };
        if let Failure::Answer(answer) = failure {
            seen.is_foreign = answer.error.is_foreign;
            seen.meaning = texts.meaning(answer.status, answer.error);
            seen.refusal = answer.refusal;
        }
        seen
    }

    fn is_answer(&self) -> bool {
        matches!(self.failure, Failure::Answer(_))
    }

    /// The status, unless the answer is a stream that begins with an error: that is the last row's to see.
    fn status(&self) -> Option<u16> {
        match &self.failure {
            Failure::Answer(answer) if !answer.is_first_event => Some(answer.status),
            _ => None,
        }
    }

    fn means(&self, meaning: Meaning) -> bool {
        self.status().is_some() && self.meaning == Some(meaning)
    }
}

#[cfg(test)]
mod tests;
