//! Real proxies between the real binary and a scripted provider: tinyproxy, Squid, MicroSocks and Dante.
//!
//! Each is started on a loopback port of its own with a configuration of its own, so that an instance which the system
//! runs is not touched. Where a program is not installed its tests are skipped, which is said aloud, and is a failure
//! where `CI` is set: these tests must not vanish unnoticed.

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod program;
#[cfg(test)]
mod stories;
