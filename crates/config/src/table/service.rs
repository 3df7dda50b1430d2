//! A service.

use super::credential::{CREDENTIALS, FILE, PROVIDER_DIRECTORY};
use super::network::LISTEN;
use super::user::USERS;
use super::{Choices, Field, Kind, Otherwise, Section, Variants, optional, required, section, tls};
use crate::format;

/// Services of other types are sing-box's own.
pub(super) static SERVICES: Variants =
    Variants { sections: &[(TYPES.words, &SERVICE)], default: None, otherwise: Otherwise::Ignore };

static TYPES: Choices = Choices::of(&["ccm", "claude", "ocm", "codex"]);

static SERVICE: Section = section(
    "service",
    "One protocol front with its users and credentials.",
    &[FIELDS, LISTEN, FILE, PROVIDER_DIRECTORY],
);

/// The most that a number of connections may be set to.
const MOST_CONNECTIONS: u64 = 1_000_000;
/// hyper needs 8 KiB to read a head at all; beyond the greatest a head is an attack.
const SMALLEST_HEADER: u64 = 8 << 10;
const GREATEST_HEADER: u64 = 16 << 20;
/// Sizes are kept in memory or compared with what is: a terabyte is a typing error.
const GREATEST_BODY: u64 = 1 << 40;

static FIELDS: &[Field] = &[
    required(
        "type",
        Kind::Choice(&TYPES),
        "The protocol: ccm or claude for Claude Code, ocm or codex for Codex.",
    ),
    optional("tag", Kind::Text(&format::NAME), "The name in logs and metrics. Default: the type."),
    optional(
        "path",
        Kind::Text(&format::URL_PREFIX),
        "A path prefix that is removed before routing. Default: none.",
    ),
    optional(
        "paths",
        Kind::Listable(&Kind::Text(&format::PATH_GLOB)),
        "Globs of further API paths, allowed to everybody. Default: none.",
    ),
    optional("tls", Kind::Object(&tls::INBOUND), "TLS of the listener. Default: off."),
    optional("users", Kind::Objects(&USERS), "Who may use this service. Default: anyone who reaches it."),
    optional(
        "allow_unauthenticated",
        Kind::Bool,
        "Listen beyond loopback although there are no users. Default: false.",
    ),
    optional(
        "credentials",
        Kind::Objects(&CREDENTIALS),
        "Where upstream access comes from. Default: the provider's login file.",
    ),
    optional("headers", Kind::Headers, "Headers set on requests to the provider, over the client's."),
    optional(
        "upstream",
        Kind::Object(&UPSTREAM),
        "Where requests go. Default: the provider's own addresses.",
    ),
    optional("timeouts", Kind::Object(&TIMEOUTS), "How long to wait for what."),
    optional(
        "max_body",
        Kind::Bytes { min: 1, max: GREATEST_BODY },
        "The largest request body. Default: 64MiB.",
    ),
    optional(
        "replay_buffer",
        Kind::Bytes { min: 0, max: GREATEST_BODY },
        "How much of a request body is kept for a retry. Default: 16MiB.",
    ),
    optional(
        "wait_for_capacity",
        Kind::Text(&format::DURATION),
        "How long a request may wait for a usable credential. Default: 0s.",
    ),
    optional(
        "max_connections",
        Kind::Integer { min: 1, max: MOST_CONNECTIONS },
        "Connections at once. Default: 10000.",
    ),
    optional(
        "max_connections_per_address",
        Kind::Integer { min: 1, max: MOST_CONNECTIONS },
        "Connections at once of one client address. Default: 1000.",
    ),
    optional(
        "max_header",
        Kind::Bytes { min: SMALLEST_HEADER, max: GREATEST_HEADER },
        "The largest request head. Default: 64KiB.",
    ),
];

/// Addresses of the provider: of a service, or of a credential, over the service's.
pub(super) static UPSTREAM: Section =
    section("upstream", "Where requests to the provider go.", &[UPSTREAM_FIELDS]);

static UPSTREAM_FIELDS: &[Field] = &[
    optional("api_url", Kind::Text(&format::URL), "The base of API requests."),
    optional("token_url", Kind::Text(&format::URL), "Where tokens are refreshed."),
    optional("usage_url", Kind::Text(&format::URL), "Where usage is polled (Codex only)."),
    optional(
        "openai_url",
        Kind::Text(&format::URL),
        "The base of API requests with an API key (Codex only).",
    ),
    optional("user_agent", Kind::Text(&format::HEADER_VALUE), "The User-Agent of requests of our own."),
    optional(
        "ca_path",
        Kind::Text(&format::PATH),
        "A PEM file of authorities to trust besides the system's.",
    ),
    optional("insecure_http", Kind::Bool, "Allow http beyond loopback. Default: false."),
];

static TIMEOUTS: Section = section("timeouts", "How long to wait for what.", &[TIMEOUTS_FIELDS]);

static TIMEOUTS_FIELDS: &[Field] = &[
    optional("connect", Kind::Text(&format::POSITIVE_DURATION), "For a connection upstream. Default: 10s."),
    optional(
        "response_head",
        Kind::Text(&format::POSITIVE_DURATION),
        "For the head of a response. Default: 10m.",
    ),
    optional(
        "idle",
        Kind::Text(&format::POSITIVE_DURATION),
        "For silence in the middle of a response. Default: 5m.",
    ),
    optional(
        "request_body",
        Kind::Text(&format::POSITIVE_DURATION),
        "For silence in a client's request body. Default: 60s.",
    ),
];
