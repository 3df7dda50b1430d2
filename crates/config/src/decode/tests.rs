use super::*;
use crate::fake::FakeEnvironment;
use crate::load;

fn errors(text: &str) -> Vec<String> {
    match load(text, &FakeEnvironment::new()) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            problems.errors.iter().map(|error| format!("{}: {}", error.path, error.message)).collect()
        }
    }
}

#[test]
fn null_and_zero_values_are_unset() {
    let text = r#"{
        "log": null,
        "admin": null,
        "prices": "",
        "trusted_proxies": [],
        "outbounds": [],
        "drain_timeout": null,
        "services": [{
            "type": "claude", "tag": "", "listen": "", "path": "", "tls": null, "users": null, "credentials": null,
            "credential_path": "", "claude_directory": "", "detour": "", "usages_path": "", "headers": null,
            "wait_for_capacity": "0s", "upstream": {"api_url": "", "user_agent": "", "ca_path": ""}
        }]
    }"#;
    assert_eq!(errors(text), [""; 0]);
}

#[test]
fn elements_are_not_unset() {
    let text =
        r#"{"services": [{"type": "claude", "users": [{"name": "a", "token": "t", "models": [null]}]}]}"#;
    assert_eq!(
        errors(text),
        ["services[0].users[0].models[0]: expected a glob such as \"claude-*\", found null"]
    );
    let text = r#"{"services": [null]}"#;
    assert_eq!(errors(text), ["services[0]: expected an object, found null"]);
}

#[test]
fn a_field_of_another_type_says_so() {
    let text = r#"{"services": [{"type": "claude", "credentials": [
        {"tag": "a", "type": "api_key", "api_key": "k", "reserve_5h": 1}
    ]}]}"#;
    assert_eq!(
        errors(text),
        ["services[0].credentials[0].reserve_5h: unknown field here; it belongs to the type default"]
    );
}

#[test]
fn lists_are_bounded() {
    let globs = vec!["\"x\""; MAX_ITEMS + 1].join(",");
    let text = format!(
        r#"{{"services": [{{"type": "claude", "users": [{{"name": "a", "token": "t", "models": [{globs}]}}]}}]}}"#
    );
    assert_eq!(errors(&text), ["services[0].users[0].models: has 10001 elements; at most 10000 are allowed"]);
}

#[test]
fn long_numbers_are_shortened() {
    let text = format!(r#"{{"services": [{{"type": "claude", "listen_port": {}}}]}}"#, "9".repeat(100));
    assert_eq!(
        errors(&text),
        [format!(
            "services[0].listen_port: expected a whole number from 0 to 65535, found {}",
            "9".repeat(24)
        )]
    );
}

#[test]
fn references_are_replaced_in_every_string() {
    let env = FakeEnvironment::new()
        .with_var("TYPE", "claude")
        .with_var("KIND", "api_key")
        .with_var("PORT_FREE", "/x")
        .with_var("SIZE", "1MiB")
        .with_var("TIME", "1s");
    let text = r#"{"services": [{
        "type": "${TYPE}", "path": "${PORT_FREE}", "max_body": "${SIZE}", "timeouts": {"idle": "${TIME}"},
        "credentials": [{"tag": "${KIND}", "type": "${KIND}", "api_key": "$${KIND}"}]
    }]}"#;
    let service = load(text, &env).unwrap().config.services.remove(0);
    assert_eq!((service.tag.as_str(), service.path.as_str(), service.max_body), ("claude", "/x", 1 << 20));
    assert_eq!(service.credentials[0].tag, "api_key");
    assert_eq!(service.credentials[0].kind, crate::model::CredentialKind::ApiKey(Secret::new("${KIND}")));
}

#[test]
fn files_beyond_the_size_bound_are_not_read() {
    let text = " ".repeat(crate::MAX_SIZE + 1);
    assert_eq!(errors(&text), [": larger than 4MiB"]);
}
