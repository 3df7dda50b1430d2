//! Asking the provider whether it takes a token (credentials.md, *Auth failure on a request*).

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use trunkline_core::auth_recovery::{CheckAnswer, is_auth_failure};
use trunkline_core::provider::{Probe, ProbeTarget};

use super::live::Ways;
use crate::own_request::{OwnRequest, send_patiently};

/// The longest that one may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Connections tried.
const TRIES: u32 = 3;

/// Sends it. `None`, where there is nothing to ask with, is no answer.
pub(super) async fn check(probe: Option<Probe>, ways: &Ways) -> CheckAnswer {
    let Some(Probe { target: ProbeTarget::Api(path), headers }) = probe else {
        return CheckAnswer::NoAnswer;
    };
    let Ok(path) = path.parse() else { return CheckAnswer::NoAnswer };
    let request = OwnRequest { method: Method::GET, path: Some(path), headers, body: Bytes::new() };
    let sent = send_patiently(&ways.api, &ways.user_agent, &request, TRIES);
    let answer = match tokio::time::timeout(TIMEOUT, sent).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(credential = &*ways.tag, %error, "the token could not be checked");
            return CheckAnswer::NoAnswer;
        }
        Err(_) => return CheckAnswer::NoAnswer,
    };
    if answer.status == 200 {
        return CheckAnswer::Accepted;
    }
    let message = error_message(&answer.body);
    if is_auth_failure(answer.status.as_u16(), message.as_deref()) {
        CheckAnswer::Refused
    } else {
        CheckAnswer::NoAnswer
    }
}

/// `error.message` of an error in either provider's shape.
pub(crate) fn error_message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("error")?.get("message")?.as_str().map(str::to_owned)
}
