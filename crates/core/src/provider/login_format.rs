//! The half of a provider that concerns its logins: files, refreshes, polls, plans.
//!
//! Spec: credentials.md. A provider's services and its logins are apart, so that logins can be read, refreshed and weighed
//! by what serves no requests.

use std::fmt::Debug;
use std::time::SystemTime;

use http::HeaderMap;

use crate::login::{Login, LoginError, Plan};
use crate::provider::Authorization;
use crate::refresh::{AccountFacts, AnswerError, REFUSING_CODES, RefreshAnswer, RefreshKind, RefreshRequest};

/// Where a request of our own goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeTarget {
    /// This path under the credential's `api_url`.
    Api(&'static str),
    /// This path under its `openai_url`.
    OpenAi(&'static str),
    /// The service's `usage_url`.
    UsageUrl,
}

/// A `GET` of our own, but for our `User-Agent`.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Where it goes.
    pub target: ProbeTarget,
    /// Its headers; those with secrets are marked sensitive.
    pub headers: HeaderMap,
}

/// What a profile tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// The plan.
    pub plan: Plan,
    /// Whose it is.
    pub account: AccountFacts,
}

/// How a provider's logins are read, renewed and weighed. Implementations are zero-sized; every function is pure.
pub trait LoginFormat: Debug + Send + Sync + 'static {
    /// Reads a login file.
    fn read_login(&self, text: &[u8]) -> Result<Login, LoginError>;

    /// What tells the owner to log in again.
    fn login_hint(&self) -> &'static str;

    /// The request that refreshes a login. `None`: there is nothing to refresh it with.
    fn refresh_request(&self, login: &Login, kind: RefreshKind) -> Option<RefreshRequest>;

    /// Reads a 2xx answer to the refresh of `before`. `now`: when it came; the life of the new token counts from there, also
    /// when the answer is read from a journal later.
    fn read_refresh_answer(
        &self,
        before: &Login,
        raw: &[u8],
        now: SystemTime,
    ) -> Result<RefreshAnswer, AnswerError>;

    /// Whether a 4xx answer of the token endpoint refuses the refresh token for good. `code`: its error code.
    fn refuses_for_good(&self, status: u16, code: Option<&str>) -> bool;

    /// The poll of the usage endpoint. `None`: this login is not polled (API keys), or its token fits into no header.
    fn usage_poll(&self, login: &Login) -> Option<Probe>;

    /// The request that tells whether an authorization without a usage poll is still accepted: `GET /v1/models`. `None`: it
    /// fits into no header.
    fn authorization_check(&self, authorization: &Authorization) -> Option<Probe>;

    /// The request for the profile, where the plan is not in the login itself. `None`: the provider has none.
    fn profile_request(&self, login: &Login) -> Option<Probe>;

    /// Reads the answer to it. Every field is optional.
    fn read_profile(&self, raw: &[u8]) -> Result<Profile, AnswerError>;

    /// How much a plan weighs among others (credentials.md, *Profile and plan weight*); at least 1.
    fn plan_weight(&self, plan: &Plan) -> u32;
}

/// The refusals that both providers have in common: 400 or 401 with one of the codes.
pub(super) fn refuses_by_code(status: u16, code: Option<&str>) -> bool {
    matches!(status, 400 | 401) && code.is_some_and(|code| REFUSING_CODES.contains(&code))
}
