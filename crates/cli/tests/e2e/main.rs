//! End-to-end tests: the real binary between scripted providers and raw clients, one module for each story.

// All of this is test code, and is to be linted as such.
#[cfg(test)]
mod access;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod codex_canary;
#[cfg(test)]
mod codex_failures;
#[cfg(test)]
mod codex_first_run;
#[cfg(test)]
mod codex_http;
#[cfg(test)]
mod codex_limits;
#[cfg(test)]
mod codex_recorded;
#[cfg(test)]
mod codex_turn_state;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doctor_logins;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod env;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod failover_http2;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod free_requests;
#[cfg(test)]
mod interrupts;
#[cfg(test)]
mod limit_headers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod login;
#[cfg(test)]
mod login_files;
#[cfg(test)]
mod login_locks;
#[cfg(test)]
mod no_candidate;
#[cfg(test)]
mod out_of_use;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod outbound_environment;
#[cfg(test)]
mod own_answers;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod real_client_locks;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod refresh_failures;
#[cfg(test)]
mod refresh_unread;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod refused_token;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod reload_storm;
#[cfg(test)]
mod retry_headers;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod socket_cases;
#[cfg(test)]
mod socket_connect;
#[cfg(test)]
mod socket_ends;
#[cfg(test)]
mod socket_full;
#[cfg(test)]
mod socket_http2;
#[cfg(test)]
mod socket_order;
#[cfg(test)]
mod socket_recorded;
#[cfg(test)]
mod socket_secrets;
#[cfg(test)]
mod socket_soak;
#[cfg(test)]
mod socket_turns;
#[cfg(test)]
mod status;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod throttled;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod unasked_101;
#[cfg(test)]
mod upload;
