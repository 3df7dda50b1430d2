//! Credentials, by their type.

use super::document::LIMITS;
use super::service::UPSTREAM;
use super::{
    Choices, Field, Kind, Least, Otherwise, Section, Variants, harmless, optional, required, section,
};
use crate::format;

pub(super) static CREDENTIALS: Variants = Variants {
    sections: &[
        (&["default"], &DEFAULT),
        (&["api_key"], &API_KEY),
        (&["external"], &EXTERNAL),
        (&["balancer", "fallback"], &BALANCER),
    ],
    default: Some("default"),
    otherwise: Otherwise::Error(&UNKNOWN),
};

/// The strategy that `type: "fallback"` is short for.
pub(crate) const STRATEGY_FALLBACK: &str = "fallback";

static TYPES: Choices = Choices::of(&["default", "api_key", "external", "balancer", "fallback"]);

static DEFAULT: Section = section(
    "credential_default",
    "A login file.",
    &[NAMED, COMMON, FILE, PROVIDER_DIRECTORY, OAUTH, WINDOWS],
);
static API_KEY: Section = section("credential_api_key", "An API key.", &[NAMED, COMMON, OUTWARD, KEY]);
static EXTERNAL: Section =
    section("credential_external", "Another instance.", &[NAMED, COMMON, OUTWARD, REMOTE]);
static BALANCER: Section =
    section("credential_balancer", "Several credentials as one.", &[NAMED, COMMON, OUTWARD, POOL]);

/// A credential of a type that does not exist: its tag is enough to keep references to it from being errors too.
static UNKNOWN: Section = Section {
    name: "credential_unknown",
    doc: "A credential of no known type.",
    groups: &[NAMED],
    open: true,
};

static NAMED: &[Field] = &[
    required("tag", Kind::Text(&format::NAME), "The name that users and balancers refer to; unique."),
    optional("type", Kind::Choice(&TYPES), "What it is. Default: default."),
];

static COMMON: &[Field] = &[
    optional("upstream", Kind::Object(&UPSTREAM), "Where its requests go, over the service's upstream."),
    optional("weight", Kind::Number(Least::AboveZero), "What it weighs in a pool. Default: by its plan."),
    optional(
        "models",
        Kind::Listable(&Kind::Text(&format::GLOB)),
        "Globs of the models it may serve. Default: all.",
    ),
    optional(
        "users",
        Kind::Listable(&Kind::Text(&format::NAME)),
        "Names of the users who may use it. Default: all.",
    ),
];

/// A login file and what belongs to it: of a credential, or of a service with a single one.
pub(super) static FILE: &[Field] = &[
    optional(
        "credential_path",
        Kind::Text(&format::PATH),
        "The login file. Default: where the provider's client keeps it.",
    ),
    USAGES_PATH,
    DETOUR,
];

pub(super) static PROVIDER_DIRECTORY: &[Field] = &[optional(
    "claude_directory",
    Kind::Text(&format::PATH),
    "The directory that holds the Claude login and its locks. Default: $CLAUDE_CONFIG_DIR, else ~/.claude.",
)];

static OUTWARD: &[Field] = &[USAGES_PATH, DETOUR];

const USAGES_PATH: Field =
    optional("usages_path", Kind::Text(&format::PATH), "A usage file as sing-box keeps it. Default: none.");
const DETOUR: Field =
    optional("detour", Kind::Text(&format::NAME), "The tag of the outbound to go through. Default: none.");

static OAUTH: &[Field] = &[optional(
    "oauth_token",
    Kind::Text(&format::TOKEN),
    "A long-lived OAuth token, instead of a file (Claude only).",
)];

static WINDOWS: &[Field] = &[
    optional("reserve_5h", RESERVE, "Percent of the 5 h window to leave unused; 0 is unset."),
    optional("reserve_weekly", RESERVE, "Percent of the weekly window to leave unused; 0 is unset."),
    optional("limit_5h", LIMIT, "Percent of the 5 h window to use at most; 0 is unset."),
    optional("limit_weekly", LIMIT, "Percent of the weekly window to use at most; 0 is unset."),
];

const RESERVE: Kind = Kind::Integer { min: 0, max: 99 };
const LIMIT: Kind = Kind::Integer { min: 0, max: 100 };

static KEY: &[Field] = &[
    required("api_key", Kind::Text(&format::TOKEN), "The API key."),
    optional("limits", Kind::Objects(&LIMITS), "What may be used of it."),
];

static REMOTE: &[Field] = &[
    required("token", Kind::Text(&format::TOKEN), "The token of a user of the other instance."),
    optional("url", Kind::Text(&format::URL), "Where the other instance is. Default: it connects to us."),
    optional("server", Kind::Text(&format::HOST), "The address to dial instead of the URL's host."),
    optional("server_port", Kind::Integer { min: 0, max: 65_535 }, "The port to dial instead of the URL's."),
    optional("reverse", Kind::Bool, "Connect there so that it can use us. Default: false."),
];

static POOL: &[Field] = &[
    required("credentials", Kind::Listable(&Kind::Text(&format::NAME)), "The tags of its members."),
    optional("strategy", Kind::Choice(&STRATEGIES), "How a member is picked. Default: least_used."),
    optional(
        "rebalance_threshold",
        Kind::Number(Least::Zero),
        "Percent of difference at which sessions move to the member used least; 0 is off.",
    ),
    harmless("poll_interval"),
];

static STRATEGIES: Choices = Choices {
    words: &["least_used", "round_robin", "random", STRATEGY_FALLBACK],
    aliases: &[("least-used", "least_used"), ("round-robin", "round_robin")],
};
