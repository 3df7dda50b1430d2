//! Asking the provider whether it takes a token (credentials.md, *Auth failure on a request*).

use bytes::Bytes;
use http::Method;
use trunkline_core::auth_recovery::{CheckAnswer, is_auth_failure};
use trunkline_core::failure::{ErrorFields, Meaning};
use trunkline_core::limits::poll_schedule::{CONNECTION_TRIES as TRIES, TIMEOUT};
use trunkline_core::provider::{Probe, ProbeTarget, Provider, UpstreamBase};

use super::live::Ways;
use crate::own_request::{OwnAnswer, OwnRequest, send_patiently};

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// Whether the token is taken.
    pub(super) answer: CheckAnswer,
    /// Whether it was refused because the account is disabled, for which no token is at fault.
    pub(super) is_disabled: bool,
}

impl Checked {
    const NOTHING: Self = Self { answer: CheckAnswer::NoAnswer, is_disabled: false };
}

/// Sends it. `None`, where there is nothing to ask with, is no answer.
pub(super) async fn check(probe: Option<Probe>, ways: &Ways, provider: &dyn Provider) -> Checked {
    let Some(probe) = probe else { return Checked::NOTHING };
    let answer = match ask(probe, ways).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(credential = &*ways.tag, error, "the token could not be checked");
            return Checked::NOTHING;
        }
    };
    if answer.status == 200 {
        return Checked { answer: CheckAnswer::Accepted, is_disabled: false };
    }
    let error = ErrorFields::from_body(&answer.body);
    let status = answer.status.as_u16();
    if is_account_disabled(provider, status, &error) {
        return Checked { answer: CheckAnswer::Refused, is_disabled: true };
    }
    if is_auth_failure(status, error.message.as_deref()) {
        Checked { answer: CheckAnswer::Refused, is_disabled: false }
    } else {
        Checked::NOTHING
    }
}

/// Whether an answer to a request of ours says that the account is disabled.
pub(super) fn is_account_disabled(provider: &dyn Provider, status: u16, error: &ErrorFields) -> bool {
    provider.failure_texts().meaning(status, error) == Some(Meaning::AccountDisabled)
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
