//! The real binary dies while it refreshes a login, at every fault point and at any time, and no login is lost.
//!
//! Needs the feature `fault-points`. `TRUNKLINE_KILLS` says how often it is killed at random, and lets it die at every pair of
//! points.

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod scene;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tally;
