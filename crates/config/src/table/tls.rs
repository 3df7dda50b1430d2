//! TLS, of listeners and of proxies.

use super::{
    Choices, Field, Kind, Otherwise, Section, Variants, harmless, optional, refused, required, section,
};
use crate::format;

pub(super) static INBOUND: Section = section("tls", "TLS of a listener.", &[SHARED, INBOUND_FIELDS]);
pub(super) static OUTBOUND: Section = section("outbound_tls", "TLS to a proxy.", &[SHARED, OUTBOUND_FIELDS]);

const CLIENT_CERTIFICATES: &str =
    "client certificates are not supported, and without them everyone could connect";
const OWN_CERTIFICATE: &str = "client certificates are not supported, and the proxy would not know us";
const DISGUISE: &str = "not supported, and without it the connection would show what this is meant to hide";

static SHARED: &[Field] = &[
    optional("enabled", Kind::Bool, "Whether TLS is on. Default: false."),
    optional("server_name", Kind::Text(&format::HOST), "The name of the server."),
    optional(
        "alpn",
        Kind::Listable(&Kind::Text(&format::ALPN)),
        "Protocols offered. A listener always offers HTTP/2 and HTTP/1.1; a proxy may be offered HTTP/1.1 only.",
    ),
    optional("min_version", Kind::Choice(&VERSIONS), "The oldest version spoken. Default: 1.2."),
    optional(
        "certificate",
        Kind::Listable(&Kind::Text(&format::PEM)),
        "The certificate chain as PEM, or its lines.",
    ),
    optional("certificate_path", Kind::Text(&format::PATH), "The PEM file of the certificate chain."),
    harmless("max_version"),
    harmless("cipher_suites"),
    harmless("curve_preferences"),
    harmless("kernel_tx"),
    harmless("kernel_rx"),
    harmless("handshake_timeout"),
    refused("ech", DISGUISE),
    refused("reality", DISGUISE),
];

static INBOUND_FIELDS: &[Field] = &[
    optional("key", Kind::Listable(&Kind::Text(&format::PEM)), "The private key as PEM, or its lines."),
    optional("key_path", Kind::Text(&format::PATH), "The PEM file of the private key."),
    optional("acme", Kind::Object(&ACME), "Get the certificate from an ACME authority."),
    harmless("insecure"),
    refused("client_authentication", CLIENT_CERTIFICATES),
    refused("client_certificate", CLIENT_CERTIFICATES),
    refused("client_certificate_path", CLIENT_CERTIFICATES),
    refused("client_certificate_public_key_sha256", CLIENT_CERTIFICATES),
    optional(
        "certificate_provider",
        Kind::TagOrObject(&OWN_PROVIDER),
        "Where the certificate comes from: the tag of one of certificate_providers, or such an object.",
    ),
];

static OUTBOUND_FIELDS: &[Field] = &[
    optional("insecure", Kind::Bool, "Accept any certificate of the proxy. Default: false."),
    harmless("engine"),
    refused(
        "certificate_public_key_sha256",
        "not supported, and without it more certificates would be accepted",
    ),
    refused("client_certificate", OWN_CERTIFICATE),
    refused("client_certificate_path", OWN_CERTIFICATE),
    refused("client_key", OWN_CERTIFICATE),
    refused("client_key_path", OWN_CERTIFICATE),
    refused("disable_sni", DISGUISE),
    refused("fragment", DISGUISE),
    refused("fragment_fallback_delay", DISGUISE),
    refused("record_fragment", DISGUISE),
    refused("spoof", DISGUISE),
    refused("spoof_method", DISGUISE),
    refused("utls", DISGUISE),
];

static VERSIONS: Choices = Choices::of(&["1.0", "1.1", "1.2", "1.3"]);

/// Elements of `certificate_providers`.
pub(super) static CERTIFICATE_PROVIDERS: Variants = Variants {
    sections: &[(&["acme"], &SHARED_PROVIDER)],
    default: None,
    otherwise: Otherwise::Error(&SHARED_PROVIDER),
};

static SHARED_PROVIDER: Section = section(
    "certificate_provider",
    "A source of certificates that several listeners may name.",
    &[PROVIDER_TAG, PROVIDER_TYPE, ACME_FIELDS],
);

static OWN_PROVIDER: Section = section(
    "own_certificate_provider",
    "A source of certificates for one listener.",
    &[OWN_PROVIDER_TAG, PROVIDER_TYPE, ACME_FIELDS],
);

static PROVIDER_TAG: &[Field] = &[required("tag", Kind::Text(&format::NAME), "Its name; unique.")];

static OWN_PROVIDER_TAG: &[Field] = &[optional("tag", Kind::Text(&format::NAME), "Its name.")];

static PROVIDER_TYPE: &[Field] =
    &[required("type", Kind::Choice(&PROVIDER_TYPES), "What it is: acme, an ACME authority.")];

static PROVIDER_TYPES: Choices = Choices::of(&["acme"]);

static ACME: Section = section("acme", "Certificates from an ACME authority.", &[ACME_FIELDS]);

static ACME_FIELDS: &[Field] = &[
    optional("domain", Kind::Listable(&Kind::Text(&format::HOST)), "The names to get a certificate for."),
    optional("data_directory", Kind::Text(&format::PATH), "Where certificates are kept."),
    optional(
        "default_server_name",
        Kind::Text(&format::HOST),
        "The certificate for clients that name no server.",
    ),
    optional("email", Kind::Text(&format::ANY), "The address for the account."),
    optional(
        "provider",
        Kind::Text(&format::ANY),
        "The authority: letsencrypt, zerossl, or the URL of a directory.",
    ),
    optional("disable_http_challenge", Kind::Bool, "Do not use the HTTP challenge. Default: false."),
    optional("disable_tls_alpn_challenge", Kind::Bool, "Do not use the TLS-ALPN challenge. Default: false."),
    optional(
        "alternative_http_port",
        Kind::Integer { min: 0, max: 65_535 },
        "The port of the HTTP challenge. Default: 80.",
    ),
    optional(
        "alternative_tls_port",
        Kind::Integer { min: 0, max: 65_535 },
        "The port of the TLS-ALPN challenge. Default: 443.",
    ),
    optional("external_account", Kind::Object(&EXTERNAL_ACCOUNT), "An account at the authority."),
    optional("dns01_challenge", Kind::Any, "How to answer the DNS challenge."),
    harmless("account_key"),
    harmless("http_client"),
    harmless("key_type"),
    harmless("profile"),
];

static EXTERNAL_ACCOUNT: Section =
    section("external_account", "An account at an ACME authority.", &[EXTERNAL_ACCOUNT_FIELDS]);

static EXTERNAL_ACCOUNT_FIELDS: &[Field] = &[
    optional("key_id", Kind::Text(&format::ANY), "The name of the key."),
    optional("mac_key", Kind::Text(&format::SECRET), "The key."),
];
