//! What providers write into their errors, as far as it decides anything: the one list, with its sources.
//!
//! A text is compared with the start of `error.message`, together with the status and `error.type` (or a code), where what it
//! says may be said of something else as well.
//! Nothing is searched for in a body, where a client could place it.

use super::ErrorFields;

/// What a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The access token was revoked.
    TokenRevoked,
    /// The account is disabled, banned or deactivated.
    AccountDisabled,
    /// The workspace that the login names is none of the account's.
    WrongWorkspace,
    /// Accounts of this kind do not serve the model.
    ModelNotServed,
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

/// The statuses that a text comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    /// One of these.
    These(&'static [u16]),
    /// Any 4xx: what is said of an account as a whole is said with whatever status.
    AnyRefusal,
}

impl Statuses {
    /// Whether it is one of them.
    pub fn contains(self, status: u16) -> bool {
        match self {
            Self::These(statuses) => statuses.contains(&status),
            Self::AnyRefusal => (400..500).contains(&status),
        }
    }
}

/// What `error.message` is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Anything, or nothing.
    Any,
    /// It starts like this.
    Start(&'static str),
    /// The model that was asked for stands in quotes between these: what the client wrote is left out of the comparison,
    /// by taking the last quote for its end.
    AroundModel {
        /// Up to its first quote.
        before: &'static str,
        /// The start of what follows its last quote.
        after: &'static str,
    },
}

impl Words {
    /// Whether a message is like this.
    fn fit(self, message: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Start(start) => message.is_some_and(|message| message.starts_with(start)),
            Self::AroundModel { before, after } => message
                .and_then(|message| message.strip_prefix(before)?.strip_prefix('\'')?.rsplit_once('\''))
                .is_some_and(|(_, rest)| rest.starts_with(after)),
        }
    }
}

/// One entry of the list.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The statuses it comes with.
    pub statuses: Statuses,
    /// What `error.type`, `error.code` or `error.details.error_code` is; empty: anything.
    pub name: &'static str,
    /// What `error.message` is like.
    pub message: Words,
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
            text.statuses.contains(status)
                && (text.name.is_empty() || error.is_named(text.name))
                && text.message.fit(error.message.as_deref())
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
            statuses: Statuses::These(&[403]),
            name: "permission_error",
            message: Words::Start("OAuth token has been revoked"),
            meaning: Meaning::TokenRevoked,
            source: "recorded: gateway_failures f403_revoked, subscriber_failures o_403_revoked_once",
        },
        Text {
            statuses: Statuses::AnyRefusal,
            name: "",
            message: Words::Start("This organization has been disabled"),
            meaning: Meaning::AccountDisabled,
            source: "anthropics/claude-code#19028, #60648 (400); spec: routing.md (401, 403)",
        },
        Text {
            statuses: Statuses::AnyRefusal,
            name: "",
            message: Words::Start("Your account has been disabled"),
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: Statuses::These(&[403]),
            name: "permission_error",
            message: Words::Start("OAuth authentication is currently not allowed for this organization"),
            meaning: Meaning::AccountDisabled,
            source: "anthropics/claude-code#65714, #65101",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "credits_required",
            message: Words::Any,
            meaning: Meaning::ExtraUsageRequired,
            source: "spec: routing.md, `error.details.error_code`",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "",
            message: Words::Start("Extra usage is required"),
            meaning: Meaning::ExtraUsageRequired,
            source: "recorded: f429_extra_usage, o_429_extra; anthropics/claude-code#42616, #50784",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "",
            message: Words::Start("Usage credits are required"),
            meaning: Meaning::ExtraUsageRequired,
            source: "anthropics/claude-code#64982; spec: routing.md",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "",
            message: Words::Start("You're out of extra usage"),
            meaning: Meaning::ExtraUsageRequired,
            source: "facts: 429 classification, class 1; griffinmartin/opencode-claude-auth#209",
        },
        Text {
            statuses: Statuses::These(&[400, 402]),
            name: "invalid_request_error",
            message: Words::Start("Your credit balance is too low"),
            meaning: Meaning::OutOfCredit,
            source: "recorded: gateway_failures f400_credit",
        },
        Text {
            statuses: Statuses::These(&[400, 402]),
            name: "invalid_request_error",
            message: Words::Start("Credit balance is too low"),
            meaning: Meaning::OutOfCredit,
            source: "spec: routing.md; the client's own words for the text above",
        },
        Text {
            statuses: Statuses::These(&[400, 402]),
            name: "billing_error",
            message: Words::Any,
            meaning: Meaning::OutOfCredit,
            source: "facts: the type that the client gives these errors",
        },
        Text {
            statuses: Statuses::These(&[503, 529]),
            name: "overloaded_error",
            message: Words::Any,
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
            statuses: Statuses::AnyRefusal,
            name: "account_deactivated",
            message: Words::Any,
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: Statuses::AnyRefusal,
            name: "deactivated_workspace",
            message: Words::Any,
            meaning: Meaning::AccountDisabled,
            source: "spec: routing.md",
        },
        Text {
            statuses: Statuses::These(&[403]),
            name: "invalid_workspace_selected",
            message: Words::Any,
            meaning: Meaning::WrongWorkspace,
            source: "spec: routing.md",
        },
        Text {
            statuses: Statuses::These(&[400]),
            name: "",
            message: Words::AroundModel {
                before: "The ",
                after: " model is not supported when using Codex with a ChatGPT account",
            },
            meaning: Meaning::ModelNotServed,
            source: "spec: routing.md; openai/codex issues, `{\"detail\":\"The 'x' model is not supported when …\"}`",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "usage_limit_reached",
            message: Words::Any,
            meaning: Meaning::LimitReached,
            source: "recorded: h_429_usage, t_ws_429, w_up_429",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "usage_not_included",
            message: Words::Any,
            meaning: Meaning::ModelNotIncluded,
            source: "facts: failure behaviour, 429 usage_not_included",
        },
        Text {
            statuses: Statuses::These(&[429]),
            name: "insufficient_quota",
            message: Words::Any,
            meaning: Meaning::OutOfCredit,
            source: "recorded: h_failed_quota",
        },
        Text {
            statuses: Statuses::These(&[503]),
            name: "server_is_overloaded",
            message: Words::Any,
            meaning: Meaning::Overloaded,
            source: "recorded: h_503_overloaded, w_503_ev",
        },
        Text {
            statuses: Statuses::These(&[503]),
            name: "slow_down",
            message: Words::Any,
            meaning: Meaning::Overloaded,
            source: "facts: failure behaviour, 503 code slow_down",
        },
    ],
    statuses: &[
        ("account_deactivated", 401),
        ("deactivated_workspace", 402),
        ("invalid_workspace_selected", 403),
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
