//! A user.

use super::document::LIMITS;
use super::{Choices, Field, Kind, Section, Variants, optional, required, section};
use crate::format;

pub(super) static USERS: Variants = Variants::only(&[(&[], &USER)]);

static USER: Section = section("user", "Someone with a token.", &[FIELDS]);

static FIELDS: &[Field] = &[
    required("name", Kind::Text(&format::NAME), "The name in logs and metrics; unique."),
    optional("token", Kind::Text(&format::TOKEN), "The token that the client sends; unique."),
    optional(
        "token_sha256",
        Kind::Text(&format::SHA256),
        "The SHA-256 of the token, in hexadecimal, instead of the token.",
    ),
    optional(
        "credential",
        Kind::Text(&format::NAME),
        "The tag of the credential or balancer to use. Default: the only one.",
    ),
    optional(
        "external_credential",
        Kind::Text(&format::NAME),
        "The tag of the external credential by which this user's own instance feeds us.",
    ),
    optional(
        "allow_external_usage",
        Kind::Bool,
        "Whether requests may go to external credentials. Default: false.",
    ),
    optional("limits", Kind::Objects(&LIMITS), "What this user may use."),
    optional(
        "models",
        Kind::Listable(&Kind::Text(&format::GLOB)),
        "Globs of the models allowed. Default: all.",
    ),
    optional(
        "paths",
        Kind::Listable(&Kind::Text(&format::PATH_GLOB)),
        "Globs of further API paths allowed. Default: none.",
    ),
    optional("expires", Kind::Text(&format::TIMESTAMP), "When the token stops being valid."),
    optional("disabled", Kind::Bool, "Refuse the token for now. Default: false."),
    optional(
        "fast_mode",
        Kind::Choice(&FAST_MODES),
        "Whether fast mode, which costs extra, may be used. Default: single.",
    ),
    optional(
        "rate_limit_headers",
        Kind::Choice(&RATE_LIMIT_HEADERS),
        "Which rate-limit headers to show; passthrough only on one default credential. Default: computed.",
    ),
    optional(
        "wait_for_capacity",
        Kind::Text(&format::DURATION),
        "How long a request may wait for a usable credential. Default: the service's.",
    ),
    optional("explain", Kind::Bool, "Allow asking how a credential was picked. Default: false."),
    optional(
        "peer",
        Kind::Bool,
        "Whether another instance stands behind this user, which is told limits as instances tell each other. Default: false.",
    ),
];

static FAST_MODES: Choices = Choices::of(&["single", "allow", "deny"]);
static RATE_LIMIT_HEADERS: Choices = Choices::of(&["computed", "passthrough"]);
