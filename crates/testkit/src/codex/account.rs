//! The accounts of the scripted API and their limits.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::turn::TurnScript;
use crate::clock;
use crate::headers::Headers;
use crate::upstream::Script;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_encode_padding(false));

/// An account of the scripted API.
#[derive(Clone, Debug)]
#[must_use]
pub struct Account {
    label: String,
    id: String,
    access: Vec<String>,
    refresh: Vec<String>,
    api_keys: Vec<String>,
    bearers: Vec<String>,
    limits: Limits,
    plan: String,
}

impl Account {
    /// An account that nobody has access to yet, of the plan `pro`.
    pub fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            id: format!("acct-{label}"),
            access: Vec::new(),
            refresh: Vec::new(),
            api_keys: Vec::new(),
            bearers: Vec::new(),
            limits: Limits::used(12.0, 34.0),
            plan: "pro".to_owned(),
        }
    }

    /// Accepts an access token, together with the account's id.
    pub fn access_token(mut self, token: &str) -> Self {
        self.access.push(token.to_owned());
        self
    }

    /// Accepts a refresh token, once.
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh.push(token.to_owned());
        self
    }

    /// Accepts an API key, under `/v1`.
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_keys.push(key.to_owned());
        self
    }

    /// Accepts a bearer under `/v1` as a proxy does, with limits: for a client that talks to the scripted API directly.
    pub fn bearer(mut self, token: &str) -> Self {
        self.bearers.push(token.to_owned());
        self
    }

    /// Its limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Its plan: for instance `plus`.
    pub fn plan(mut self, plan: &str) -> Self {
        plan.clone_into(&mut self.plan);
        self
    }
}

/// An account as it is now.
pub(super) struct AccountState {
    pub(super) label: String,
    pub(super) account_id: String,
    pub(super) access: Vec<String>,
    pub(super) refresh: Vec<String>,
    pub(super) api_keys: Vec<String>,
    pub(super) bearers: Vec<String>,
    pub(super) limits: Limits,
    pub(super) plan: String,
    pub(super) scripts: VecDeque<Script>,
    pub(super) upgrades: VecDeque<Script>,
    pub(super) turns: VecDeque<TurnScript>,
    pub(super) prewarms: VecDeque<TurnScript>,
    pub(super) refreshes: usize,
    pub(super) served: usize,
}

impl AccountState {
    pub(super) fn new(account: Account) -> Self {
        Self {
            label: account.label,
            account_id: account.id,
            access: account.access,
            refresh: account.refresh,
            api_keys: account.api_keys,
            bearers: account.bearers,
            limits: account.limits,
            plan: account.plan,
            scripts: VecDeque::new(),
            upgrades: VecDeque::new(),
            turns: VecDeque::new(),
            prewarms: VecDeque::new(),
            refreshes: 0,
            served: 0,
        }
    }

    /// A token that tells the account, its plan and its end, as the client reads them; nothing signs it.
    pub(super) fn id_token(&self) -> String {
        jwt(&json!({
            "email": format!("{}@example.com", self.label),
            "exp": clock::unix_now() + 3600,
            "https://api.openai.com/auth": {
                "chatgpt_plan_type": self.plan,
                "chatgpt_user_id": format!("user-{}", self.label),
                "chatgpt_account_id": self.account_id,
            },
        }))
    }

    pub(super) fn login_file(&self) -> Value {
        json!({
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": null,
            "tokens": {
                "id_token": self.id_token(),
                "access_token": self.access.last(),
                "refresh_token": self.refresh.last(),
                "account_id": self.account_id,
            },
            "last_refresh": clock::iso(clock::unix_now()),
        })
    }

    pub(super) fn usage(&self) -> Value {
        let window = |window: &Window| {
            json!({
                "used_percent": window.used,
                "limit_window_seconds": window.minutes * 60,
                "reset_after_seconds": window.resets_at.saturating_sub(clock::unix_now()),
                "reset_at": window.resets_at,
            })
        };
        json!({
            "user_id": format!("user-{}", self.label),
            "account_id": self.account_id,
            "email": format!("{}@example.com", self.label),
            "plan_type": self.plan,
            "rate_limit": {
                "allowed": !self.limits.is_reached(),
                "limit_reached": self.limits.is_reached(),
                "primary_window": window(&self.limits.primary),
                "secondary_window": self.limits.secondary.as_ref().map(window),
            },
            "code_review_rate_limit": null,
            "additional_rate_limits": null,
            "credits": {"has_credits": false, "unlimited": false, "balance": null},
        })
    }

    /// The event that tells of limits.
    pub(super) fn limit_event(&self) -> Value {
        let window = |window: &Window| {
            json!({
                "used_percent": window.used,
                "window_minutes": window.minutes,
                "reset_after_seconds": window.resets_at.saturating_sub(clock::unix_now()),
                "reset_at": window.resets_at,
            })
        };
        json!({
            "type": "codex.rate_limits",
            "plan_type": self.plan,
            "rate_limits": {
                "allowed": !self.limits.is_reached(),
                "limit_reached": self.limits.is_reached(),
                "primary": window(&self.limits.primary),
                "secondary": self.limits.secondary.as_ref().map(window),
            },
            "code_review_rate_limits": null,
            "additional_rate_limits": null,
            "credits": {"has_credits": false, "unlimited": false, "balance": null},
            "promo": null,
        })
    }

    /// The error of a limit that is reached.
    pub(super) fn limit_error(&self) -> Value {
        let reset = self.limits.reset();
        json!({
            "type": "usage_limit_reached",
            "message": "The usage limit has been reached",
            "plan_type": self.plan,
            "resets_at": reset,
            "resets_in_seconds": reset.saturating_sub(clock::unix_now()),
        })
    }
}

/// A token with these claims, signed by nobody.
pub(super) fn jwt(claims: &Value) -> String {
    format!("{}.{}.c2ln", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims.to_string()))
}

/// One window of a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// What of it is used, in percent.
    pub used: f64,
    /// How long it is, in minutes.
    pub minutes: u64,
    /// When it starts anew, in seconds since 1970.
    pub resets_at: u64,
}

/// What an account has used.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The shorter window.
    pub primary: Window,
    /// The longer one, if there is one.
    pub secondary: Option<Window>,
    /// Further headers.
    pub more: Vec<(String, String)>,
}

impl Limits {
    /// So much of five hours and of the week, in percent; they end in three hours and in four days.
    pub fn used(primary: f64, secondary: f64) -> Self {
        let now = clock::unix_now();
        Self {
            primary: Window { used: primary, minutes: 300, resets_at: now + 3 * 3600 },
            secondary: Some(Window { used: secondary, minutes: 10_080, resets_at: now + 4 * 86_400 }),
            more: Vec::new(),
        }
    }

    /// The five hours are used up.
    pub fn primary_reached() -> Self {
        Self::used(100.0, 40.0)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether one of them is used up.
    pub fn is_reached(&self) -> bool {
        self.primary.used >= 100.0 || self.secondary.as_ref().is_some_and(|window| window.used >= 100.0)
    }

    /// When that which is used up starts anew.
    pub fn reset(&self) -> u64 {
        match &self.secondary {
            Some(window) if window.used >= 100.0 => window.resets_at,
            _ => self.primary.resets_at,
        }
    }

    /// The headers.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        headers.push("x-codex-active-limit", "codex");
        let now = clock::unix_now();
        for (name, window) in [("primary", Some(&self.primary)), ("secondary", self.secondary.as_ref())] {
            let Some(window) = window else { continue };
            for (field, value) in [
                ("used-percent", window.used.to_string()),
                ("window-minutes", window.minutes.to_string()),
                ("reset-after-seconds", window.resets_at.saturating_sub(now).to_string()),
                ("reset-at", window.resets_at.to_string()),
            ] {
                headers.push(format!("x-codex-{name}-{field}"), value);
            }
        }
        headers.push("x-codex-credits-has-credits", "False");
        headers.push("x-codex-credits-unlimited", "False");
        headers.push("x-codex-credits-balance", "");
        for (name, value) in &self.more {
            headers.push(name, value);
        }
        headers
    }
}
