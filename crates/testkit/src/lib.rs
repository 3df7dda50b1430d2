//! The test kit of Trunkline: scripted providers, raw clients, recorded exchanges and the real binary, for
//! end-to-end tests, benchmarks and demonstrations.
//!
//! Everything binds to loopback on port 0, every task belongs to a value that ends it when dropped, and
//! nothing is timed by sleeping: a test holds a script back with a [`Signal`] and waits for what it expects
//! with a bound ([`PATIENCE`]), so that a failure is an error and never a hang.
//!
//! * [`Upstream`] answers with [`Script`]s, byte for byte, and records what it was asked.
//! * `Proxy` is an HTTP or SOCKS proxy that records what it was asked, and refuses, stalls or cuts as told.
//! * [`ClaudeApi`] is such a behaviour that acts like the Claude API, and `CodexApi` one like the Codex API.
//! * `websocket` is either end of a WebSocket, frame by frame, and cases to test one with.
//! * [`client`] sends exact bytes and sees the frames of the answer as they arrive.
//! * `fixtures` are exchanges recorded between the real client and a mock of the provider.
//! * `Trunkline` runs the real binary; [`canary`] finds secrets in what it wrote.
//!
//! `trunkline demo` runs a part of it as a product: the scripted APIs and their upstream over HTTP/1.1, the client, and
//! temporary directories. That part panics at nothing that a peer sends, and bounds what it takes in. The rest is there
//! with the feature `testing`.

pub mod canary;
pub mod claude;
pub mod client;
mod clock;
pub mod codex;
#[cfg(feature = "testing")]
pub mod comparison;
#[cfg(feature = "testing")]
pub mod fixtures;
mod headers;
mod log;
#[cfg(feature = "testing")]
pub mod ports;
#[cfg(feature = "testing")]
pub mod process;
#[cfg(feature = "testing")]
pub mod proxy;
mod signal;
mod socket;
pub mod sse;
#[cfg(feature = "testing")]
pub mod tls;
pub mod tmp;
pub mod upstream;
pub mod websocket;
mod wire;

pub use claude::ClaudeApi;
pub use codex::CodexApi;
pub use headers::Headers;
#[cfg(feature = "testing")]
pub use process::Trunkline;
#[cfg(feature = "testing")]
pub use proxy::Proxy;
pub use signal::{PATIENCE, Signal, bounded};
#[cfg(feature = "testing")]
pub use tls::{Alpn, Authority};
pub use tmp::TempDir;
pub use upstream::{Script, Upstream};
