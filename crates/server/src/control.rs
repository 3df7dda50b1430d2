//! The control socket: how a running instance is asked, from the same machine, by its own user.
//!
//! HTTP/1.1 over a Unix socket in the data directory, JSON in both directions. Spec: operations.md, *Command line*.

mod client;
mod event;
mod listener;
pub mod status;

pub use client::{AskError, Events, ask, follow};
pub use event::Event;
pub use listener::{ControlSocket, ControlSocketError};

/// Where the state of the instance is asked for.
const STATUS: &str = "/v1/status";

/// Where what happens is told.
const EVENTS: &str = "/v1/events";
