//! Codex: the login of OpenAI's command line client, and its limits.
//!
//! Spec: credentials.md, *Login file: Codex*; facts: `codex.md`, section 6.

mod jwt;
pub mod limits;
mod login;
mod refresh;

use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::login::{Login, LoginError, LoginKind, Plan};
use crate::provider::login_format::refuses_by_code;
use crate::provider::{Authorization, LoginFormat, Probe, ProbeTarget, Profile};
use crate::refresh::{AnswerError, RefreshAnswer, RefreshKind, RefreshRequest};
use crate::secret::Secret;

const ACCOUNT_ID: HeaderName = HeaderName::from_static("chatgpt-account-id");

/// The logins of Codex.
#[derive(Debug, Clone, Copy)]
pub struct CodexLogin;

impl LoginFormat for CodexLogin {
    fn read_login(&self, text: &[u8]) -> Result<Login, LoginError> {
        login::read(text)
    }

    fn login_hint(&self) -> &'static str {
        "run \"codex login\""
    }

    fn refresh_request(&self, login: &Login, kind: RefreshKind) -> Option<RefreshRequest> {
        refresh::request(login, kind)
    }

    fn read_refresh_answer(
        &self,
        before: &Login,
        raw: &[u8],
        now: SystemTime,
    ) -> Result<RefreshAnswer, AnswerError> {
        refresh::read_answer(before, raw, now)
    }

    /// Any 401, besides the codes.
    fn refuses_for_good(&self, status: u16, code: Option<&str>) -> bool {
        status == 401 || refuses_by_code(status, code)
    }

    fn usage_poll(&self, login: &Login) -> Option<Probe> {
        if login.kind == LoginKind::ApiKey {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer(&login.access_token)?);
        if let Some(account) = &login.account_id {
            headers.insert(ACCOUNT_ID, HeaderValue::try_from(account).ok()?);
        }
        Some(Probe { target: ProbeTarget::UsageUrl, headers })
    }

    fn authorization_check(&self, authorization: &Authorization) -> Option<Probe> {
        let (Authorization::OAuth(token) | Authorization::ApiKey(token)) = authorization;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer(token)?);
        Some(Probe { target: ProbeTarget::Api("/v1/models"), headers })
    }

    /// The plan is in the id token, and in every usage poll.
    fn profile_request(&self, _login: &Login) -> Option<Probe> {
        None
    }

    fn read_profile(&self, _raw: &[u8]) -> Result<Profile, AnswerError> {
        Ok(Profile::default())
    }

    fn plan_weight(&self, plan: &Plan) -> u32 {
        match plan.subscription.as_deref() {
            Some("promax") => 25,
            Some("pro") => 10,
            Some("prolite") => 5,
            _ => 1,
        }
    }
}

fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
