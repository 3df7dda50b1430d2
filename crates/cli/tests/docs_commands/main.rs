//! Every command line of README.md and docs/*.md is run as it stands there, or is listed here with the reason why not.
//!
//! What counts is fenced blocks marked `sh`. `trunkline` and `cargo run … -p trunkline --` are the binary under test;
//! what serves is started on a free port, waited for, and stopped.

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod commands;
#[cfg(test)]
mod lines;
