//! The process-level adapters around the engine: sockets, TLS, connections with their limits, and the drain at the end.

mod assemble;
mod client_io;
mod connection;
mod connection_limit;
mod drain;
mod listener;
mod mounts;
mod server;
mod tls;
mod way_out;
mod workers;

pub use assemble::AssembleError;
pub use drain::Drain;
pub use server::{BindError, Bound, Drained, Server};
