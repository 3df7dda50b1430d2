use proptest::prelude::*;

use super::*;
use crate::provider::claude::Claude;
use crate::provider::codex::Codex;

fn mounted(tag: &str, prefix: &str, provider: &'static dyn Provider) -> Mounted {
    Mounted { tag: tag.into(), prefix: prefix.to_owned(), provider }
}

fn both() -> [Mounted; 2] {
    [mounted("claude", "/claude", &Claude), mounted("codex", "/codex", &Codex)]
}

fn told(method: &str, path: &str, services: &[Mounted], own: usize) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    refusal(&method, path, services, own, Some("http://127.0.0.1:8787"), true)
}

#[test]
fn base_urls_that_have_too_much_or_too_little_are_told_the_right_one() {
    let (claude, codex) = ("http://127.0.0.1:8787/claude", "http://127.0.0.1:8787/codex/v1");
    for (own, method, path, mistake, right, base) in [
        (0, "POST", "/claude/v1/v1/messages", "/v1 twice", "/claude/v1/messages", claude),
        (0, "POST", "/claude/v1/messages/v1/messages", "/v1 twice", "/claude/v1/messages", claude),
        (0, "POST", "/claude/messages", "lacks /v1", "/claude/v1/messages", claude),
        (0, "POST", "/claude/claude/v1/messages", "prefix twice", "/claude/v1/messages", claude),
        (0, "POST", "/v1/messages", "lacks the service's prefix", "/claude/v1/messages", claude),
        (0, "POST", "/messages", "lacks /v1 and the service's prefix", "/claude/v1/messages", claude),
        (0, "POST", "/v1/messages/count_tokens", "prefix", "/claude/v1/messages/count_tokens", claude),
        (1, "POST", "/codex/v1/messages", "another path", "/claude/v1/messages", claude),
        (0, "POST", "/claude/v1/responses", "another path", "/codex/v1/responses", codex),
        (0, "POST", "/v1/responses", "lacks the service's prefix", "/codex/v1/responses", codex),
        (1, "POST", "/codex/responses", "lacks /v1", "/codex/v1/responses", codex),
        (1, "POST", "/codex/v1/v1/responses", "/v1 twice", "/codex/v1/responses", codex),
        (1, "GET", "/codex/v1/v1/models", "/v1 twice", "/codex/v1/models", codex),
        (1, "GET", "/codex/models", "lacks /v1", "/codex/v1/models", codex),
        (0, "POST", "/api/v1/messages", "another path", "/claude/v1/messages", claude),
        (0, "POST", "/claude/v1/chat/completions", "another path", "/codex/v1/chat/completions", codex),
    ] {
        let text = told(method, path, &both(), own);
        assert!(text.starts_with(&format!("trunkline does not serve {path}: it ")), "{text}");
        assert!(text.contains(mistake), "{mistake}: {text}");
        assert!(text.contains(&format!(" is {right}, and ")), "{right}: {text}");
        assert!(text.ends_with(&format!("base URL is {base}")), "{base}: {text}");
    }
}

#[test]
fn a_service_without_a_prefix_has_the_address_as_its_base_url() {
    let alone = [mounted("claude", "", &Claude)];
    let text = told("POST", "/v1/v1/messages", &alone, 0);
    assert!(text.ends_with("is /v1/messages, and its clients' base URL is http://127.0.0.1:8787"), "{text}");
    let text = told("POST", "/claude/v1/messages", &alone, 0);
    assert!(text.contains("another path before"), "{text}");
    let text = refusal(&Method::POST, "/v1/v1/messages", &alone, 0, None, true);
    assert!(text.ends_with("that of this address with the path /"), "{text}");
}

#[test]
fn what_the_option_would_allow_names_it() {
    for path in
        ["/claude/v1/files", "/claude/v1/files/models", "/claude/v1/files/1", "/claude/v1/organizations/v1"]
    {
        let text = told("GET", path, &both(), 0);
        assert!(text.contains("the option \"paths\""), "{text}");
    }
    let text = refusal(&Method::GET, "/favicon.ico", &both(), 0, None, false);
    assert_eq!(text, "trunkline does not serve /favicon.ico");
}

#[test]
fn another_method_is_named() {
    assert!(told("GET", "/claude/v1/messages", &both(), 0).ends_with("by this method: use POST"));
    assert!(told("DELETE", "/codex/v1/models", &both(), 1).ends_with("by this method: use GET"));
}

#[test]
fn an_origin_is_only_what_can_be_one() {
    let of = |host: &str, is_tls| {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        origin(&headers, &Uri::from_static("/x"), is_tls)
    };
    assert_eq!(of("[::1]:8787", false).as_deref(), Some("http://[::1]:8787"));
    assert_eq!(of("gateway.example", true).as_deref(), Some("https://gateway.example"));
    for bad in ["a b", "a/b", "\"", "a@b", &"x".repeat(300)] {
        assert_eq!(of(bad, false), None, "{bad}");
    }
    let absolute = Uri::from_static("http://one:1/x");
    assert_eq!(origin(&HeaderMap::new(), &absolute, false).as_deref(), Some("http://one:1"));
}

proptest! {
    /// Whatever the path, the refusal is short, and what it says is right would be served.
    #[test]
    fn any_path_is_refused_in_a_bounded_sentence(path in "(/(v1|claude|codex|messages|responses|models|[a-z\u{e9}]{0,300})){1,20}") {
        let services = both();
        let text = told("POST", &path, &services, 0);
        prop_assert!(text.len() < 4 * MAX_SHOWN_PATH + 400, "{}", text.len());
        match meant(&Method::POST, &path, &services, 0) {
            Some(Meant::Service(at, rest)) => {
                let service = services.get(at).unwrap();
                prop_assert!(serves(service, &Method::POST, rest));
            }
            Some(Meant::WithoutVersion(at, rest)) => {
                let service = services.get(at).unwrap();
                let path = format!("/v1{rest}");
                prop_assert!(serves(service, &Method::POST, &path));
            }
            _ => {}
        }
    }
}
