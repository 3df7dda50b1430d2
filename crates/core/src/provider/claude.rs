//! Claude: Anthropic's Messages API as Claude Code speaks it.
//!
//! Spec: claude.md. What the client and the provider were seen to do: the fact sheet `claude-code.md`, named beside
//! each fact below.

mod client;
mod envelope;
mod keychain;
mod limits;
mod login;
mod plan;
mod refresh;

pub use keychain::keychain_service;

use std::time::SystemTime;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::failure::{CLAUDE, Texts};
use crate::fault::Fault;
use crate::limits::LimitFacts;
use crate::login::{Login, LoginError, LoginKind, Plan};
use crate::provider::{
    Authorization, ClientFile, ClientMode, ClientToken, Disturbance, LoginFormat, MAX_SESSION_ID, OwnAnswer,
    PreparedAuthorization, Probe, ProbeTarget, Profile, Provider, Route, UpstreamBase, UpstreamTarget,
    WANTED_COUNT, login_format::refuses_by_code,
};
use crate::refresh::{AnswerError, RefreshAnswer, RefreshKind, RefreshRequest};
use crate::request_hints::{self, RequestClass, RequestHints};
use crate::scan::{Found, Wanted};
use crate::selection::Quota;
use crate::socket::SocketFacts;

/// The Claude provider.
#[derive(Debug, Clone, Copy)]
pub struct Claude;

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// By which a request asks for what is left beyond a limit (gateway-contract.md, 5).
const USAGE_LIMIT: HeaderName = HeaderName::from_static("anthropic-usage-limit");
const SESSION_ID: HeaderName = HeaderName::from_static("x-claude-code-session-id");

/// What the client says of a request's place in its work (gateway contract, 6).
static REQUEST_CLASS: HeaderName = HeaderName::from_static("x-claude-code-request-class");
static AGENT_ID: HeaderName = HeaderName::from_static("x-claude-code-agent-id");
static PARENT_AGENT_ID: HeaderName = HeaderName::from_static("x-claude-code-parent-agent-id");
static AGENT_TYPE: HeaderName = HeaderName::from_static("x-claude-code-agent-type");
static PROMPT_ID: HeaderName = HeaderName::from_static("x-claude-code-prompt-id");

/// The header that names the version of the API, and the only version there is (fact sheet, 1.2). The API asks for it on
/// every request to `/v1/`.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const API_VERSION: &str = "2023-06-01";

/// The beta that a request with an OAuth token must name (fact sheet, 1.3).
const OAUTH_BETA: &str = "oauth-2025-04-20";

/// What members of `anthropic-beta` start with that ask for fast mode (claude.md, *Fast mode*).
const FAST_MODE_PREFIX: &str = "fast-mode";

/// Longest name of a beta that is repeated in a message, in bytes. The longest in use has 42.
const MAX_BETA: usize = 100;

/// How long the part of a refusal that names betas grows before no more are added, in bytes. A client names one.
const MAX_REFUSED_BETAS: usize = 256;

impl Provider for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (method.as_str(), path) {
            ("POST", "/v1/messages") => {
                Route::Forward { asks_model: true, shows_limits: true, uses_quota: true }
            }
            ("POST", "/v1/messages/count_tokens") => {
                Route::Forward { asks_model: true, shows_limits: false, uses_quota: false }
            }
            ("GET", "/v1/models") => {
                Route::Forward { asks_model: false, shows_limits: false, uses_quota: false }
            }
            ("GET", path) if path.strip_prefix("/v1/models/").is_some_and(|id| !id.is_empty()) => {
                Route::Forward { asks_model: false, shows_limits: false, uses_quota: false }
            }
            ("GET", "/api/oauth/usage") => Route::Usage,
            // A client that is signed in to a gateway sends its telemetry there, and logs an error for each that is not
            // taken (gateway contract, 8).
            ("POST", "/v1/metrics" | "/v1/logs" | "/v1/traces") => Route::Discard,
            // Bun sends the first, later versions the second, before anything else and without a token (fact sheet,
            // 1.1).
            ("HEAD", "/" | "/api/hello") | ("GET", "/") => Route::Hello,
            (_, path) if path.starts_with("/v1/") => Route::OnlyIfAllowed,
            _ => Route::Unknown,
        }
    }

    fn wanted(&self) -> [Wanted; WANTED_COUNT] {
        [Wanted::Top("model"), Wanted::Nested("metadata", "user_id"), Wanted::Nothing]
    }

    /// `x-claude-code-session-id`; else `metadata.user_id`: as JSON its `session_id`, else what follows the last
    /// `_session_` (fact sheet, 1.5).
    fn session(&self, headers: &HeaderMap, body: &[Found]) -> Option<String> {
        let is_one = |id: &str| (1..=MAX_SESSION_ID).contains(&id.len());
        if let Some(id) =
            headers.get(SESSION_ID).and_then(|value| value.to_str().ok()).filter(|id| is_one(id))
        {
            return Some(id.to_owned());
        }
        let user_id = body.first()?.text()?;
        let id = match serde_json::from_str::<serde_json::Value>(user_id) {
            Ok(value) => value.get("session_id")?.as_str()?.to_owned(),
            Err(_) => user_id.rsplit_once("_session_")?.1.to_owned(),
        };
        is_one(&id).then_some(id)
    }

    fn upstream_target<'a>(&self, target: &'a str, _kind: LoginKind) -> UpstreamTarget<'a> {
        UpstreamTarget { base: UpstreamBase::Api, target }
    }

    /// Nothing that the provider gives to a client names a credential.
    fn credential_state(&self) -> Option<&'static HeaderName> {
        None
    }

    /// Without a class the id of an agent means one (gateway contract, 6).
    fn hints(&self, headers: &HeaderMap) -> RequestHints {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let id = |name| text(name).and_then(request_hints::id);
        let agent = id(&AGENT_ID);
        let class = text(&REQUEST_CLASS).and_then(RequestClass::parse);
        let concluded =
            if headers.contains_key(&AGENT_ID) { RequestClass::Subagent } else { RequestClass::Main };
        RequestHints {
            class: Some(class.unwrap_or(concluded)),
            agent,
            parent_agent: id(&PARENT_AGENT_ID),
            agent_type: id(&AGENT_TYPE),
            prompt: id(&PROMPT_ID),
        }
    }

    /// It adds `/v1` itself.
    fn base_path(&self) -> &'static str {
        ""
    }

    /// Every instance reads the client's own header.
    fn name_session(&self, _headers: &mut HeaderMap, _session: &str) {}

    fn sockets(&self) -> Option<&'static dyn SocketFacts> {
        None
    }

    fn authorize(&self, headers: &mut HeaderMap, prepared: &PreparedAuthorization) {
        headers.insert(&prepared.name, prepared.value.clone());
        if prepared.is_oauth {
            add_oauth_beta(headers);
        }
    }

    fn prepare(
        &self,
        authorization: &Authorization,
        _account_id: Option<&str>,
    ) -> Option<PreparedAuthorization> {
        let (name, value, is_oauth) = match authorization {
            Authorization::OAuth(token) => {
                (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", token.expose())), true)
            }
            Authorization::ApiKey(key) => (API_KEY, HeaderValue::try_from(key.expose()), false),
        };
        let mut value = value.ok()?;
        value.set_sensitive(true);
        Some(PreparedAuthorization { name, value, account: None, is_oauth })
    }

    fn limit_facts(&self) -> &'static dyn LimitFacts {
        &Claude
    }

    fn failure_texts(&self) -> &'static Texts {
        &CLAUDE
    }

    fn is_limit_header(&self, name: &str) -> bool {
        LimitFacts::is_limit_header(self, name)
    }

    fn quota(&self, headers: &HeaderMap) -> Quota {
        if headers.get(USAGE_LIMIT).is_some_and(|value| value.as_bytes().trim_ascii() == b"slow") {
            Quota::Slow
        } else {
            Quota::Usual
        }
    }

    /// The client drops a beta that a 400 names as `capability_rejected: beta_header:<value>` and sends the request once more
    /// without it and its field; any other wording costs six requests and ends the turn (gateway contract, 2). The token
    /// counts wherever it stands, if what follows it is none of its own letters.
    fn refuse_extra_usage(&self, headers: &HeaderMap, why: &str) -> Option<String> {
        let mut asks = false;
        let mut refusal = String::new();
        for member in members(headers).filter(|member| member.starts_with(FAST_MODE_PREFIX)) {
            asks = true;
            if is_beta(member) && refusal.len() < MAX_REFUSED_BETAS {
                refusal.push_str("capability_rejected: beta_header:");
                refusal.push_str(member);
                refusal.push(' ');
            }
        }
        if refusal.is_empty() {
            return asks.then(|| why.to_owned());
        }
        Some(format!("{refusal}({why})"))
    }

    fn client_variables(&self, mode: ClientMode, base_url: &str, token: &str) -> Vec<(&'static str, String)> {
        client::variables(mode, base_url, token)
    }

    /// Its environment says it all.
    fn client_file(&self, _base_url: &str, _token: ClientToken<'_>) -> Option<ClientFile> {
        None
    }

    fn cleared_variables(&self, mode: ClientMode) -> &'static [&'static str] {
        client::cleared(mode)
    }

    fn client_token_place(&self) -> &'static str {
        "ANTHROPIC_AUTH_TOKEN"
    }

    fn disturbances(&self) -> &'static [Disturbance] {
        &client::DISTURBANCES
    }

    fn error(&self, fault: &Fault, request_id: &str) -> OwnAnswer {
        envelope::error(fault, request_id)
    }

    fn hello(&self) -> OwnAnswer {
        envelope::hello()
    }
}

impl LoginFormat for Claude {
    fn read_login(&self, text: &[u8]) -> Result<Login, LoginError> {
        login::read(text)
    }

    fn login_hint(&self) -> &'static str {
        "run \"claude /login\""
    }

    fn refresh_request(&self, login: &Login, _kind: RefreshKind) -> Option<RefreshRequest> {
        refresh::request(login)
    }

    fn read_refresh_answer(
        &self,
        before: &Login,
        raw: &[u8],
        now: SystemTime,
    ) -> Result<RefreshAnswer, AnswerError> {
        refresh::read_answer(before, raw, now)
    }

    fn refuses_for_good(&self, status: u16, code: Option<&str>) -> bool {
        refuses_by_code(status, code)
    }

    fn usage_poll(&self, login: &Login) -> Option<Probe> {
        self.probe("/api/oauth/usage", &Authorization::OAuth(login.access_token.clone()))
    }

    fn authorization_check(&self, authorization: &Authorization) -> Option<Probe> {
        let mut probe = self.probe("/v1/models", authorization)?;
        probe.headers.insert(VERSION, HeaderValue::from_static(API_VERSION));
        Some(probe)
    }

    fn profile_request(&self, login: &Login) -> Option<Probe> {
        self.probe("/api/oauth/profile", &Authorization::OAuth(login.access_token.clone()))
    }

    fn read_profile(&self, raw: &[u8]) -> Result<Profile, AnswerError> {
        plan::read_profile(raw)
    }

    fn plan_weight(&self, plan: &Plan) -> u32 {
        plan::weight(plan)
    }
}

impl Claude {
    fn probe(self, path: &'static str, authorization: &Authorization) -> Option<Probe> {
        let mut headers = HeaderMap::new();
        self.authorize(&mut headers, &self.prepare(authorization, None)?);
        Some(Probe { target: ProbeTarget::Api(path), headers })
    }
}

/// Whether a member of `anthropic-beta` is spelt like a beta, so that it can be repeated in a message.
fn is_beta(member: &str) -> bool {
    member.len() <= MAX_BETA
        && member.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The members of every `anthropic-beta` header.
fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(BETA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Appends the OAuth beta to the list unless it is a member already; what the client sent stays byte for byte, since the
/// set of betas changes with every release and pairs with body fields (fact sheet, 1.3).
fn add_oauth_beta(headers: &mut HeaderMap) {
    if members(headers).any(|member| member == OAUTH_BETA) {
        return;
    }
    let appended = headers.get(BETA).filter(|value| !value.as_bytes().trim_ascii().is_empty()).map(|value| {
        let mut list = Vec::with_capacity(value.len() + 1 + OAUTH_BETA.len());
        list.extend_from_slice(value.as_bytes());
        list.push(b',');
        list.extend_from_slice(OAUTH_BETA.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(list))
    });
    match appended {
        // In place, so that neither the order nor further values of the header change.
        Some(Ok(value)) => {
            if let Some(first) = headers.get_mut(BETA) {
                *first = value;
            }
        }
        _ => {
            headers.insert(BETA, HeaderValue::from_static(OAUTH_BETA));
        }
    }
}

#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod tests;
