//! The routes of the scripted API.

use serde_json::{Value, json};

use super::account::{AccountState, jwt};
use super::turn::{Turn, TurnScript};
use super::{AskedTurn, CodexApi, MAX_TURN_STATES, State, Transport};
use crate::canary::Canary;
use crate::clock;
use crate::headers::Headers;
use crate::log::lock;
use crate::upstream::{Behaviour, ReceivedRequest, Script};
use crate::websocket::{self, Link};

/// What a client of these logins calls itself.
const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// Longest body of a turn, decoded, in bytes.
const MAX_DECODED: u64 = 256 << 20;

/// What belongs to a client's own account and must not come with another's credential.
const FOREIGN: [&str; 7] = [
    "x-openai-account-routing-override",
    "x-openai-fedramp",
    "x-openai-internal-codex-residency",
    "x-openai-actor-authorization",
    "x-oai-attestation",
    "openai-organization",
    "openai-project",
];

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Login,
    ApiKey,
    Bearer,
}

impl Behaviour for CodexApi {
    fn takes_polls(&self) -> bool {
        true
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        let mut state = lock(&self.0.state);
        state.serial += 1;
        if let Some(at) = state.overrides.iter().position(|(path, _)| path == request.path()) {
            return state.overrides.remove(at).1;
        }
        let is_socket = websocket::is_upgrade(request);
        match (request.method.as_str(), request.path()) {
            ("POST", "/oauth/token") => return state.token(request),
            ("GET" | "HEAD", "/") => return state.plain(200, &json!({"ok": true})),
            _ => {}
        }
        let (account, access) = match state.authenticate(request) {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        match (request.method.as_str(), request.path()) {
            ("GET", "/backend-api/codex/responses" | "/v1/responses") if is_socket => {
                self.socket(&mut state, request, account)
            }
            ("POST", "/backend-api/codex/responses" | "/v1/responses") => {
                self.posted(&mut state, request, account, access)
            }
            ("GET", "/backend-api/codex/models" | "/v1/models") => {
                state.plain(200, &json!({"models": []})).header("etag", "W/\"scripted-etag-1\"")
            }
            ("POST", "/v1/chat/completions") if access != Access::Login => state.chat(request),
            ("GET", "/backend-api/wham/usage" | "/api/codex/usage") => {
                state.of_account(account, AccountState::usage)
            }
            ("GET", "/backend-api/wham/accounts/check") => state.of_account(account, |account| {
                let id = &account.account_id;
                json!({
                    "accounts": [{
                        "id": id, "name": account.label, "profile_picture_url": null, "structure": "personal",
                        "workspace_backend_origin": "NO_CONSTRAINT",
                        "account_routing_override": "NO_CONSTRAINT",
                    }],
                    "account_ordering": [id],
                    "default_account_id": id,
                })
            }),
            _ => state.error(404, "invalid_request_error", None, "Not Found"),
        }
    }
}

impl CodexApi {
    fn posted(&self, state: &mut State, request: &ReceivedRequest, index: usize, access: Access) -> Script {
        let body = match decoded(request) {
            Ok(body) => body,
            Err(why) => return state.error(400, "invalid_request_error", None, &why),
        };
        let Some(account) = state.accounts.get_mut(index) else { return Script::new() };
        let (label, plan, limits) = (account.label.clone(), account.plan.clone(), account.limits.clone());
        self.note(AskedTurn { label: label.clone(), transport: Transport::Http, body: body.clone() });
        account.served += 1;
        if let Some(script) = account.scripts.pop_front() {
            return script;
        }
        let scripted = account.turns.pop_front();
        let refusal = (limits.is_reached() && access != Access::ApiKey).then(|| account.limit_error());
        let limit_headers = if access == Access::ApiKey { Headers::new() } else { limits.headers() };
        if body["previous_response_id"].is_string() {
            state.violation("previous_response_id over HTTP".to_owned());
            return state.error(
                400,
                "invalid_request_error",
                None,
                "Unsupported parameter: previous_response_id",
            );
        }
        let brought = request.headers.get("x-codex-turn-state").map(str::to_owned);
        if let Some(brought) = &brought
            && !state.has_issued(&label, brought)
        {
            state.violation(format!("{label} got the turn state of another account"));
            return state.error(400, "invalid_request_error", None, "unknown turn state");
        }
        if let (None, Some(refusal)) = (&scripted, refusal) {
            return state.edge(Script::json(429, &json!({"error": refusal}))).headers(limit_headers.iter());
        }
        let turn_state = brought.or_else(|| state.turn_state(&label));
        let turn = state.turn(&body, turn_state.clone(), false);
        let mut head = state.edge(Script::sse([] as [&'static [u8]; 0]));
        head = head
            .header("openai-model", turn.model())
            .header("x-models-etag", "W/\"scripted-etag-1\"")
            .header("x-reasoning-included", "true")
            .header("x-codex-plan-type", plan)
            .headers(limit_headers.iter());
        if let Some(state) = turn_state {
            head = head.header("x-codex-turn-state", state);
        }
        let TurnScript { steps, goes_on } = scripted.unwrap_or_else(|| TurnScript::new().go_on());
        let mut script = TurnScript { steps, goes_on };
        if goes_on {
            script.steps.extend(turn.steps(state.pause));
        }
        script.script(head)
    }

    fn socket(&self, state: &mut State, request: &ReceivedRequest, index: usize) -> Script {
        let Some(account) = state.accounts.get_mut(index) else { return Script::new() };
        if let Some(script) = account.upgrades.pop_front() {
            return script;
        }
        let (label, limits, plan) = (account.label.clone(), account.limits.clone(), account.plan.clone());
        let beta = request.headers.get("openai-beta").unwrap_or_default();
        if !beta.contains("responses_websockets=") {
            state.violation("an upgrade without openai-beta".to_owned());
            return state.error(400, "invalid_request_error", None, "openai-beta is missing");
        }
        state.sockets += 1;
        let number = state.sockets;
        let api = self.clone();
        let script = state
            .edge(websocket::accept(request))
            .header("x-models-etag", "W/\"scripted-etag-1\"")
            .header("x-codex-plan-type", plan)
            .headers(limits.headers().iter());
        script.converse(move |link: Link| api.clone().serve(link, label.clone(), number))
    }
}

impl State {
    fn authenticate(&mut self, request: &ReceivedRequest) -> Result<(usize, Access), Script> {
        let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(bearer) = bearer else {
            return Err(self.error(
                401,
                "authentication_error",
                None,
                "Missing bearer authentication in header",
            ));
        };
        let position = |known: &dyn Fn(&AccountState) -> &Vec<String>| {
            self.accounts.iter().position(|account| known(account).iter().any(|token| token == bearer))
        };
        let of_login = request.path().starts_with("/backend-api/");
        let found = if of_login {
            position(&|account| &account.access).map(|index| (index, Access::Login))
        } else {
            let key = position(&|account| &account.api_keys).map(|index| (index, Access::ApiKey));
            key.or_else(|| position(&|account| &account.bearers).map(|index| (index, Access::Bearer)))
        };
        let Some((index, access)) = found else {
            return Err(self.error(401, "authentication_error", None, "invalid api key"));
        };
        let told: Vec<&str> = request.headers.get_all("chatgpt-account-id").collect();
        let expected: Vec<&str> = match (access, self.accounts.get(index)) {
            (Access::Login, Some(account)) => vec![&account.account_id],
            _ => Vec::new(),
        };
        let foreign = FOREIGN.iter().find(|name| request.headers.contains(name));
        // A client that talks to us directly brings what it likes.
        if access != Access::Bearer && (told != expected || foreign.is_some()) {
            let what = format!("{}: account {told:?} instead of {expected:?}, {foreign:?}", request.path());
            self.violation(what);
            return Err(self.error(403, "permission_error", None, "the account does not fit the token"));
        }
        Ok((index, access))
    }

    pub(super) fn turn(&self, body: &Value, turn_state: Option<String>, is_socket: bool) -> Turn {
        Turn::new(body, &self.reply, self.serial, turn_state, is_socket)
    }

    /// A new turn state of an account's, if there are any.
    pub(super) fn turn_state(&mut self, label: &str) -> Option<String> {
        if !self.marks_turns {
            return None;
        }
        let state = format!("ts-{label}-{:06}", self.serial);
        if self.turn_states.len() >= MAX_TURN_STATES {
            self.turn_states.pop_front();
        }
        self.turn_states.push_back((label.to_owned(), state.clone()));
        Some(state)
    }

    pub(super) fn has_issued(&self, label: &str, state: &str) -> bool {
        self.turn_states.iter().any(|(issuer, issued)| issuer == label && issued == state)
    }

    /// A chat completion, in one piece or as a stream.
    fn chat(&mut self, request: &ReceivedRequest) -> Script {
        let Ok(body) = decoded(request) else {
            return self.error(400, "invalid_request_error", None, "the body is not valid JSON");
        };
        let piece = |object: &str, choice: Value| {
            json!({
                "id": format!("chatcmpl-scripted{:06}", self.serial), "object": object,
                "created": clock::unix_now(), "model": body["model"], "choices": [choice],
            })
        };
        if body["stream"] != true {
            let message = json!({"role": "assistant", "content": self.reply});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            return self.plain(200, &piece("chat.completion", choice));
        }
        let delta = json!({"index": 0, "delta": {"role": "assistant", "content": self.reply}});
        let end = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
        let events = [delta, end].map(|choice| piece("chat.completion.chunk", choice).to_string());
        let events = events.iter().map(String::as_str).chain(["[DONE]"]).map(crate::sse::data);
        self.edge(Script::sse(events))
    }

    fn of_account(&mut self, index: usize, tell: impl FnOnce(&AccountState) -> Value) -> Script {
        match self.accounts.get(index).map(tell) {
            Some(value) => self.plain(200, &value),
            None => Script::new(),
        }
    }

    fn token(&mut self, request: &ReceivedRequest) -> Script {
        let body: Value = serde_json::from_slice(&request.body()).unwrap_or_default();
        let reasons = ["proactive_expiry", "unauthorized_recovery"];
        let script = if body["grant_type"] != "refresh_token"
            || body["client_id"] != CLIENT_ID
            || !reasons.iter().any(|reason| body["refresh_reason"] == *reason)
        {
            self.violation(format!("a token request of another shape: {:?}", keys(&body)));
            self.error(400, "invalid_request_error", Some("invalid_request"), "not a refresh")
        } else {
            match self.rotate(body["refresh_token"].as_str().unwrap_or_default()) {
                Some(tokens) => self.plain(200, &tokens),
                None => self.error(
                    401,
                    "invalid_request_error",
                    Some("refresh_token_reused"),
                    "Your refresh token has already been used to generate a new access token.",
                ),
            }
        };
        match &self.refresh_gate {
            Some(gate) => Script::new().wait(gate).then(script),
            None => script,
        }
    }

    /// Trades a refresh token in for a new set. The access token tells its end, and is found by its signature.
    fn rotate(&mut self, token: &str) -> Option<Value> {
        let account =
            self.accounts.iter_mut().find(|account| account.refresh.iter().any(|known| known == token))?;
        account.refresh.retain(|known| known != token);
        account.refreshes += 1;
        let label = format!("{}-{}", account.label, account.refreshes);
        let signature = Canary::new(&format!("access-{label}"));
        let claims = json!({"exp": clock::unix_now() + 3600, "sub": account.label});
        let unsigned = jwt(&claims);
        let access = format!("{}.{}", unsigned.rsplit_once('.')?.0, signature.token());
        let refresh = Canary::with_prefix("rt_", &format!("refresh-{label}"));
        account.access.push(access.clone());
        account.refresh.push(refresh.token().to_owned());
        let tokens = json!({
            "id_token": account.id_token(),
            "access_token": access,
            "refresh_token": refresh.token(),
        });
        self.issued.extend([signature, refresh]);
        Some(tokens)
    }

    fn error(&self, status: u16, kind: &str, code: Option<&str>, message: &str) -> Script {
        self.edge(super::error(status, kind, code, message))
    }

    fn plain(&self, status: u16, value: &Value) -> Script {
        self.edge(Script::json(status, value))
    }

    /// What the provider's edge adds.
    fn edge(&self, script: Script) -> Script {
        let lines: Headers = [
            ("date", clock::http_date(clock::unix_now())),
            ("x-request-id", format!("req_{:032x}", self.serial)),
            ("openai-processing-ms", "5".to_owned()),
            ("openai-organization", "org-scripted".to_owned()),
            ("server", "cloudflare".to_owned()),
            ("set-cookie", format!("{}; path=/; HttpOnly; Secure; SameSite=None", self.cookie.token())),
            ("strict-transport-security", "max-age=31536000; includeSubDomains; preload".to_owned()),
            ("cf-cache-status", "DYNAMIC".to_owned()),
            ("cf-ray", format!("9f{:014x}-FRA", self.serial)),
            ("alt-svc", "h3=\":443\"; ma=86400".to_owned()),
        ]
        .into_iter()
        .collect();
        script.headers(lines.iter())
    }
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object().into_iter().flat_map(serde_json::Map::keys).map(String::as_str).collect()
}

/// A body as JSON, decompressed where it says that it is compressed.
fn decoded(request: &ReceivedRequest) -> Result<Value, String> {
    use std::io::Read as _;
    let body = request.body();
    let text = match request.headers.get("content-encoding") {
        None => body.to_vec(),
        Some("zstd") => {
            let mut text = Vec::new();
            let decoder = zstd::Decoder::new(&body[..]).map_err(|error| error.to_string())?;
            decoder.take(MAX_DECODED).read_to_end(&mut text).map_err(|error| error.to_string())?;
            text
        }
        Some(other) => return Err(format!("unknown content-encoding {other}")),
    };
    serde_json::from_slice(&text).map_err(|error| format!("the body is not valid JSON: {error}"))
}
