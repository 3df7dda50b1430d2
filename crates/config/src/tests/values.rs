//! What good configurations mean.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline_core::limits::BaseWindow;
use trunkline_core::secret::{Secret, TokenDigest};
use trunkline_core::selection::Strategy;

use super::machine;
use crate::model::{
    Config, CredentialKind, FastMode, Log, LogFormat, LogLevel, OutboundKind, PemSource, PoolId,
    ProviderKind, ProxyTls, RateLimitHeaders, Timeouts, Tls, TlsVersion, UserId,
};
use crate::{BaseUrl, LoginLocation, load};

fn config(text: &str) -> Config {
    load(text, &machine()).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn file(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid").join(name);
    config(&fs::read_to_string(path).unwrap())
}

#[test]
fn the_top_level() {
    let config = file("every_option.json");
    assert_eq!(
        config.log,
        Log {
            level: LogLevel::Debug,
            disabled: false,
            timestamp: false,
            format: LogFormat::Json,
            output: Some("/home/me/trunkline.log".into()),
        }
    );
    assert_eq!(config.drain_timeout, Duration::from_secs(90));
    assert!(config.reuse_port);
    let tags: Vec<_> = config.services.iter().map(|service| service.tag.as_str()).collect();
    assert_eq!(tags, ["main", "ccm", "d"]);
}

#[test]
fn log_levels() {
    for (word, level) in [
        ("trace", LogLevel::Trace),
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
        ("fatal", LogLevel::Error),
        ("panic", LogLevel::Error),
    ] {
        let text = format!(r#"{{"log": {{"level": "{word}"}}, "services": [{{"type": "claude"}}]}}"#);
        assert_eq!(config(&text).log.level, level, "{word}");
    }
}

#[test]
fn a_service() {
    let service = &file("every_option.json").services[0];
    assert_eq!(service.provider, ProviderKind::Claude);
    assert_eq!((service.listen, service.listen_port), (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443));
    assert_eq!(service.path, "/claude");
    assert_eq!(
        service.tls,
        Some(Tls {
            certificate: PemSource::Path("/etc/tls/fullchain.pem".into()),
            key: PemSource::Path("/etc/tls/key.pem".into()),
            server_name: Some("claude.example.com".to_owned()),
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            min_version: TlsVersion::V1_3,
        })
    );
    let headers: Vec<(&str, Vec<&str>)> = service
        .headers
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(Secret::expose).collect()))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-team", vec!["a"]),
            ("x-trace", vec!["1", "2"]),
            ("x-secret", vec!["token-from-the-environment"])
        ]
    );
    assert_eq!(
        service.timeouts,
        Timeouts {
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(90),
            idle: Duration::from_secs(90),
            request_body: Duration::from_millis(500),
        }
    );
    assert_eq!((service.max_body, service.replay_buffer), (32 << 20, 1 << 20));
    assert_eq!(service.min_body_rate, 2 << 10);
    assert_eq!((service.max_connections, service.max_connections_per_address), (500, 50));
    assert_eq!(service.max_header, 128 << 10);
}

#[test]
fn users() {
    let service = &file("every_option.json").services[0];
    let [alice, bob, carol] = service.users.as_slice() else { panic!("not three") };
    assert_eq!(alice.name, "alice");
    assert!(alice.token.same(&TokenDigest::of(b"token-of-alice")));
    assert_eq!(alice.plain_token, Some(Secret::new("token-of-alice")));
    assert_eq!(alice.pool, PoolId(0));
    assert_eq!(alice.models, ["claude-opus-*", "claude-sonnet-*"]);
    assert_eq!(alice.paths, ["/v1/files/*"]);
    assert_eq!(alice.expires.map(|time| time.to_string()).as_deref(), Some("2027-01-31T22:59:59Z"));
    assert_eq!(
        (alice.disabled, alice.fast_mode, alice.rate_limit_headers),
        (false, FastMode::Allow, RateLimitHeaders::Passthrough)
    );
    assert!(bob.token.same(&TokenDigest::of(b"abc")));
    assert_eq!(bob.plain_token, None);
    assert_eq!((bob.pool, bob.disabled, bob.fast_mode), (PoolId(3), true, FastMode::Deny));
    assert_eq!(carol.plain_token, Some(Secret::new("token-from-the-environment")));
    assert_eq!((carol.pool, carol.fast_mode), (PoolId(2), FastMode::Single));
    assert!(carol.models.is_empty() && carol.paths.is_empty() && carol.expires.is_none());
    assert_eq!(service.pool(bob.pool).map(|pool| pool.tag.as_str()), Some("key"));
    assert_eq!(service.user(UserId(3)), None);
}

#[test]
fn credentials() {
    let config = file("every_option.json");
    let [login, directory, token, key] = config.services[0].credentials.as_slice() else {
        panic!("not four")
    };
    let location = |path: &str, directory: &str| {
        CredentialKind::LoginFile(LoginLocation {
            path: path.into(),
            directory: directory.into(),
            keychain: None,
        })
    };
    assert_eq!(login.kind, location("/home/me/logins/a.json", "/home/me/.claude-a"));
    assert_eq!(
        (login.models.as_slice(), login.users.as_deref()),
        (&["claude-*".to_owned()][..], Some(&[UserId(0)][..]))
    );
    assert_eq!(directory.kind, location("/srv/claude-b/.credentials.json", "/srv/claude-b"));
    assert_eq!((directory.users.as_ref(), directory.weight), (None, None));
    assert_eq!(token.kind, CredentialKind::OauthToken(Secret::new("token-from-a-file")));
    assert_eq!(key.kind, CredentialKind::ApiKey(Secret::new("key-of-the-team")));
    assert_eq!(key.users, Some(vec![UserId(1)]));
    let single = |index: usize| &config.services[index].credentials[0];
    assert_eq!(single(1).kind, location("/home/me/logins/c.json", "/home/me/logins"));
    assert_eq!(single(2).kind, location("/home/me/.claude-d/.credentials.json", "/home/me/.claude-d"));
    assert_eq!(single(1).tag, "default");
}

#[test]
fn upstreams_are_resolved_from_credential_to_provider() {
    let config = file("every_option.json");
    let [login, .., key] = config.services[0].credentials.as_slice() else { panic!("not several") };
    let url = |text| BaseUrl::parse(text).unwrap();
    assert_eq!(login.upstream.api_url, url("https://claude.example.com"));
    assert_eq!(key.upstream.api_url, url("http://gateway.internal:9000/anthropic"));
    assert_eq!((login.upstream.insecure_http, key.upstream.insecure_http), (false, true));
    assert_eq!(key.upstream.ca_path, Some(PathBuf::from("/here/ca.pem")));
    assert_eq!(key.upstream.token_url, url("https://platform.claude.com/v1/oauth/token"));
    let plain = &config.services[1].credentials[0].upstream;
    assert_eq!(plain.api_url, url("https://api.anthropic.com"));
    assert_eq!((&plain.usage_url, &plain.openai_url, &plain.user_agent), (&None, &None, &None));
}

#[test]
fn detours_are_ways_hop_by_hop() {
    let config = file("outbounds.json");
    let shown = |credential: &crate::model::Credential| credential.detour.as_ref().map(ToString::to_string);
    let [https, socks5, chained, direct, without] = config.services[0].credentials.as_slice() else {
        panic!("not five")
    };
    assert_eq!(shown(https).as_deref(), Some("outbound https (https://***:***@proxy.example.com:3129)"));
    assert_eq!(shown(socks5).as_deref(), Some("outbound socks5 (socks5h://***:***@[::1]:1080)"));
    assert_eq!(
        shown(chained).as_deref(),
        Some(
            "outbound chain (http://deep.example.com:80), reached through outbound socks4a \
             (socks4a://10.0.0.3:1080), reached through outbound direct (direct)"
        )
    );
    assert_eq!(shown(direct).as_deref(), Some("outbound direct (direct)"));
    assert_eq!(without.detour, None);
    let single = &config.services[1].credentials[0];
    assert_eq!(shown(single).as_deref(), Some("outbound socks4 (socks4://***:***@10.0.0.2:1080)"));

    let Some(OutboundKind::Http(http)) =
        https.detour.as_ref().and_then(|way| way.outbounds.first()).map(|outbound| &outbound.kind)
    else {
        panic!("no HTTP")
    };
    let login = http.server.login.as_ref().unwrap();
    assert_eq!((login.username.expose(), login.password.expose()), ("user", "token-from-the-environment"));
    assert_eq!(http.path.as_deref(), Some("/connect"));
    assert_eq!(
        http.tls,
        Some(ProxyTls {
            server_name: Some("tls.example.com".to_owned()),
            insecure: true,
            alpn: vec!["http/1.1".to_owned()],
            min_version: TlsVersion::V1_3,
            certificate: Some(PemSource::Path("/here/proxy-ca.pem".into())),
        })
    );
    let timeouts: Vec<_> =
        chained.detour.iter().flat_map(|way| &way.outbounds).map(|hop| hop.connect_timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(5)), None, Some(Duration::from_secs(3))]);
}

#[test]
fn inline_pem_is_one_text() {
    let tls = file("harmless.json").services[0].tls.clone().unwrap();
    let PemSource::Inline(certificate) = tls.certificate else { panic!("not inline") };
    assert_eq!(certificate.expose(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
    assert_eq!(tls.min_version, TlsVersion::V1_2);
    assert_eq!(file("harmless.json").services[1].tls, None);
}

#[test]
fn the_same_file_is_the_same_configuration() {
    assert_eq!(file("every_option.json"), file("every_option.json"));
    assert_ne!(file("every_option.json"), file("minimal.json"));
}

#[test]
fn a_default_login_needs_a_home() {
    let env = crate::fake::FakeEnvironment::new().without_home();
    let problems = load(r#"{"services": [{"type": "claude"}]}"#, &env).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "line 1, column 15: services[0]: the home directory is not known; set credential_path"
    );
}

#[test]
fn pools() {
    let service = &file("pools.json").services[0];
    let seen: Vec<_> = service
        .pools
        .iter()
        .map(|pool| {
            let members = pool.members.iter().map(|id| service.credential(*id).unwrap().tag.as_str());
            (pool.tag.as_str(), pool.strategy, pool.rebalance_threshold, members.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("pool", Strategy::LeastUsed, 20.0, vec!["one", "two"]),
            ("one", Strategy::LeastUsed, 0.0, vec!["one"]),
            ("last", Strategy::Fallback, 0.0, vec!["two", "key"]),
            ("two", Strategy::LeastUsed, 0.0, vec!["two"]),
            ("key", Strategy::LeastUsed, 0.0, vec!["key"]),
            ("round", Strategy::RoundRobin, 0.0, vec!["one"]),
            ("dice", Strategy::Random, 0.0, vec!["one", "key"]),
        ]
    );
    let pools: Vec<_> =
        service.users.iter().map(|user| service.pool(user.pool).unwrap().tag.as_str()).collect();
    assert_eq!(pools, ["pool", "last", "two"]);
    let [alice, bob, _] = service.users.as_slice() else { panic!("not three") };
    assert_eq!(
        (alice.allow_external_usage, alice.explain, alice.wait_for_capacity),
        (true, true, Some(Duration::from_secs(45)))
    );
    assert_eq!((bob.allow_external_usage, bob.explain, bob.wait_for_capacity), (false, false, None));
    assert_eq!((alice.is_peer, bob.is_peer), (false, true));
    assert_eq!(service.wait_for_capacity, Duration::from_secs(10));
    let caps: Vec<_> = service
        .credentials
        .iter()
        .map(|one| (one.caps.percent(BaseWindow::FiveHour), one.caps.percent(BaseWindow::Weekly), one.weight))
        .collect();
    assert_eq!(caps, [(90.0, 80.0, Some(2.5)), (50.0, 95.0, None), (100.0, 100.0, Some(1.0))]);
}
