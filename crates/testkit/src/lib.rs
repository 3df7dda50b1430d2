//! The test kit of Trunkline: scripted providers, raw clients, recorded exchanges and the real binary, for
//! end-to-end tests, benchmarks and demonstrations.
//!
//! Everything binds to loopback on port 0, every task belongs to a value that ends it when dropped, and
//! nothing is timed by sleeping: a test holds a script back with a [`Signal`] and waits for what it expects
//! with a bound ([`PATIENCE`]), so that a failure is an error and never a hang.
//!
//! * [`Upstream`] answers with [`Script`]s, byte for byte, and records what it was asked.
//! * [`Proxy`] is an HTTP or SOCKS proxy that records what it was asked, and refuses, stalls or cuts as told.
//! * [`ClaudeApi`] is such a behaviour that acts like the Claude API.
//! * [`client`] sends exact bytes and sees the frames of the answer as they arrive.
//! * [`fixtures`] are exchanges recorded between the real client and a mock of the provider.
//! * [`Trunkline`] runs the real binary; [`canary`] finds secrets in what it wrote.

pub mod canary;
pub mod claude;
pub mod client;
mod clock;
pub mod fixtures;
mod headers;
mod log;
pub mod process;
pub mod proxy;
mod signal;
mod socket;
pub mod sse;
pub mod tls;
pub mod tmp;
pub mod upstream;
mod wire;

pub use claude::ClaudeApi;
pub use headers::Headers;
pub use process::Trunkline;
pub use proxy::Proxy;
pub use signal::{PATIENCE, Signal, bounded};
pub use tls::{Alpn, Authority};
pub use tmp::TempDir;
pub use upstream::{Script, Upstream};
