//! The top level of the file.

use super::{
    Choices, Field, Kind, Least, Section, Variants, network, optional, required, section, service, tls,
};
use crate::format;

pub(crate) static DOCUMENT: Section = section("document", "The configuration of Trunkline.", &[FIELDS]);

static FIELDS: &[Field] = &[
    optional("$schema", Kind::Text(&format::ANY), "Where the schema of this file is found; for editors."),
    optional("log", Kind::Object(&LOG), "Logging."),
    optional(
        "data_directory",
        Kind::Text(&format::PATH),
        "Where the ledger and sessions are kept. Default: $STATE_DIRECTORY, $XDG_DATA_HOME/trunkline or ~/.local/share/trunkline.",
    ),
    optional(
        "ledger",
        Kind::Object(&LEDGER),
        "The record of every request. Default: SQLite in the data directory.",
    ),
    optional("admin", Kind::Object(&ADMIN), "The listener for health, metrics and management. Default: off."),
    optional(
        "trusted_proxies",
        Kind::Listable(&Kind::Text(&format::NETWORK)),
        "Addresses or networks whose X-Forwarded-For tells the client's address.",
    ),
    optional(
        "drain_timeout",
        Kind::Text(&format::DURATION),
        "How long requests under way may take to finish at shutdown. Default: 30s.",
    ),
    optional("reuse_port", Kind::Bool, "Open listening sockets with SO_REUSEPORT. Default: false."),
    optional(
        "ready_requires_credential",
        Kind::Bool,
        "Ready only while at least one credential is usable. Default: false.",
    ),
    optional(
        "prices",
        Kind::Text(&format::PATH),
        "A file of prices that extends or overrides the built-in ones.",
    ),
    optional(
        "otlp",
        Kind::Text(&format::URL),
        "The OpenTelemetry collector to export metrics and traces to.",
    ),
    required(
        "services",
        Kind::Objects(&service::SERVICES),
        "The services: at least one of type ccm, claude, ocm or codex.",
    ),
    optional(
        "certificate_providers",
        Kind::Objects(&tls::CERTIFICATE_PROVIDERS),
        "Where certificates come from, which a listener's TLS names by their tag.",
    ),
    optional("outbounds", Kind::Objects(&network::OUTBOUNDS), "Ways out, which a detour names by their tag."),
];

/// Sections of sing-box's own configuration, which a file may have for sing-box's sake.
pub(crate) const FOREIGN_SECTIONS: &[&str] =
    &["certificate", "dns", "endpoints", "experimental", "http_clients", "inbounds", "ntp", "route"];

static LOG: Section = section("log", "Logging.", &[LOG_FIELDS]);

static LOG_FIELDS: &[Field] = &[
    optional("level", Kind::Choice(&LOG_LEVELS), "The least important level that is logged. Default: info."),
    optional("disabled", Kind::Bool, "Log nothing at all. Default: false."),
    optional("timestamp", Kind::Bool, "Begin lines with the time. Default: true."),
    optional(
        "format",
        Kind::Choice(&LOG_FORMATS),
        "The shape of a line; auto is pretty on a terminal, else JSON. Default: auto.",
    ),
    optional(
        "output",
        Kind::Text(&format::LOG_OUTPUT),
        "A file to write to, reopened on SIGHUP. Default: standard error.",
    ),
];

static LOG_LEVELS: Choices = Choices {
    words: &["trace", "debug", "info", "warn", "error"],
    // sing-box's levels above error; nothing here is logged at one of its own.
    aliases: &[("fatal", "error"), ("panic", "error")],
};

static LOG_FORMATS: Choices = Choices::of(&["auto", "pretty", "json"]);

static LEDGER: Section = section("ledger", "The record of every request.", &[LEDGER_FIELDS]);

static LEDGER_FIELDS: &[Field] = &[
    optional("type", Kind::Choice(&LEDGER_TYPES), "Where records go; none keeps none. Default: sqlite."),
    optional(
        "retention",
        Kind::Text(&format::POSITIVE_DURATION),
        "How long single records are kept. Default: 90d.",
    ),
];

static LEDGER_TYPES: Choices = Choices::of(&["sqlite", "none"]);

static ADMIN: Section = section("admin", "The listener for health, metrics and management.", &[ADMIN_FIELDS]);

static ADMIN_FIELDS: &[Field] = &[
    optional("listen", Kind::Text(&format::ADDRESS), "The address to listen on. Default: 127.0.0.1."),
    required("listen_port", Kind::Integer { min: 0, max: 65_535 }, "The port to listen on."),
    optional("token", Kind::Text(&format::TOKEN), "The token that management needs."),
    optional(
        "token_sha256",
        Kind::Text(&format::SHA256),
        "The SHA-256 of that token, in hexadecimal, instead of it.",
    ),
    optional("tls", Kind::Object(&tls::INBOUND), "TLS of this listener."),
    optional("metrics_public", Kind::Bool, "Serve /metrics without a token. Default: false."),
];

/// Quotas of a user, or of an API key.
pub(super) static LIMITS: Variants = Variants::only(&[(&[], &LIMIT)]);

static LIMIT: Section = section("limit", "What may be used in one window, or at once.", &[LIMIT_FIELDS]);

static LIMIT_FIELDS: &[Field] = &[
    optional("per", Kind::Text(&format::LIMIT_WINDOW), "The window: 5h, day, week, month, or a duration."),
    optional("usd", Kind::Number(Least::Zero), "Dollars in this window."),
    optional("tokens", Kind::Integer { min: 0, max: u64::MAX }, "Tokens in this window."),
    optional("requests", Kind::Integer { min: 0, max: u64::MAX }, "Requests in this window."),
    optional(
        "models",
        Kind::Listable(&Kind::Text(&format::GLOB)),
        "Globs of the models that this is about. Default: all.",
    ),
    optional("concurrency", Kind::Integer { min: 1, max: 1_000_000 }, "Requests at once."),
];
