//! The pure part of Trunkline: what is decided, without anything that acts.
//!
//! Nothing in this crate reads a clock, a file, a socket or a random number, and nothing blocks or awaits: time
//! comes in as an argument, bytes come in as slices, and what comes out is a value. `tests/purity.rs` keeps it so.
//!
//! The way of a request through these modules: [`target`] and [`web_guard`] say whether it may come in at all,
//! [`auth`] whose it is, [`provider`] what it means, [`scan`] reads what is needed from its body, [`headers`] what
//! of it goes on to the provider and what of the answer comes back ([`kept_headers`] holds them for a further try), and [`fault`] is every way in which we
//! ourselves say no.
//!
//! The life of a credential: [`login`] is what its file gives, [`refresh`] when and how it is renewed, [`auth_recovery`]
//! what to do when the provider refuses it on a request, [`availability`] whether it may be used, and [`plan`] how much
//! it weighs. What it may still do is the matter of [`limits`].
//!
//! Routing: [`sessions`] and [`selection`] say which credential serves a request, [`failure`] what a failed try means,
//! [`first_event`] when the head of a stream may go to the client, [`event_cut`] what of it may not,
//! [`issued_states`] whose a turn's state is, [`capacity_wait`] how long to wait for a credential,
//! [`interrupt`] what a change of state cancels, [`socket`] what happens on a WebSocket, and [`final_answer`] what the client gets when nothing is left to try.

pub mod auth;
pub mod auth_recovery;
pub mod availability;
pub mod capacity_wait;
mod civil_time;
pub mod client_address;
pub mod document;
pub mod event_cut;
mod event_stream;
pub mod failure;
pub mod fault;
pub mod final_answer;
pub mod first_event;
pub mod glob;
pub mod headers;
pub mod http2_frames;
pub mod ids;
pub mod interrupt;
pub mod issued_states;
pub mod json_edit;
pub mod kept_headers;
pub mod limits;
pub mod login;
pub mod misdirected;
pub mod plan;
pub mod provider;
pub mod refresh;
pub mod request_head;
pub mod request_hints;
pub mod request_id;
pub mod retry_after;
pub mod scan;
pub mod secret;
pub mod selection;
pub mod sessions;
pub mod socket;
pub mod span;
pub mod target;
pub mod throttle;
pub mod web_guard;
