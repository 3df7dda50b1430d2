//! Listeners and outbounds: sing-box's listen, dial and outbound fields.

use super::{
    Choices, Field, Kind, Otherwise, Section, Variants, harmless, optional, refused, required, section, tls,
};
use crate::format;

const OTHER_INTERFACE: &str = "not supported, and without it connections would use other interfaces";
const OTHER_NAMESPACE: &str = "not supported, and without it connections would use another network; \
                               run trunkline inside that namespace";
const OTHER_ADDRESS: &str = "not supported, and without it connections would come from another address";
const OTHER_TARGET: &str = "not supported, and without it connections would go elsewhere";

/// sing-box's listen fields; `detour` of a service is its way out, and stands there.
pub(super) static LISTEN: &[Field] = &[
    optional("listen", Kind::Text(&format::ADDRESS), "The address to listen on. Default: 127.0.0.1."),
    optional("listen_port", PORT, "The port to listen on; 0 lets the system choose. Default: 8787."),
    refused("bind_interface", OTHER_INTERFACE),
    refused("netns", OTHER_NAMESPACE),
    harmless("disable_tcp_keep_alive"),
    harmless("domain_strategy"),
    harmless("proxy_protocol"),
    harmless("proxy_protocol_accept_no_header"),
    harmless("reuse_addr"),
    harmless("routing_mark"),
    harmless("sniff"),
    harmless("sniff_override_destination"),
    harmless("sniff_timeout"),
    harmless("tcp_fast_open"),
    harmless("tcp_keep_alive"),
    harmless("tcp_keep_alive_interval"),
    harmless("tcp_multi_path"),
    harmless("udp_disable_domain_unmapping"),
    harmless("udp_fragment"),
    harmless("udp_timeout"),
];

const PORT: Kind = Kind::Integer { min: 0, max: 65_535 };
const SERVER_PORT: Kind = Kind::Integer { min: 1, max: 65_535 };

pub(super) static OUTBOUNDS: Variants = Variants {
    sections: &[(&["direct"], &DIRECT), (&["http"], &HTTP), (&["socks"], &SOCKS)],
    default: None,
    otherwise: Otherwise::Keep(&FOREIGN),
};

static DIRECT: Section = section("outbound_direct", "No proxy.", &[OUTBOUND, DIRECT_FIELDS, DIAL]);
static HTTP: Section = section("outbound_http", "An HTTP proxy.", &[OUTBOUND, PROXY, HTTP_FIELDS, DIAL]);
static SOCKS: Section = section("outbound_socks", "A SOCKS proxy.", &[OUTBOUND, PROXY, SOCKS_FIELDS, DIAL]);

/// An outbound of a type that only sing-box has. It may stand there as long as no detour names it.
static FOREIGN: Section = Section {
    name: "outbound_foreign",
    doc: "An outbound of another type.",
    groups: &[OUTBOUND],
    open: true,
};

static OUTBOUND: &[Field] = &[
    required("type", Kind::Text(&format::NAME), "What it is: direct, http or socks."),
    optional("tag", Kind::Text(&format::NAME), "The name that a detour refers to; unique."),
];

static DIRECT_FIELDS: &[Field] = &[
    refused("override_address", OTHER_TARGET),
    refused("override_port", OTHER_TARGET),
    refused("proxy_protocol", OTHER_TARGET),
];

static PROXY: &[Field] = &[
    required("server", Kind::Text(&format::HOST), "The address of the proxy."),
    required("server_port", SERVER_PORT, "The port of the proxy."),
    optional("username", Kind::Text(&format::SECRET), "The user name at the proxy."),
    optional("password", Kind::Text(&format::SECRET), "The password at the proxy."),
];

static HTTP_FIELDS: &[Field] = &[
    optional("path", Kind::Text(&format::URL_PATH), "The path asked for instead of the target."),
    optional("headers", Kind::Headers, "Headers of requests to the proxy."),
    optional("tls", Kind::Object(&tls::OUTBOUND), "TLS to the proxy. Default: off."),
];

static SOCKS_FIELDS: &[Field] = &[
    optional("version", Kind::Choice(&SOCKS_VERSIONS), "The version of SOCKS. Default: 5."),
    harmless("network"),
    harmless("udp_over_tcp"),
];

static SOCKS_VERSIONS: Choices = Choices::of(&["4", "4a", "5"]);

static DIAL: &[Field] = &[
    optional(
        "detour",
        Kind::Text(&format::NAME),
        "The tag of the outbound through which this one is reached.",
    ),
    optional("connect_timeout", Kind::Text(&format::POSITIVE_DURATION), "How long to wait for a connection."),
    refused("bind_interface", OTHER_INTERFACE),
    refused("inet4_bind_address", OTHER_ADDRESS),
    refused("inet6_bind_address", OTHER_ADDRESS),
    refused("netns", OTHER_NAMESPACE),
    harmless("bind_address_no_port"),
    harmless("disable_tcp_keep_alive"),
    harmless("domain_resolver"),
    harmless("domain_strategy"),
    harmless("fallback_delay"),
    harmless("fallback_network_type"),
    harmless("network_strategy"),
    harmless("network_type"),
    harmless("reuse_addr"),
    harmless("routing_mark"),
    harmless("tcp_fast_open"),
    harmless("tcp_keep_alive"),
    harmless("tcp_keep_alive_interval"),
    harmless("tcp_multi_path"),
    harmless("udp_fragment"),
];
