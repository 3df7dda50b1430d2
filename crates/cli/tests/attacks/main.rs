//! What attackers do, done to the real binary: a file for each class of attack.
//!
//! Each test prints figures (memory for each connection, the latency of a bystander) and asserts bounds that hold on any
//! machine, however busy: of memory, of counts, and of what bystanders are answered, never of time. Traffic goes to loopback
//! only, and is bounded in count. By default it takes seconds; `TRUNKLINE_ATTACKS=10` does ten times as much, and what
//! takes minutes besides.
//!
//! ```sh
//! cargo test -p trunkline --test attacks -- --nocapture
//! TRUNKLINE_ATTACKS=10 cargo test --release -p trunkline --test attacks -- --nocapture
//! ```

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod bomb;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod support;

#[cfg(test)]
mod hosts;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod target;
