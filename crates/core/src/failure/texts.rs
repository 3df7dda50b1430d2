//! What providers write into their errors, as far as it decides anything: the one list, with its sources.
//!
//! A text is compared with the start of `error.message`, together with the status and `error.type` (or `error.code`).
//! Nothing is searched for in a body, where a client could place it.

use super::ErrorFields;

/// What a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The access token was revoked.
    TokenRevoked,
    /// The account is disabled, banned or deactivated.
    AccountDisabled,
    /// The request needs what its account has not paid for.
    ExtraUsageRequired,
    /// A limit of the account is reached.
    LimitReached,
    /// The plan does not include the model.
    ModelNotIncluded,
    /// An API key has no credit left.
    OutOfCredit,
    /// The provider has no capacity.
    Overloaded,
}

/// One entry of the list.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The statuses it comes with.
    pub statuses: &'static [u16],
    /// What `error.type` or `error.code` is; empty: anything.
    pub name: &'static str,
    /// What `error.message` starts with; empty: anything.
    pub message: &'static str,
    /// What it means.
    pub meaning: Meaning,
    /// Where it was seen.
    pub source: &'static str,
}

/// A provider's texts.
#[derive(Debug, Clone, Copy)]
pub struct Texts {
    /// The list. The first that matches counts.
    pub list: &'static [Text],
    /// Statuses that the errors of a stream stand for, by `error.code` or `error.type`.
    pub statuses: &'static [(&'static str, u16)],
    /// Whether every 403 that says nothing else is about the token.
    pub recovers_any_403: bool,
}

impl Texts {
    /// What an error means, if that is known.
    pub fn meaning(&self, status: u16, error: &ErrorFields) -> Option<Meaning> {
        let fits = |text: &&Text| {
            text.statuses.contains(&status)
                && (text.name.is_empty() || error.is_named(text.name))
                && (text.message.is_empty()
                    || error.message.as_deref().is_some_and(|message| message.starts_with(text.message)))
        };
        self.list.iter().find(fits).map(|text| text.meaning)
    }

    /// The status that an error inside a stream stands for.
    pub fn status_of(&self, error: &ErrorFields) -> Option<u16> {
        self.statuses.iter().find(|(name, _)| error.is_named(name)).map(|(_, status)| *status)
    }
}

/// Claude's. Sources: the client's recorded behaviour (`fixtures/claude/*_failures`), the failure list of the fact sheet,
/// and reports in the client's public issue tracker (anthropics/claude-code).
pub const CLAUDE: Texts = Texts {
    list: &[
        Text {
            statuses: &[403],
            name: "permission_error",
            message: "OAuth token has been revoked",
            meaning: Meaning::TokenRevoked,
            source: "recorded: gateway_failures f403_revoked, subscriber_failures o_403_revoked_once",
        },
        Text {
            statuses: &[400],
            name: "invalid_request_error",
            message: "This organization has been disabled",
            meaning: Meaning::AccountDisabled,
            source: "anthropics/claude-code#19028, #60648",
        },
        Text {
            statuses: &[403],
            name: "permission_error",
            message: "This organization has been disabled",
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md names both statuses",
        },
        Text {
            statuses: &[400],
            name: "invalid_request_error",
            message: "Your account has been disabled",
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: &[403],
            name: "permission_error",
            message: "Your account has been disabled",
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: &[403],
            name: "permission_error",
            message: "OAuth authentication is currently not allowed for this organization",
            meaning: Meaning::AccountDisabled,
            source: "anthropics/claude-code#65714, #65101",
        },
        Text {
            statuses: &[429],
            name: "rate_limit_error",
            message: "Extra usage is required for long context",
            meaning: Meaning::ExtraUsageRequired,
            source: "recorded: f429_extra_usage, o_429_extra; anthropics/claude-code#42616",
        },
        Text {
            statuses: &[429],
            name: "rate_limit_error",
            message: "You're out of extra usage",
            meaning: Meaning::ExtraUsageRequired,
            source: "facts: 429 classification, class 1",
        },
        Text {
            statuses: &[400, 402],
            name: "invalid_request_error",
            message: "Your credit balance is too low",
            meaning: Meaning::OutOfCredit,
            source: "recorded: gateway_failures f400_credit",
        },
        Text {
            statuses: &[400, 402],
            name: "invalid_request_error",
            message: "Credit balance is too low",
            meaning: Meaning::OutOfCredit,
            source: "spec: routing.md; the client's own words for the text above",
        },
        Text {
            statuses: &[400, 402],
            name: "billing_error",
            message: "",
            meaning: Meaning::OutOfCredit,
            source: "facts: the type that the client gives these errors",
        },
        Text {
            statuses: &[503, 529],
            name: "overloaded_error",
            message: "",
            meaning: Meaning::Overloaded,
            source: "recorded: gateway_failures f529, fsse_overloaded_first",
        },
    ],
    statuses: &[
        ("rate_limit_error", 429),
        ("overloaded_error", 529),
        ("api_error", 500),
        ("authentication_error", 401),
    ],
    recovers_any_403: false,
};

/// Codex's: by code or type rather than by message, since its messages are for people and change. Sources: the client's
/// recorded behaviour (`fixtures/codex`) and the failure table of the fact sheet.
pub const CODEX: Texts = Texts {
    list: &[
        Text {
            statuses: &[400, 403],
            name: "account_deactivated",
            message: "",
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: &[400, 403],
            name: "deactivated_workspace",
            message: "",
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: &[429],
            name: "usage_limit_reached",
            message: "",
            meaning: Meaning::LimitReached,
            source: "recorded: h_429_usage, t_ws_429, w_up_429",
        },
        Text {
            statuses: &[429],
            name: "usage_not_included",
            message: "",
            meaning: Meaning::ModelNotIncluded,
            source: "facts: failure behaviour, 429 usage_not_included",
        },
        Text {
            statuses: &[429],
            name: "insufficient_quota",
            message: "",
            meaning: Meaning::OutOfCredit,
            source: "recorded: h_failed_quota",
        },
        Text {
            statuses: &[503],
            name: "server_is_overloaded",
            message: "",
            meaning: Meaning::Overloaded,
            source: "recorded: h_503_overloaded, w_503_ev",
        },
        Text {
            statuses: &[503],
            name: "slow_down",
            message: "",
            meaning: Meaning::Overloaded,
            source: "facts: failure behaviour, 503 code slow_down",
        },
    ],
    statuses: &[
        ("usage_limit_reached", 429),
        ("usage_not_included", 429),
        ("insufficient_quota", 429),
        ("rate_limit_exceeded", 429),
        ("server_is_overloaded", 503),
        ("slow_down", 503),
        ("server_error", 500),
        ("authentication_error", 401),
    ],
    recovers_any_403: true,
};
