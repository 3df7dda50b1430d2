//! The engine: what a service does with a request, generic over the [`Provider`](trunkline_core::provider::Provider).
//!
//! A request goes one way: [`service`] checks and authenticates it and picks a credential ([`credential`]), its body
//! is read through [`upload`] while [`upstream`] sends it on, and the answer goes back through [`relay`], whose end
//! writes the request's record ([`record`]).

pub mod activity;
pub mod bindings;
mod changed_members;
pub mod client_connection;
mod client_headers;
pub mod credential;
mod decode;
pub mod failovers;
mod forward;
mod handshake;
mod kept_bytes;
pub mod memory_budget;
mod own_request;
mod read_ahead;
pub mod received_body;
pub mod record;
pub mod relay;
pub mod service;
pub mod state_changes;
pub mod upload;
pub mod upstream;
mod websocket;
