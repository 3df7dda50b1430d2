//! The environment of Claude Code: what points it at a service, and what gets in the way.
//!
//! Observed with client 2.1.331 (fact sheet, sections 1.2 and 2.3): `ANTHROPIC_AUTH_TOKEN` wins over
//! `CLAUDE_CODE_OAUTH_TOKEN`, and so does `ANTHROPIC_API_KEY`, which is then sent instead. Empty counts as not set.

use crate::provider::{ClientMode, Disturbance};

const BASE_URL: &str = "ANTHROPIC_BASE_URL";
const AUTH_TOKEN: &str = "ANTHROPIC_AUTH_TOKEN";
const OAUTH_TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
const API_KEY: &str = "ANTHROPIC_API_KEY";

/// What makes the client take the base URL for a gateway of its own kind (gateway contract, 0).
const USE_GATEWAY: &str = "CLAUDE_CODE_USE_GATEWAY";

/// What every variable that chooses another provider does.
const OTHER_PROVIDER: &str = "the client talks to that provider instead";

/// What gets in the way.
pub(super) const DISTURBANCES: [Disturbance; 8] = [
    Disturbance {
        name: API_KEY,
        is_switch: false,
        effect: "the client sends it as well, although it goes no further than Trunkline",
    },
    Disturbance {
        name: "ANTHROPIC_UNIX_SOCKET",
        is_switch: false,
        effect: "the client talks to that socket instead",
    },
    Disturbance { name: "CLAUDE_CODE_USE_BEDROCK", is_switch: true, effect: OTHER_PROVIDER },
    Disturbance { name: "CLAUDE_CODE_USE_VERTEX", is_switch: true, effect: OTHER_PROVIDER },
    Disturbance { name: "CLAUDE_CODE_USE_FOUNDRY", is_switch: true, effect: OTHER_PROVIDER },
    Disturbance { name: "CLAUDE_CODE_USE_MANTLE", is_switch: true, effect: OTHER_PROVIDER },
    Disturbance { name: "CLAUDE_CODE_USE_ANTHROPIC_AWS", is_switch: true, effect: OTHER_PROVIDER },
    Disturbance { name: "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", is_switch: true, effect: OTHER_PROVIDER },
];

/// What is set.
pub(super) fn variables(mode: ClientMode, base_url: &str, token: &str) -> Vec<(&'static str, String)> {
    let carries_token = match mode {
        ClientMode::Gateway | ClientMode::OwnGateway => AUTH_TOKEN,
        ClientMode::Subscriber => OAUTH_TOKEN,
    };
    let mut variables = vec![(BASE_URL, base_url.to_owned()), (carries_token, token.to_owned())];
    if mode == ClientMode::OwnGateway {
        variables.push((USE_GATEWAY, "1".to_owned()));
    }
    variables
}

/// What must not be set beside it.
pub(super) fn cleared(mode: ClientMode) -> &'static [&'static str] {
    match mode {
        ClientMode::Gateway | ClientMode::OwnGateway => &[],
        ClientMode::Subscriber => &[AUTH_TOKEN, API_KEY],
    }
}
