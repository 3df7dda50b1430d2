//! What a credential may still do: the windows of its subscription, what was observed of them, what its owner lets
//! be used, and what a user is shown of a whole pool.
//!
//! Spec: limits.md, and of routing.md the refusals (429) and *No candidate usable*. Time comes in as an argument and
//! every answer is derived from it, so that nothing has to be cleared when a moment passes: reading late equals
//! reading on time.
//!
//! The way of a number: a provider's parser ([`provider::LimitFacts`]) makes [`Readings`] of headers, an event or a poll; [`Windows`]
//! merges them by where they came from ([`Source`]); [`Caps`] say how much of a window is offered; [`Aggregate`] is
//! the pool as one, and the provider's own renderer makes headers or a body of it. What a provider refuses is a
//! [`Refusal`]. When to ask a provider for its numbers is decided by [`poll_schedule`].

pub mod aggregate;
pub mod caps;
mod class;
pub mod credential_state;
pub mod error_body;
pub mod exhausted;
pub mod json;
pub mod limited;
mod merge;
pub mod moment;
pub mod number;
pub mod poll_schedule;
pub mod provider;
pub mod readings;
pub mod refusal;
pub mod scope;
pub mod shown;
pub mod timestamp;
pub mod utilization;
pub mod weight;
pub mod window;
pub mod windows;

pub use aggregate::{Aggregate, AggregateWindow, Member, MemberKind, Standing};
pub use caps::Caps;
pub use exhausted::{NoCandidate, Obstacle};
pub use limited::{Claim, Limited};
pub use provider::{LimitFacts, RefusedAnswer};
pub use readings::{Reading, Readings, ReportedWindow, ScopedReading};
pub use refusal::{Refusal, RefusedWindow, RefusedWindows};
pub use scope::LimitScope;
pub use shown::View;
pub use utilization::Utilization;
pub use weight::Weight;
pub use window::{BaseWindow, Window, WindowPair};
pub use windows::{Observed, Source, Windows};
