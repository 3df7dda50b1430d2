//! Tests of what is read from the environment.

use percent_encoding::NON_ALPHANUMERIC;
use proptest::prelude::*;

use super::*;
use crate::fake::FakeEnvironment;
use crate::model::{OutboundKind, SocksVersion};

fn read(vars: &[(&str, &str)]) -> Result<Surroundings, Vec<BadVariable>> {
    let env = vars.iter().fold(FakeEnvironment::new(), |env, (name, value)| env.with_var(name, value));
    Surroundings::read(&env)
}

fn shown(surroundings: &Surroundings, url: &str) -> Option<String> {
    surroundings.proxy_for(&BaseUrl::parse(url).unwrap()).map(ToString::to_string)
}

#[test]
fn the_proxy_is_chosen_by_scheme() {
    let both = read(&[("HTTPS_PROXY", "a:1"), ("all_proxy", "socks5h://b:2")]).unwrap();
    assert_eq!(shown(&both, "https://x.example").as_deref(), Some("HTTPS_PROXY (http://a:1)"));
    assert_eq!(shown(&both, "http://x.example").as_deref(), Some("all_proxy (socks5h://b:2)"));
    let all = read(&[("ALL_PROXY", "http://a:1/"), ("HTTPS_PROXY", " ")]).unwrap();
    assert_eq!(shown(&all, "https://x.example").as_deref(), Some("ALL_PROXY (http://a:1)"));
    let two = read(&[("https_proxy", "lower:1"), ("HTTPS_PROXY", "upper:1")]).unwrap();
    assert_eq!(shown(&two, "https://x.example").as_deref(), Some("HTTPS_PROXY (http://upper:1)"));
    assert_eq!(shown(&read(&[("HTTP_PROXY", "a:1")]).unwrap(), "http://x.example"), None);
    assert_eq!(shown(&read(&[]).unwrap(), "https://x.example"), None);
}

#[test]
fn loopback_never_has_a_proxy() {
    let all = read(&[("ALL_PROXY", "a:1")]).unwrap();
    for url in [
        "http://127.0.0.1:1",
        "https://127.9.9.9",
        "https://[::1]",
        "https://localhost",
        "https://LOCALHOST:8",
        "https://a.localhost",
        "https://[::ffff:127.0.0.1]",
    ] {
        assert_eq!(shown(&all, url), None, "{url}");
    }
}

#[test]
fn every_kind_of_url_is_read() {
    for (url, expected) in [
        ("proxy", "http://proxy:80"),
        ("proxy:3128", "http://proxy:3128"),
        ("HTTP://Proxy:3128/", "http://proxy:3128"),
        ("https://proxy", "https://proxy:443"),
        ("http://[::1]:8", "http://[::1]:8"),
        ("socks4://10.0.0.1", "socks4://10.0.0.1:1080"),
        ("socks4a://u@proxy", "socks4a://***:***@proxy:1080"),
        ("socks5://u:p@proxy:9", "socks5://***:***@proxy:9"),
        ("socks5h://:@proxy", "socks5h://proxy:1080"),
        ("u:p@proxy", "http://***:***@proxy:80"),
    ] {
        let read = read(&[("HTTPS_PROXY", url)]).unwrap();
        let expected = format!("HTTPS_PROXY ({expected})");
        assert_eq!(shown(&read, "https://x.example"), Some(expected), "{url}");
    }
}

#[test]
fn logins_are_percent_decoded() {
    let read = read(&[("HTTPS_PROXY", "socks5://us%40er:p%3Aa:ss%2F@proxy")]).unwrap();
    let Some(Outbound { kind: OutboundKind::Socks(socks), .. }) =
        read.proxy_for(&BaseUrl::parse("https://x.example").unwrap())
    else {
        panic!("no SOCKS")
    };
    let login = socks.server.login.as_ref().unwrap();
    assert_eq!((login.username.expose(), login.password.expose()), ("us@er", "p:a:ss/"));
    assert_eq!(socks.version, SocksVersion::V5Local);
}

#[test]
fn what_cannot_be_used_is_named_but_not_shown() {
    for url in [
        "ftp://canary@proxy",
        "socks://canary@proxy",
        "http://",
        "http://user:canary@",
        "http://user:canary/x@proxy",
        "http://user:canary@proxy:0",
        "http://user:canary@proxy:port",
        "http://user:canary@proxy/path",
        "http://user:canary@pro xy",
        "http://us%3Aer:canary@proxy",
        "http://user:canary%0A@proxy",
        "http://user:canary%FF@proxy",
        "socks4://us%00er:canary@proxy",
    ] {
        let bad = read(&[("ALL_PROXY", url), ("https_proxy", "gopher://canary")]).unwrap_err();
        assert_eq!(bad.len(), 2, "{url}: {bad:?}");
        for (bad, name) in bad.iter().zip(["https_proxy", "ALL_PROXY"]) {
            let text = format!("{bad} {bad:?}");
            assert!(text.starts_with(&format!("environment variable {name}: ")), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
    }
    let long = format!("socks5://{}@proxy", "u".repeat(256));
    assert!(read(&[("ALL_PROXY", &long)]).is_err());
    let bad = read(&[("NO_PROXY", "10.0.0.0/33")]).unwrap_err();
    assert!(bad[0].to_string().starts_with("environment variable NO_PROXY: one of its entries"), "{bad:?}");
}

#[test]
fn secrets_are_not_printed() {
    let read = read(&[("ALL_PROXY", "http://canary-user:canary-password@proxy")]).unwrap();
    let text = format!("{read:?} {read:#?} {}", shown(&read, "https://x.example").unwrap());
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn hosts_without_a_proxy() {
    let list = "example.com, .dot.example *.star.example 10.1.0.0/16,192.0.2.7,fd00::/8,::2,[fe80::1]:9,port.example:8443,TRAIL.example.";
    let read = read(&[("ALL_PROXY", "a:1"), ("NO_PROXY", list)]).unwrap();
    for url in [
        "https://example.com",
        "https://EXAMPLE.com:99",
        "https://a.b.example.com",
        "https://dot.example",
        "https://x.dot.example",
        "https://x.star.example",
        "https://10.1.255.255",
        "https://192.0.2.7",
        "https://[::ffff:192.0.2.7]",
        "https://[fd12::3]",
        "https://[::2]",
        "https://[fe80::1]:9",
        "https://port.example:8443",
        "https://a.trail.example",
    ] {
        assert_eq!(shown(&read, url), None, "{url}");
    }
    for url in [
        "https://notexample.com",
        "https://example.com.org",
        "https://10.2.0.0",
        "https://192.0.2.8",
        "https://[fe00::1]",
        "https://[fe80::1]",
        "https://port.example",
    ] {
        assert!(shown(&read, url).is_some(), "{url}");
    }
}

#[test]
fn a_star_is_everything_and_a_zero_length_is_a_family() {
    let with = |list| read(&[("ALL_PROXY", "a:1"), ("no_proxy", list)]).unwrap();
    assert_eq!(shown(&with("*"), "https://x.example"), None);
    assert_eq!(shown(&with("0.0.0.0/0"), "https://192.0.2.1"), None);
    assert!(shown(&with("0.0.0.0/0"), "https://[2001:db8::1]").is_some());
    assert_eq!(shown(&with("::/0"), "https://[2001:db8::1]"), None);
    assert!(shown(&with(".,,"), "https://x.example").is_some());
}

#[test]
fn variables_of_authorities_are_noticed() {
    let read = read(&[("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "/x")]).unwrap();
    assert_eq!(read.authorities(), ["SSL_CERT_DIR"], "an empty one counts as not set");
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(url in "(http|socks5h|x)?(://)?[ -~]{0,40}", list in "[ -~]{0,60}") {
        if let Ok(read) = read(&[("ALL_PROXY", &url), ("NO_PROXY", &list)]) {
            let _ = shown(&read, "https://x.example");
            let _ = shown(&read, "https://[2001:db8::1]");
        }
    }

    #[test]
    fn any_login_survives_its_encoding(user in "[^:\\x00-\\x1f\\x7f]{1,20}", password in "[^\\x00-\\x1f\\x7f]{0,20}") {
        prop_assume!(!user.chars().chain(password.chars()).any(char::is_control));
        let encode = |text: &str| percent_encoding::percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
        let url = format!("http://{}:{}@proxy", encode(&user), encode(&password));
        let OutboundKind::Http(http) = proxy_url::parse(&url).unwrap() else { panic!("no HTTP") };
        let login = http.server.login.unwrap();
        prop_assert_eq!(login.username.expose(), &user);
        prop_assert_eq!(login.password.expose(), &password);
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it(network: [u8; 4], length in 0u8..=32, address: [u8; 4]) {
        let list = NoProxy::parse(&format!("{}/{length}", std::net::Ipv4Addr::from(network))).unwrap();
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let same = u32::from_be_bytes(network) & mask == u32::from_be_bytes(address) & mask;
        prop_assert_eq!(list.contains(&std::net::Ipv4Addr::from(address).to_string(), 443), same);
    }
}
