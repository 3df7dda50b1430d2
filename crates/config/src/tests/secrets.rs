//! No secret of a configuration is shown: not by `Debug` of anything, and not by a message.

use super::machine;
use crate::load;

/// Every kind of secret, each with the canary in it, where none of it is wrong.
const GOOD: &str = r#"{
    "ledger": {"type": "none"},
    "services": [{
        "type": "claude",
        "tls": {
            "enabled": true,
            "certificate": "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----",
            "key": ["-----BEGIN PRIVATE KEY-----", "canary", "-----END PRIVATE KEY-----"]
        },
        "users": [
            {"name": "a", "token": "user-token-canary-0123", "credential": "key"},
            {"name": "b", "token": "${CANARY}", "credential": "key"}
        ],
        "credentials": [
            {"tag": "key", "type": "api_key", "api_key": "sk-ant-api03-canary-0123", "detour": "proxy"},
            {"tag": "token", "oauth_token": "${file:/run/canary}"}
        ],
        "headers": {"x-secret": ["canary-in-a-header-0123", "${CANARY}"], "authorization": "canary"}
    }],
    "outbounds": [{
        "type": "http", "tag": "proxy", "server": "h", "server_port": 1,
        "username": "canary-user-of-the-proxy-0", "password": "canary-password-0123",
        "headers": {"x-proxy": "canary-in-a-header-0123"}
    }]
}"#;

/// Secrets in fields that are wrong, or that hold something else.
const BAD: &str = r#"{
    "admin": {"listen_port": 1, "token": "canary\n", "token_sha256": "canary"},
    "otlp": "https://user:canary@host",
    "services": [{
        "type": "claude",
        "tag": "${CANARY}\n",
        "path": "${CANARY}",
        "tls": {"enabled": true, "certificate": ["canary"], "key": "canary", "key_path": "x"},
        "users": [
            {"name": "a", "token": " canary"},
            {"name": "b", "token": "canary", "token_sha256": "canary"},
            {"name": "c", "token_sha256": "canary"},
            {"name": "d", "token": "${CANARY}"},
            {"name": "e", "token": "${CANARY}", "fast_mode": "${CANARY}", "expires": "${CANARY}"},
            {"name": "f", "token": "${canary-in-braces}"},
            {"name": "g", "token": ["canary"]},
            {"name": "h", "token": {"canary": 1}}
        ],
        "credentials": [
            {"tag": "key", "type": "api_key", "api_key": "canary\u0000"},
            {"tag": "far", "type": "external", "token": "canary\n", "url": "https://canary@far"},
            {"tag": "token", "oauth_token": "canary ä", "credential_path": "/x", "weight": "canary"}
        ],
        "headers": {"x-secret": "canary\n", "x": ["canary\u0001"]},
        "upstream": {"api_url": "http://host/?key=canary", "user_agent": "canary\n"},
        "max_body": "${CANARY}",
        "timeouts": {"idle": "${CANARY}"}
    }],
    "outbounds": [{"type": "http", "tag": "x", "server": "h", "server_port": 1, "password": ["canary"], "headers": {"a": "canary\n"}}]
}"#;

fn env() -> crate::fake::FakeEnvironment {
    machine().with_var("CANARY", "canary-from-the-environment").with_file("/run/canary", "canary-from-a-file")
}

#[test]
fn a_whole_configuration_can_be_printed() {
    let loaded = load(GOOD, &env()).unwrap_or_else(|problems| panic!("{problems}"));
    for printed in [format!("{loaded:?}"), format!("{loaded:#?}")] {
        assert!(printed.contains("x-secret"), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[test]
fn every_problem_can_be_printed() {
    let problems = load(BAD, &env()).unwrap_err();
    assert!(problems.errors.len() > 25, "{problems}");
    for printed in [format!("{problems:?}"), format!("{problems:#?}"), problems.to_string()] {
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[test]
fn a_broken_file_does_not_show_what_is_around_the_break() {
    for at in GOOD.char_indices().map(|(at, _)| at) {
        let Err(problems) = load(&GOOD[..at], &env()) else { panic!("cut at {at}") };
        assert!(!problems.to_string().contains("canary"), "{problems}");
    }
}
