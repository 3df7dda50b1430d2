//! The load: a client and an upstream in hand-written HTTP/1.1, cheap enough for both to share one core.

mod client;
mod event;
mod message;
mod request;
mod upstream;
mod wire;

pub(crate) use self::client::Client;
pub(crate) use self::event::{EVENT_LENGTH, EventReader};
pub(crate) use self::request::messages_request;
pub(crate) use self::upstream::{Reply, Upstream, json_head};
