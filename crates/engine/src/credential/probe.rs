//! Asking the provider whether it takes a token (credentials.md, *Auth failure on a request*).

use bytes::Bytes;
use http::Method;
use trunkline_core::auth_recovery::{CheckAnswer, is_auth_failure};
use trunkline_core::limits::poll_schedule::{CONNECTION_TRIES as TRIES, TIMEOUT};
use trunkline_core::provider::{Probe, ProbeTarget, UpstreamBase};

use super::live::Ways;
use crate::own_request::{OwnAnswer, OwnRequest, send_patiently};

/// Sends it. `None`, where there is nothing to ask with, is no answer.
pub(super) async fn check(probe: Option<Probe>, ways: &Ways) -> CheckAnswer {
    let Some(probe) = probe else { return CheckAnswer::NoAnswer };
    let answer = match ask(probe, ways).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(credential = &*ways.tag, error, "the token could not be checked");
            return CheckAnswer::NoAnswer;
        }
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

/// Sends it, and gives the answer, whatever its status; or why there is none.
pub(super) async fn ask(probe: Probe, ways: &Ways) -> Result<OwnAnswer, String> {
    let Probe { target, headers } = probe;
    let (upstream, path) = match target {
        ProbeTarget::Api(path) => (ways.endpoints.at(UpstreamBase::Api), Some(path)),
        ProbeTarget::OpenAi(path) => (ways.endpoints.at(UpstreamBase::OpenAi), Some(path)),
        ProbeTarget::UsageUrl => {
            (ways.endpoints.usage.as_ref().ok_or_else(|| "there is no such address".to_owned())?, None)
        }
    };
    let path = path.map(str::parse).transpose().map_err(|_| "there is no such path".to_owned())?;
    let request = OwnRequest { method: Method::GET, path, headers, body: Bytes::new() };
    let sent = send_patiently(upstream, &ways.user_agent, &request, TRIES);
    match tokio::time::timeout(TIMEOUT, sent).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}

/// `error.message` of an error in either provider's shape.
fn error_message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("error")?.get("message")?.as_str().map(str::to_owned)
}
