//! What outlives the process: a SQLite file in the data directory.
//!
//! Spec: routing.md, *Sessions*; usage.md, *Ledger*. So far it holds which credential serves which session. It is never in
//! the way of a request: a thread of its own writes behind ([`SessionStore`]), and whatever is wrong with the file is a
//! warning.

mod database;
mod sessions;
mod store;

pub use database::{Database, DatabaseError, FILE};
pub use store::SessionStore;
