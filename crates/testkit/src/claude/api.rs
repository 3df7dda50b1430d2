//! The routes of the scripted API.

use serde_json::{Value, json};

use super::account::AccountState;
use super::turn::Turn;
use super::{ClaudeApi, State};
use crate::canary::Canary;
use crate::clock;
use crate::headers::Headers;
use crate::log::lock;
use crate::upstream::{Behaviour, ReceivedRequest, Script};

const OAUTH_BETA: &str = "oauth-2025-04-20";
const SCOPE: &str = "user:inference user:profile user:sessions:claude_code";
const MODELS: [(&str, &str); 4] = [
    ("claude-opus-4-8", "Claude Opus 4.8"),
    ("claude-sonnet-5", "Claude Sonnet 5"),
    ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"),
    ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
];

impl Behaviour for ClaudeApi {
    fn takes_polls(&self) -> bool {
        true
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        let mut state = lock(&self.0);
        state.serial += 1;
        if let Some(at) = state.overrides.iter().position(|(path, _)| path == request.path()) {
            return state.overrides.remove(at).1;
        }
        match (request.method.as_str(), request.path()) {
            ("HEAD" | "GET", "/") | ("HEAD", "/api/hello") => state.plain(200, &json!({"ok": true})),
            ("POST", "/v1/oauth/token") => state.token(request),
            ("POST", "/v1/messages") => state.authenticated(request, State::messages),
            ("POST", "/v1/messages/count_tokens") => state.authenticated(request, State::count_tokens),
            ("GET", "/v1/models") => state.authenticated(request, State::models),
            ("GET", path) if path.starts_with("/v1/models/") => state.authenticated(request, State::model),
            ("GET", "/api/oauth/usage") => state.authenticated(request, |state, account, _| {
                state.of_account(account, |account| account.limits.usage())
            }),
            ("GET", "/api/oauth/profile") => state
                .authenticated(request, |state, account, _| state.of_account(account, AccountState::profile)),
            _ => state.error(404, "not_found_error", "Not Found"),
        }
    }
}

impl State {
    fn authenticated(
        &mut self,
        request: &ReceivedRequest,
        respond: impl FnOnce(&mut Self, usize, &ReceivedRequest) -> Script,
    ) -> Script {
        let position = |known: &dyn Fn(&AccountState) -> bool| self.accounts.iter().position(known);
        let inference = request.path().starts_with("/v1/");
        let account = if let Some(key) = request.headers.get("x-api-key") {
            position(&|account| account.api_keys.iter().any(|known| known == key)).ok_or("invalid x-api-key")
        } else if let Some(bearer) =
            request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "))
        {
            let gateway = position(&|account| account.gateway_tokens.iter().any(|known| known == bearer));
            let oauth = position(&|account| account.access.iter().any(|known| known == bearer));
            match (gateway, oauth) {
                (None, Some(_)) if inference && !request.headers.lists("anthropic-beta", OAUTH_BETA) => {
                    Err("OAuth authentication is currently not supported.")
                }
                (Some(account), _) | (None, Some(account)) => Ok(account),
                (None, None) => Err("Invalid bearer token"),
            }
        } else {
            Err("x-api-key header is required")
        };
        match account {
            Err(message) => self.error(401, "authentication_error", message),
            Ok(_) if inference && !request.headers.contains("anthropic-version") => {
                self.error(400, "invalid_request_error", "anthropic-version: header is required")
            }
            Ok(account) => respond(self, account, request),
        }
    }

    fn messages(&mut self, index: usize, request: &ReceivedRequest) -> Script {
        let (reply, usage, pause, serial) = (self.reply.clone(), self.usage, self.pause, self.serial);
        let Some(account) = self.accounts.get_mut(index) else { return Script::new() };
        account.served += 1;
        if let Some(script) = account.scripts.pop_front() {
            return script;
        }
        let organization = account.uuid(0xaa);
        let limits = account.limits.clone();
        let script = if limits.is_rejected() {
            let wait = limits.reset().saturating_sub(clock::unix_now());
            self.error(
                429,
                "rate_limit_error",
                "This request would exceed your account's rate limit. Please try again later.",
            )
            .header("retry-after", wait.to_string())
            .header("x-should-retry", "true")
        } else {
            match serde_json::from_slice::<Value>(&request.body()) {
                Err(error) => self.error(
                    400,
                    "invalid_request_error",
                    &format!("The request body is not valid JSON: {error}"),
                ),
                Ok(body) => {
                    let streamed = body["stream"] == true;
                    let script = Turn::new(&body, &reply, usage, serial).script(streamed, pause);
                    self.edge(script)
                }
            }
        };
        script.headers(limits.headers().iter()).header("anthropic-organization-id", organization)
    }

    fn count_tokens(&mut self, _: usize, request: &ReceivedRequest) -> Script {
        self.plain(200, &json!({"input_tokens": request.body().len() / 4 + 1}))
    }

    fn models(&mut self, _: usize, _: &ReceivedRequest) -> Script {
        let data: Vec<Value> = MODELS.iter().map(|&(id, name)| model(id, name)).collect();
        let [first, .., last] = MODELS.map(|(id, _)| id);
        self.plain(200, &json!({"data": data, "has_more": false, "first_id": first, "last_id": last}))
    }

    fn model(&mut self, _: usize, request: &ReceivedRequest) -> Script {
        let asked = request.path().rsplit('/').next().unwrap_or_default();
        match MODELS.iter().find(|(id, _)| *id == asked) {
            Some((id, name)) => self.plain(200, &model(id, name)),
            None => self.error(404, "not_found_error", &format!("model: {asked}")),
        }
    }

    fn of_account(&mut self, index: usize, tell: impl FnOnce(&AccountState) -> Value) -> Script {
        match self.accounts.get(index).map(tell) {
            Some(value) => self.plain(200, &value),
            None => Script::new(),
        }
    }

    fn token(&mut self, request: &ReceivedRequest) -> Script {
        let body: Value = serde_json::from_slice(&request.body()).unwrap_or_default();
        let refused = |kind: &str, text: &str| json!({"error": kind, "error_description": text});
        let script = if body["grant_type"] != "refresh_token" || !body["client_id"].is_string() {
            self.plain(400, &refused("invalid_request", "grant_type and client_id are required"))
        } else {
            match self.rotate(body["refresh_token"].as_str().unwrap_or_default()) {
                Some(tokens) => match self.refresh_shapes.pop_front() {
                    Some(shape) => shape(tokens.to_string().as_bytes()),
                    None => self.plain(200, &tokens),
                },
                None => self.plain(400, &refused("invalid_grant", "Refresh token not found or invalid")),
            }
        };
        match &self.refresh_gate {
            Some(gate) => Script::new().wait(gate).then(script),
            None => script,
        }
    }

    /// Trades a refresh token in for a new pair.
    fn rotate(&mut self, token: &str) -> Option<Value> {
        let account =
            self.accounts.iter_mut().find(|account| account.refresh.iter().any(|known| known == token))?;
        account.refresh.retain(|known| known != token);
        account.refreshes += 1;
        let label = format!("{}-{}", account.label, account.refreshes);
        let access = Canary::with_prefix("sk-ant-oat01-", &format!("access-{label}"));
        let refresh = Canary::with_prefix("sk-ant-ort01-", &format!("refresh-{label}"));
        account.access.push(access.token().to_owned());
        account.refresh.push(refresh.token().to_owned());
        let tokens = json!({
            "token_type": "Bearer",
            "access_token": access.token(),
            "expires_in": 28_800,
            "refresh_token": refresh.token(),
            "scope": SCOPE,
            "organization": {"uuid": account.uuid(0xaa), "name": format!("Organization of {}", account.label)},
            "account": {
                "uuid": account.uuid(0xbb), "email_address": format!("{}@example.com", account.label),
            },
        });
        self.issued.extend([access, refresh]);
        Some(tokens)
    }

    fn error(&self, status: u16, kind: &str, message: &str) -> Script {
        self.plain(
            status,
            &json!({
                "type": "error",
                "error": {"type": kind, "message": message},
                "request_id": self.request_id(),
            }),
        )
    }

    fn plain(&self, status: u16, value: &Value) -> Script {
        self.edge(Script::json(status, value))
    }

    /// What the provider's edge adds.
    fn edge(&self, script: Script) -> Script {
        let lines: Headers = [
            ("date", clock::http_date(clock::unix_now())),
            ("request-id", self.request_id()),
            ("strict-transport-security", "max-age=31536000; includeSubDomains; preload".to_owned()),
            ("server", "cloudflare".to_owned()),
            ("set-cookie", format!("{}; path=/; HttpOnly; Secure; SameSite=None", self.cookie.token())),
            ("via", "1.1 google".to_owned()),
            ("x-envoy-upstream-service-time", "1234".to_owned()),
            ("cf-cache-status", "DYNAMIC".to_owned()),
            ("cf-ray", format!("9f{:014x}-FRA", self.serial)),
            ("x-robots-tag", "none".to_owned()),
            ("alt-svc", "h3=\":443\"; ma=86400".to_owned()),
        ]
        .into_iter()
        .collect();
        script.headers(lines.iter())
    }

    fn request_id(&self) -> String {
        format!("req_011C{:020}", self.serial)
    }
}

fn model(id: &str, name: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": name, "created_at": "2026-01-01T00:00:00Z"})
}
