//! Ways out that the configuration names: each kind of proxy, what goes through which, and what they refuse.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::client::Response;
use trunkline_testkit::ports::ClosedPort;
use trunkline_testkit::proxy::{ProxyKind, Reaction};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::upstream::Version;
use trunkline_testkit::{Alpn, Authority, Proxy, Script, TempDir, Trunkline, Upstream};

use crate::support::{Current, Protocol, body, connect, message, passing_refusal, service, trunkline, with};

/// The kinds of outbounds that lead through a proxy: type, version, and what speaks it.
pub(crate) const KINDS: [(&str, Option<&str>, ProxyKind); 4] = [
    ("http", None, ProxyKind::Http),
    ("socks", Some("4"), ProxyKind::Socks4),
    ("socks", Some("4a"), ProxyKind::Socks4),
    ("socks", None, ProxyKind::Socks5),
];

pub(crate) fn ok() -> Current {
    Current::new(Script::json(200, &json!({ "ok": true })))
}

/// An outbound that leads through `proxy`.
fn outbound(tag: &str, (kind, version, _): (&str, Option<&str>, ProxyKind), proxy: &Proxy) -> Value {
    let mut outbound = json!({
        "type": kind, "tag": tag, "server": "127.0.0.1", "server_port": proxy.addr().port()
    });
    if let Some(version) = version {
        outbound["version"] = json!(version);
    }
    outbound
}

fn config(service: &Value, outbounds: &[Value]) -> Value {
    json!({ "services": [service], "outbounds": outbounds })
}

async fn serve(service: &Value, outbounds: &[Value]) -> Trunkline {
    trunkline().config(&config(service, outbounds)).start().await.unwrap()
}

/// A service whose one credential goes through the outbound `tag`.
fn through(tag: &str, url: &str) -> Value {
    // A key: its usage is not polled, so nothing but requests goes this way.
    let credential = json!({ "tag": "main", "type": "api_key", "api_key": "sk-ant-api-x", "detour": tag });
    with(service(url), json!({ "credentials": [credential] }))
}

/// What the log says went wrong with this request.
async fn detail(trunkline: &Trunkline, response: &Response) -> String {
    let id = response.header("x-trunkline-request-id").unwrap().to_owned();
    let line = trunkline
        .stderr_line(|line| line.contains("trunkline::request") && line.contains(&id))
        .await
        .unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let detail = line["detail"].as_str().unwrap_or_default();
    let told = "upstream_connection: trunkline could not connect to the provider for credential ";
    let rest = detail.strip_prefix(told).and_then(|rest| rest.split_once(": "));
    rest.map_or(detail, |(_, why)| why).to_owned()
}

#[tokio::test]
async fn each_kind_leads_to_the_provider_with_and_without_a_login() {
    let plain = Upstream::start(ok()).await.unwrap();
    let tls = Upstream::start_tls(ok(), &[Alpn::H2, Alpn::Http1]).await.unwrap();
    let ca_path = tls.authority().unwrap().file().unwrap();
    for kind in KINDS {
        for login in [None, Some(("me", "p:ä ss"))] {
            for (upstream, version) in [(&plain, Version::Http1), (&tls, Version::Http2)] {
                let mut proxy = Proxy::builder(kind.2);
                if let Some((user, password)) = login {
                    proxy = proxy.login(user, password);
                }
                let proxy = proxy.start().await.unwrap();
                let mut out = outbound("out", kind, &proxy);
                if let Some((user, password)) = login {
                    out["username"] = json!(user);
                    out["password"] = json!(password);
                }
                let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
                let trunkline = serve(&with(through("out", &upstream.url()), to), &[out]).await;
                for protocol in Protocol::BOTH {
                    let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
                    assert_eq!(response.status(), 200, "{kind:?} {login:?}: {:?}", trunkline.stderr());
                    let received = upstream.next_request().await.unwrap();
                    assert_eq!((received.version, received.body()), (version, body()));
                }
                let asked = proxy.asked();
                let host = upstream.url().trim_start_matches(|c| c != '/').trim_matches('/').to_owned();
                // SOCKS 4 has addresses only.
                let host = if kind.1 == Some("4") { host.replace("localhost", "127.0.0.1") } else { host };
                assert!(!asked.is_empty() && asked.iter().all(|asked| asked.target == host), "{asked:?}");
                let sent = asked[0].login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
                let expected =
                    if kind.2 == ProxyKind::Socks4 { login.map(|(user, _)| (user, "")) } else { login };
                assert_eq!(sent, expected, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_credential_goes_its_own_way_and_the_same_way_shares_connections() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let first = Proxy::start(ProxyKind::Http).await.unwrap();
    let second = Proxy::start(ProxyKind::Socks5).await.unwrap();
    let credential = |tag: &str, detour: Value| {
        let mut credential =
            json!({ "tag": tag, "type": "api_key", "api_key": format!("sk-ant-api03-{tag}") });
        if !detour.is_null() {
            credential["detour"] = detour;
        }
        credential
    };
    let tags = ["a", "b", "c", "d", "e"];
    let users: Vec<_> = tags
        .iter()
        .map(|tag| json!({ "name": tag, "token": format!("user-{tag}"), "credential": tag }))
        .collect();
    let credentials = json!([
        credential("a", json!("first")),
        credential("b", json!("first")),
        credential("c", json!("second")),
        credential("d", Value::Null),
        credential("e", json!("direct")),
    ]);
    let service = with(service(&upstream.url()), json!({ "users": users, "credentials": credentials }));
    let outbounds = [
        outbound("first", KINDS[0], &first),
        outbound("second", KINDS[3], &second),
        json!({ "type": "direct", "tag": "direct", "connect_timeout": "5s" }),
        json!({ "type": "vless", "tag": "of no concern" }),
    ];
    let trunkline = serve(&service, &outbounds).await;
    // One connection of a client stays on one worker, which is what connections to the provider belong to.
    let mut client = connect(&trunkline).await;
    for (tag, asked) in
        [("a", (1, 0)), ("b", (1, 0)), ("c", (1, 1)), ("a", (1, 1)), ("d", (1, 1)), ("e", (1, 1))]
    {
        let request = message(body()).set_header("Authorization", &format!("Bearer user-{tag}"));
        assert_eq!(client.send(&request).await.unwrap().status(), 200, "{tag}");
        assert_eq!((first.asked().len(), second.asked().len()), asked, "{tag}");
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.headers.get("x-api-key"), Some(format!("sk-ant-api03-{tag}").as_str()));
    }
    // Two proxies, no proxy, and no proxy by name: four ways out.
    assert_eq!(upstream.connections(), 4);
}

#[tokio::test]
async fn the_shorthand_for_one_credential_has_a_detour_too_and_the_banner_tells_it() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let proxy = Proxy::builder(ProxyKind::Socks5).login("banner-user", "banner-pass").start().await.unwrap();
    let home = TempDir::new().unwrap();
    ClaudeLogin::new("sk-ant-oat01-x", "sk-ant-ort01-x").write_to(&home.join("login")).unwrap();
    let service = json!({
        "type": "claude",
        "listen_port": 0,
        "credential_path": "login/.credentials.json",
        "upstream": { "api_url": upstream.url() },
        "detour": "out",
    });
    let out = with(
        outbound("out", KINDS[3], &proxy),
        json!({ "username": "banner-user", "password": "banner-pass", "detour": "last" }),
    );
    let last = json!({ "type": "direct", "tag": "last" });
    let mut trunkline = trunkline().config(&config(&service, &[out, last])).home(home).start().await.unwrap();
    assert_eq!(connect(&trunkline).await.send(&message(body())).await.unwrap().status(), 200);
    assert!(!proxy.asked().is_empty());
    let output = trunkline.stop().await.unwrap();
    let expected = format!(
        "    through outbound out (socks5h://***:***@{}), reached through outbound last (direct)",
        proxy.addr()
    );
    assert!(output.stdout.contains(&expected), "{:?}", output.stdout);
    assert!(!output.text().contains("banner-user") && !output.text().contains("banner-pass"));
}

#[tokio::test]
async fn a_proxy_behind_a_proxy_and_tls_to_a_proxy() {
    let upstream = Upstream::start_tls(ok(), &[Alpn::H2]).await.unwrap();
    let authority = Authority::new().unwrap();
    let near = Proxy::start(ProxyKind::Socks5).await.unwrap();
    let far = Proxy::builder(ProxyKind::Http).login("me", "pass").tls(&authority).start().await.unwrap();
    let far_outbound = |tls: Value| {
        json!({
            "type": "http",
            "tag": "far",
            "server": "localhost",
            "server_port": far.addr().port(),
            "username": "me",
            "password": "pass",
            "path": "/tunnel",
            "headers": { "X-Proxy": ["one", "two"] },
            "tls": with(json!({ "enabled": true }), tls),
            "detour": "near",
        })
    };
    let ca_path = upstream.authority().unwrap().file().unwrap();
    let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
    let service = with(through("far", &upstream.url()), to);
    let proxy_ca = authority.file().unwrap();
    let pem: Vec<String> = authority.pem().lines().map(str::to_owned).collect();
    for tls in [
        json!({ "certificate_path": proxy_ca, "min_version": "1.3", "alpn": "http/1.1" }),
        json!({ "certificate": pem, "server_name": "127.0.0.1" }),
        json!({ "insecure": true, "server_name": "other.example" }),
    ] {
        let trunkline =
            serve(&service, &[far_outbound(tls.clone()), outbound("near", KINDS[3], &near)]).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        assert_eq!(response.status(), 200, "{tls}: {:?}", trunkline.stderr());
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.version, Version::Http2);
    }
    assert!(near.asked().iter().all(|asked| asked.target == format!("localhost:{}", far.addr().port())));
    let asked = far.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        assert_eq!(asked.line, "CONNECT /tunnel HTTP/1.1");
        assert_eq!(asked.target, format!("localhost:{}", upstream.addr().port()));
        assert_eq!(asked.headers.get_all("x-proxy").collect::<Vec<_>>(), ["one", "two"]);
    }
    // And a certificate that nobody vouches for is not spoken to.
    for (tls, words) in [
        (json!({}), "outbound far: TLS with the proxy failed: TLS handshake failed: "),
        (
            json!({ "certificate_path": proxy_ca, "server_name": "other.example" }),
            "outbound far: TLS with the proxy failed: TLS handshake failed: ",
        ),
    ] {
        let trunkline = serve(&service, &[far_outbound(tls), outbound("near", KINDS[3], &near)]).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        passing_refusal(&response, 502, "api_error");
        let detail = detail(&trunkline, &response).await;
        assert!(detail.starts_with(words), "{detail}");
    }
    assert_eq!(far.asked().len(), 3);
}

#[tokio::test]
async fn refusals_are_a_502_and_a_line_that_says_why() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let [http, socks4, _, socks5] = KINDS;
    let unknown = || Reaction::Raw(Bytes::from_static(b"220 mail.example\r\n\r\n"));
    for (kind, reaction, words) in [
        (http, Reaction::Refuse(403), "the proxy refused the connection: 403 Forbidden"),
        (http, Reaction::Refuse(503), "the proxy refused the connection: 503 Service Unavailable"),
        (http, unknown(), "the proxy did not answer with HTTP: "),
        (http, Reaction::Stall, "connection timed out: no answer of the proxy within 400ms"),
        (socks4, Reaction::Refuse(91), "the proxy refused the connection: request rejected or failed"),
        (socks4, unknown(), "the proxy did not answer with SOCKS 4: "),
        (socks4, Reaction::Stall, "connection timed out: no answer of the proxy within 400ms"),
        (socks5, Reaction::Refuse(2), "the proxy refused the connection: its rules do not allow it"),
        (socks5, Reaction::Refuse(5), "the proxy refused the connection: connection refused by the target"),
        (socks5, unknown(), "the proxy did not answer with SOCKS 5: "),
        (socks5, Reaction::Stall, "connection timed out: no answer of the proxy within 400ms"),
    ] {
        let proxy = Proxy::start(kind.2).await.unwrap();
        proxy.react(reaction.clone());
        // The others answer, however late on a busy machine.
        let patience = if matches!(reaction, Reaction::Stall) { "400ms" } else { "1m" };
        let service = with(through("out", &upstream.url()), json!({ "timeouts": { "connect": patience } }));
        let trunkline = serve(&service, &[outbound("out", kind, &proxy)]).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        let told = passing_refusal(&response, 502, "api_error");
        assert_eq!(told, "trunkline could not connect to the provider for credential main");
        let detail = detail(&trunkline, &response).await;
        assert!(detail.starts_with(&format!("outbound out: {words}")), "{kind:?} {reaction:?}: {detail}");
        // Once more over a fresh connection, like any other that cannot be made.
        assert_eq!(proxy.asked().len(), 2);
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn logins_that_are_wanted_or_wrong_are_told() {
    let upstream = Upstream::start(ok()).await.unwrap();
    for kind in KINDS {
        let proxy = Proxy::builder(kind.2).login("me", "pass").start().await.unwrap();
        for login in [json!({}), json!({ "username": "other", "password": "pass" })] {
            let out = with(outbound("out", kind, &proxy), login.clone());
            let trunkline = serve(&through("out", &upstream.url()), &[out]).await;
            let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
            passing_refusal(&response, 502, "api_error");
            let detail = detail(&trunkline, &response).await;
            let words = match (kind.2, login["username"].is_null()) {
                (ProxyKind::Http, true) => "the proxy wants a user and a password (407): set its",
                (ProxyKind::Http, false) => "the proxy refused the user and the password (407): correct its",
                (ProxyKind::Socks4, _) => "the proxy refused the connection: identd on this machine",
                (ProxyKind::Socks5, true) => "the proxy wants a user and a password: set its",
                (ProxyKind::Socks5, false) => "the proxy refused the user and the password: correct its",
            };
            assert!(detail.starts_with(&format!("outbound out: {words}")), "{detail}");
        }
        assert!(proxy.asked().is_empty());
    }
}

#[tokio::test]
async fn a_proxy_that_cuts_at_any_byte_is_a_502() {
    let upstream = Upstream::start(ok()).await.unwrap();
    for (kind, length) in [(KINDS[0], 39), (KINDS[1], 8), (KINDS[3], 14)] {
        let proxy = Proxy::builder(kind.2);
        let proxy = if kind.2 == ProxyKind::Socks5 { proxy.login("me", "pass") } else { proxy };
        let proxy = proxy.start().await.unwrap();
        let out = with(outbound("out", kind, &proxy), json!({ "username": "me", "password": "pass" }));
        // One for each case: three failed connections in a row block a credential.
        let tags: Vec<String> = (0..=length).map(|nth| format!("key-{nth}")).collect();
        let credentials: Vec<_> = tags
            .iter()
            .map(|tag| json!({ "tag": tag, "type": "api_key", "api_key": "sk-ant-api-x", "detour": "out" }))
            .collect();
        let users: Vec<_> =
            tags.iter().map(|tag| json!({ "name": tag, "token": tag, "credential": tag })).collect();
        let all = json!({ "users": users, "credentials": credentials });
        let trunkline = serve(&with(service(&upstream.url()), all), &[out]).await;
        let mut client = connect(&trunkline).await;
        let request =
            |nth: usize| message(body()).set_header("Authorization", &format!("Bearer {}", tags[nth]));
        for kept in 0..length {
            proxy.react(Reaction::CutAfter(kept));
            let response = client.send(&request(kept)).await.unwrap();
            passing_refusal(&response, 502, "api_error");
            let detail = detail(&trunkline, &response).await;
            let expected = "outbound out: the proxy closed the connection: before it answered";
            assert_eq!(detail, expected, "{kind:?} {kept}");
        }
        // The whole of it, and the tunnel stands.
        proxy.react(Reaction::Connect);
        assert_eq!(client.send(&request(length)).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let closed = ClosedPort::new().unwrap();
    let port = closed.addr().port();
    let out = json!({ "type": "http", "tag": "out", "server": "127.0.0.1", "server_port": port });
    let trunkline = serve(&through("out", &upstream.url()), &[out]).await;
    let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
    passing_refusal(&response, 502, "api_error");
    let detail = detail(&trunkline, &response).await;
    let words = "outbound out: the proxy cannot be reached: connection failed: ";
    assert!(detail.starts_with(words), "{detail}");
}

#[tokio::test]
async fn a_provider_of_an_unknown_authority_is_not_spoken_to_through_a_proxy() {
    let upstream = Upstream::start_tls(ok(), &[Alpn::H2]).await.unwrap();
    let proxy = Proxy::start(ProxyKind::Http).await.unwrap();
    let trunkline = serve(&through("out", &upstream.url()), &[outbound("out", KINDS[0], &proxy)]).await;
    let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
    passing_refusal(&response, 502, "api_error");
    let detail = detail(&trunkline, &response).await;
    let words = "outbound out: to the provider through it: TLS handshake failed: invalid peer certificate";
    assert!(detail.starts_with(words), "{detail}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn the_time_of_an_outbound_is_within_the_time_of_the_whole() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let near = Proxy::start(ProxyKind::Socks5).await.unwrap();
    near.react(Reaction::Stall);
    let far = json!({
        "type": "http", "tag": "far", "server": "127.0.0.1", "server_port": 9, "detour": "near", "connect_timeout": "300ms"
    });
    let service = with(through("far", &upstream.url()), json!({ "timeouts": { "connect": "10m" } }));
    let trunkline = serve(&service, &[far, outbound("near", KINDS[3], &near)]).await;
    let sent = std::time::Instant::now();
    let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
    passing_refusal(&response, 502, "api_error");
    assert!(sent.elapsed() < Duration::from_secs(200));
    let detail = detail(&trunkline, &response).await;
    assert_eq!(detail, "outbound near: connection timed out: no answer of the proxy within 300ms");
}

#[tokio::test]
async fn secrets_of_proxies_are_in_no_output() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let secrets = [Canary::new("user"), Canary::new("password"), Canary::new("header")];
    let [user, password, header] = &secrets;
    let encoded = {
        // What Basic authentication makes of them, from the first whole group of the random part on.
        let proxy = Proxy::builder(ProxyKind::Http).start().await.unwrap();
        let out = with(
            outbound("out", KINDS[0], &proxy),
            json!({ "username": user.token(), "password": password.token() }),
        );
        let trunkline = serve(&through("out", &upstream.url()), &[out]).await;
        assert_eq!(connect(&trunkline).await.send(&message(body())).await.unwrap().status(), 200);
        proxy.asked()[0].headers.get("proxy-authorization").unwrap().trim_start_matches("Basic ").to_owned()
    };
    for kind in KINDS {
        let proxy = Proxy::start(kind.2).await.unwrap();
        let mut out = with(
            outbound("out", kind, &proxy),
            json!({ "username": user.token(), "password": password.token() }),
        );
        if kind.0 == "http" {
            out["headers"] = json!({ "x-proxy": header.token() });
        }
        let config =
            with(config(&through("out", &upstream.url()), &[out]), json!({ "log": { "level": "trace" } }));
        let proxy_url = format!("http://{}:{}@127.0.0.1:9", user.token(), password.token());
        let mut trunkline = trunkline().config(&config).env("ALL_PROXY", proxy_url).start().await.unwrap();
        for reaction in [
            Reaction::Connect,
            Reaction::Refuse(407),
            Reaction::Refuse(2),
            Reaction::CutAfter(1),
            Reaction::Raw(Bytes::from(format!("{} {}\r\n\r\n", user.token(), password.token()))),
        ] {
            proxy.react(reaction);
            let _ = connect(&trunkline).await.send(&message(body())).await;
        }
        let output = trunkline.stop().await.unwrap();
        assert!(output.stderr.len() > 5, "nothing was logged: {output:?}");
        let leaks = find_leaks(output.text().as_bytes(), &secrets);
        assert!(leaks.is_empty(), "{leaks:?} in {}", output.text());
        assert!(!output.text().contains(&encoded[16..40]), "{}", output.text());
    }
}
