//! Whether a credential can be used: one state, derived from facts and the clock at every read.
//!
//! Spec: credentials.md, *Availability*; who asks: routing.md, *Interrupts* and *Failures*. Nothing here is a flag that
//! somebody must remember to clear: [`Facts`] hold what happened and until when it counts, events change them, and
//! [`Facts::state`] says what follows at a given moment.

mod change;
mod events;
mod facts;
mod listing;
mod pick;
mod poll;
mod state;
mod streak;
mod table;
mod way_out;

pub use change::{Change, StateLog};
pub use events::{LoginChange, RequestEnd};
pub use facts::{CappedWindow, Facts, LoginFacts, MAX_RATE_LIMITED, RateLimited, Renewal, Source};
pub use pick::{Asking, Pickable};
pub use poll::RECHECK_EVERY;
pub use state::{Availability, BlockReason, Scope, Unavailable};
pub use streak::FailureCounts;
pub use way_out::WayOut;

#[cfg(test)]
mod tests;
