//! The process-level adapters around the engine: sockets, TLS, connections with their limits, what changes while it runs
//! (configuration, files), the control socket, and the drain at the end.

mod assemble;
mod client_io;
mod connection;
mod connection_limit;
#[cfg(unix)]
pub mod control;
mod data_directory;
mod drain;
mod file_watch;
mod front;
mod listen_error;
mod listener;
mod mounts;
mod port;
mod port_holder;
mod server;
mod stream_stall;
mod tls;
mod upstream_in_use;
mod upstreams;
mod waits;
mod way_out;
mod workers;

pub use assemble::AssembleError;
pub use data_directory::{DataDirectory, DataDirectoryError};
pub use drain::Drain;
pub use file_watch::FileWatch;
pub use port::{PortState, port_state};
pub use port_holder::Holder as PortHolder;
pub use server::{BindError, Bound, Drained, Running, Server, tls_files};
pub use upstream_in_use::{UpstreamInUse, upstreams_in_use};
