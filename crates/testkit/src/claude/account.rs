//! The accounts of the scripted API and their rate limits.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::clock;
use crate::headers::Headers;
use crate::upstream::Script;

/// An account of the scripted API.
#[derive(Clone, Debug)]
#[must_use]
pub struct Account {
    pub(super) label: String,
    pub(super) access: Vec<String>,
    pub(super) refresh: Vec<String>,
    pub(super) api_keys: Vec<String>,
    pub(super) gateway_tokens: Vec<String>,
    pub(super) limits: Limits,
    pub(super) organization_type: String,
    pub(super) tier: String,
}

impl Account {
    /// An account that nobody has access to yet, of the plan `claude_max`.
    pub fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            access: Vec::new(),
            refresh: Vec::new(),
            api_keys: Vec::new(),
            gateway_tokens: Vec::new(),
            limits: Limits::allowed(0.12, 0.34),
            organization_type: "claude_max".to_owned(),
            tier: "default_claude_max_5x".to_owned(),
        }
    }

    /// Accepts an OAuth token: as bearer, with the OAuth beta.
    pub fn access_token(mut self, token: &str) -> Self {
        self.access.push(token.to_owned());
        self
    }

    /// Accepts a refresh token, once.
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh.push(token.to_owned());
        self
    }

    /// Accepts an API key in `x-api-key`.
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_keys.push(key.to_owned());
        self
    }

    /// Accepts a bearer without the OAuth beta, as a gateway does: for a client that talks to the scripted API
    /// directly.
    pub fn gateway_token(mut self, token: &str) -> Self {
        self.gateway_tokens.push(token.to_owned());
        self
    }

    /// Its rate limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Its plan: for instance `claude_max` and `default_claude_max_20x`.
    pub fn plan(mut self, organization_type: &str, tier: &str) -> Self {
        organization_type.clone_into(&mut self.organization_type);
        tier.clone_into(&mut self.tier);
        self
    }
}

/// An account as it is now.
pub(super) struct AccountState {
    pub(super) label: String,
    pub(super) access: Vec<String>,
    pub(super) refresh: Vec<String>,
    pub(super) api_keys: Vec<String>,
    pub(super) gateway_tokens: Vec<String>,
    pub(super) limits: Limits,
    organization_type: String,
    tier: String,
    pub(super) scripts: VecDeque<Script>,
    pub(super) refreshes: usize,
    pub(super) served: usize,
}

impl AccountState {
    pub(super) fn new(account: Account) -> Self {
        Self {
            label: account.label,
            access: account.access,
            refresh: account.refresh,
            api_keys: account.api_keys,
            gateway_tokens: account.gateway_tokens,
            limits: account.limits,
            organization_type: account.organization_type,
            tier: account.tier,
            scripts: VecDeque::new(),
            refreshes: 0,
            served: 0,
        }
    }

    /// An id that is the same for the same label.
    pub(super) fn uuid(&self, kind: u8) -> String {
        let hash = self.label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{kind:08x}-0000-4000-8000-{:012x}", hash & 0xffff_ffff_ffff)
    }

    pub(super) fn profile(&self) -> Value {
        json!({
            "account": {
                "uuid": self.uuid(0xbb),
                "email": format!("{}@example.com", self.label),
                "full_name": self.label,
                "display_name": self.label,
                "has_claude_max": self.organization_type == "claude_max",
                "has_claude_pro": self.organization_type == "claude_pro",
            },
            "organization": {
                "uuid": self.uuid(0xaa),
                "name": format!("Organization of {}", self.label),
                "organization_type": self.organization_type,
                "rate_limit_tier": self.tier,
                "billing_type": "stripe_subscription",
            },
        })
    }
}

/// What an account has used, as the response headers tell it. Fractions, and seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `allowed`, `allowed_warning` or `rejected`.
    pub status: String,
    /// The window that counts: `five_hour`, `seven_day`, `seven_day_opus`, ….
    pub claim: String,
    /// The share of the five hours.
    pub five_hour: f64,
    /// When the five hours start anew.
    pub five_hour_reset: u64,
    /// The share of the week.
    pub seven_day: f64,
    /// When the week starts anew.
    pub seven_day_reset: u64,
    /// Further headers, names without `anthropic-ratelimit-unified-`.
    pub more: Vec<(String, String)>,
    /// Whether there are any headers of this kind.
    pub sent: bool,
}

impl Limits {
    /// Allowed, with so much used; the windows end in three hours and four days.
    pub fn allowed(five_hour: f64, seven_day: f64) -> Self {
        let now = clock::unix_now();
        Self {
            status: "allowed".to_owned(),
            claim: if seven_day > five_hour { "seven_day" } else { "five_hour" }.to_owned(),
            five_hour,
            five_hour_reset: now + 3 * 3600,
            seven_day,
            seven_day_reset: now + 4 * 86_400,
            more: Vec::new(),
            sent: true,
        }
    }

    /// The five hours are used up.
    pub fn five_hour_rejected() -> Self {
        let claim = "five_hour".to_owned();
        Self { status: "rejected".to_owned(), claim, ..Self::allowed(1.0, 0.34) }
    }

    /// The week is used up.
    pub fn seven_day_rejected() -> Self {
        Self { status: "rejected".to_owned(), ..Self::allowed(0.12, 1.0) }
    }

    /// No headers of this kind, as with API keys.
    pub fn none() -> Self {
        Self { sent: false, ..Self::allowed(0.0, 0.0) }
    }

    /// Adds a header, its name without `anthropic-ratelimit-unified-`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether requests are rejected.
    pub fn is_rejected(&self) -> bool {
        self.status == "rejected"
    }

    /// When the window that counts starts anew.
    pub fn reset(&self) -> u64 {
        if self.claim == "five_hour" { self.five_hour_reset } else { self.seven_day_reset }
    }

    /// The headers.
    pub fn headers(&self) -> Headers {
        if !self.sent {
            return Headers::new();
        }
        let window = |share: f64| if self.is_rejected() && share >= 1.0 { "rejected" } else { "allowed" };
        let lines = [
            ("status", self.status.clone()),
            ("5h-status", window(self.five_hour).to_owned()),
            ("5h-reset", self.five_hour_reset.to_string()),
            ("5h-utilization", self.five_hour.to_string()),
            ("7d-status", window(self.seven_day).to_owned()),
            ("7d-reset", self.seven_day_reset.to_string()),
            ("7d-utilization", self.seven_day.to_string()),
            ("representative-claim", self.claim.clone()),
            ("fallback-percentage", "0.5".to_owned()),
            ("reset", self.reset().to_string()),
            ("overage-status", "rejected".to_owned()),
            ("overage-disabled-reason", "org_level_disabled".to_owned()),
        ];
        let more = self.more.iter().map(|(name, value)| (name.as_str(), value.clone()));
        lines
            .into_iter()
            .chain(more)
            .map(|(name, value)| (format!("anthropic-ratelimit-unified-{name}"), value))
            .collect()
    }

    /// What `/api/oauth/usage` tells: percent, and ISO times.
    pub fn usage(&self) -> Value {
        let window =
            |share: f64, reset: u64| json!({"utilization": share * 100.0, "resets_at": clock::iso(reset)});
        json!({
            "five_hour": window(self.five_hour, self.five_hour_reset),
            "seven_day": window(self.seven_day, self.seven_day_reset),
            "seven_day_oauth_apps": null,
            "seven_day_opus": null,
            "seven_day_sonnet": null,
            "extra_usage": {
                "is_enabled": false, "monthly_limit": null, "used_credits": null, "utilization": null,
            },
        })
    }
}
