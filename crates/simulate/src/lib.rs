//! Weeks of work against modelled accounts, in virtual time, by the code that serves: the selection, the session table,
//! the table of failures and the interrupts of `trunkline-core`.
//!
//! [`Workload`] says who works how much on what accounts, and [`run`] does that work under one [`Setting`], the same to
//! the last request for the same seed. It gives a [`Tally`], and the [`Violation`]s of what must hold at every moment
//! (`invariants`). What is modelled, and what not:
//!
//! * An account (`account`) has a 5-hour window that begins with its first use, a weekly one with a fixed reset, a bucket
//!   of its own for one model family, and a bound on bursts. It refuses as the provider does, with the reset times.
//! * A request costs what its context costs to read, much more where the prompt cache is cold. Costs are shares of the
//!   accounts' capacity, not money or tokens.
//! * What is known of an account (`known`) is what its answers and polls have told, rounded up as the headers are.
//! * Overload, and accounts that cannot be reached, come in spells. Logins do not expire, and WebSockets, external
//!   credentials and API keys are left out.

mod account;
mod flight;
mod invariants;
mod known;
mod report;
mod tally;
mod workload;
mod world;

pub use account::Plan;
pub use invariants::{MAX_VIOLATIONS, Violation};
pub use report::table;
pub use tally::Tally;
pub use workload::{SessionSpec, Spells, Workload};
pub use world::{Setting, run};
