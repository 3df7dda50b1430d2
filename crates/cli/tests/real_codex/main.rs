//! The real Codex client, run through the real binary against the scripted API.
//!
//! `scripts/real-codex` installs the client and names it in `TRUNKLINE_CODEX`. Without that variable there is
//! nothing to run, which is said aloud, and is a failure where `CI` is set: these tests must not vanish unnoticed.

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod client;
#[cfg(test)]
mod compressed;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod dead_account;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod setup;
