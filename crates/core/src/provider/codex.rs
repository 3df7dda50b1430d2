//! Codex: OpenAI's Responses API as its command line client speaks it, over HTTP and WebSocket.
//!
//! Spec: codex.md; credentials.md, *Login file: Codex*. What the client was seen to do: the fact sheet `codex.md`, whose
//! sections are named beside each fact below.

mod client;
mod envelope;
mod jwt;
pub mod limits;
mod login;
mod refresh;
mod socket;

use std::time::SystemTime;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::failure::{CODEX, Texts};
use crate::fault::Fault;
use crate::limits::LimitFacts;
use crate::login::{Login, LoginError, LoginKind, Plan};
use crate::provider::login_format::refuses_by_code;
use crate::provider::{
    Authorization, ClientFile, ClientMode, ClientToken, Disturbance, LoginFormat, MAX_SESSION_ID, OwnAnswer,
    PreparedAuthorization, Probe, ProbeTarget, Profile, Provider, Route, UpstreamBase, UpstreamTarget,
    WANTED_COUNT,
};
use crate::refresh::{AnswerError, RefreshAnswer, RefreshKind, RefreshRequest};
use crate::request_hints::RequestHints;
use crate::scan::{Found, Wanted};
use crate::secret::Secret;
use crate::selection::Quota;
use crate::socket::SocketFacts;

/// The Codex provider.
#[derive(Debug, Clone, Copy)]
pub struct Codex;

const ACCOUNT_ID: HeaderName = HeaderName::from_static("chatgpt-account-id");

/// The state that the first answer of a turn gives, sent again with every later request of that turn (fact sheet, 2).
static TURN_STATE: HeaderName = HeaderName::from_static("x-codex-turn-state");

/// What instances of older versions know a session by (fact sheet, 7.1).
const SESSION_ID: HeaderName = HeaderName::from_static("session_id");

/// Where a session's id may stand among the headers, by precedence (codex.md, *Headers*): version 0.169 sends the first,
/// older ones the others (fact sheet, 2).
static SESSION_HEADERS: [HeaderName; 3] =
    [HeaderName::from_static("session-id"), SESSION_ID, HeaderName::from_static("conversation_id")];

/// The part of a path that goes where logins go (codex.md, *Routes*).
const VERSION_PREFIX: &str = "/v1";

/// Where turns go, and what lies below it.
const RESPONSES: &str = "/v1/responses";

impl Provider for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    /// codex.md, *Routes*. The usage endpoint has three spellings, by the base URL that the client was given (fact sheet, 6).
    fn route(&self, method: &Method, path: &str) -> Route {
        let is_responses =
            path.strip_prefix(RESPONSES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match (method.as_str(), path) {
            ("POST", path) if is_responses => {
                Route::Forward { asks_model: true, shows_limits: path == RESPONSES, uses_quota: true }
            }
            ("GET" | "CONNECT", _) if is_responses => Route::Socket,
            ("GET", "/v1/models") => {
                Route::Forward { asks_model: false, shows_limits: false, uses_quota: false }
            }
            ("POST", "/v1/chat/completions") => Route::ForwardWithApiKey,
            (_, path) if path.starts_with("/v1/") => Route::OnlyIfAllowed,
            ("GET", "/wham/usage" | "/backend-api/wham/usage" | "/api/codex/usage") => Route::Usage,
            ("HEAD" | "GET", "/") => Route::Hello,
            _ => Route::Unknown,
        }
    }

    /// Fact sheet, 2: keys of `client_metadata` come in any order, and the cache key is the thread's id.
    fn wanted(&self) -> [Wanted; WANTED_COUNT] {
        [
            Wanted::Top("model"),
            Wanted::Nested("client_metadata", "session_id"),
            Wanted::Top("prompt_cache_key"),
        ]
    }

    fn session(&self, headers: &HeaderMap, body: &[Found]) -> Option<String> {
        let of_headers =
            SESSION_HEADERS.iter().filter_map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        of_headers
            .chain(body.iter().filter_map(Found::text))
            .find(|id| (1..=MAX_SESSION_ID).contains(&id.len()))
            .map(str::to_owned)
    }

    /// codex.md, *Routes*: `/v1/responses` of an OAuth login becomes `…/backend-api/codex/responses`; an API key's stays.
    fn upstream_target<'a>(&self, target: &'a str, kind: LoginKind) -> UpstreamTarget<'a> {
        match kind {
            LoginKind::ApiKey => UpstreamTarget { base: UpstreamBase::OpenAi, target },
            LoginKind::OAuth => {
                let rest = target.strip_prefix(VERSION_PREFIX).filter(|rest| rest.starts_with('/'));
                UpstreamTarget { base: UpstreamBase::Api, target: rest.unwrap_or(target) }
            }
        }
    }

    fn credential_state(&self) -> Option<&'static HeaderName> {
        Some(&TURN_STATE)
    }

    /// Its clients say it within the body, which is not read for that.
    fn hints(&self, _headers: &HeaderMap) -> RequestHints {
        RequestHints::default()
    }

    fn base_path(&self) -> &'static str {
        VERSION_PREFIX
    }

    fn name_session(&self, headers: &mut HeaderMap, session: &str) {
        if !headers.contains_key(SESSION_ID)
            && let Ok(value) = HeaderValue::from_str(session)
        {
            headers.insert(SESSION_ID, value);
        }
    }

    fn sockets(&self) -> Option<&'static dyn SocketFacts> {
        Some(&Self)
    }

    fn authorize(&self, headers: &mut HeaderMap, prepared: &PreparedAuthorization) {
        headers.insert(&prepared.name, prepared.value.clone());
        if let Some((name, value)) = &prepared.account {
            headers.insert(name, value.clone());
        }
    }

    /// Both kinds go into `authorization`; the account belongs to logins alone (fact sheet, 1.2).
    fn prepare(
        &self,
        authorization: &Authorization,
        account_id: Option<&str>,
    ) -> Option<PreparedAuthorization> {
        let (token, is_oauth) = match authorization {
            Authorization::OAuth(token) => (token, true),
            Authorization::ApiKey(key) => (key, false),
        };
        let account = match account_id.filter(|_| is_oauth) {
            Some(id) => {
                let mut value = HeaderValue::from_str(id).ok()?;
                value.set_sensitive(true);
                Some((ACCOUNT_ID, value))
            }
            None => None,
        };
        Some(PreparedAuthorization { name: AUTHORIZATION, value: bearer(token)?, account, is_oauth })
    }

    fn limit_facts(&self) -> &'static dyn LimitFacts {
        &Codex
    }

    fn failure_texts(&self) -> &'static Texts {
        &CODEX
    }

    fn is_limit_header(&self, name: &str) -> bool {
        LimitFacts::is_limit_header(self, name)
    }

    fn quota(&self, _headers: &HeaderMap) -> Quota {
        Quota::Usual
    }

    /// There is no such mode: a faster service tier is paid for by the same limits.
    fn refuse_extra_usage(&self, _headers: &HeaderMap, _why: &str) -> Option<String> {
        None
    }

    /// The client reads its configuration file.
    fn client_variables(
        &self,
        _mode: ClientMode,
        _base_url: &str,
        _token: &str,
    ) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn client_file(&self, base_url: &str, token: ClientToken<'_>) -> Option<ClientFile> {
        Some(client::file(base_url, token))
    }

    fn cleared_variables(&self, _mode: ClientMode) -> &'static [&'static str] {
        &[]
    }

    fn client_token_place(&self) -> &'static str {
        "experimental_bearer_token in ~/.codex/config.toml"
    }

    /// A provider of one's own with a token in the file is reached whatever the environment says (fact sheet, 1.1).
    fn disturbances(&self) -> &'static [Disturbance] {
        &[]
    }

    /// The client takes the request's id from a header.
    fn error(&self, fault: &Fault, _request_id: &str) -> OwnAnswer {
        envelope::error(fault)
    }

    fn hello(&self) -> OwnAnswer {
        envelope::hello()
    }
}

impl LoginFormat for Codex {
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
        let (token, target) = match authorization {
            Authorization::OAuth(token) => (token, ProbeTarget::Api("/models")),
            Authorization::ApiKey(key) => (key, ProbeTarget::OpenAi("/v1/models")),
        };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer(token)?);
        Some(Probe { target, headers })
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
mod provider_tests;
#[cfg(test)]
mod tests;
