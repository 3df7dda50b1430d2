//! Requests through each of them.

use serde_json::{Value, json};
use trunkline_testkit::client::{Connection, Request, Response};
use trunkline_testkit::ports::ClosedPort;
use trunkline_testkit::upstream::{Canned, Version};
use trunkline_testkit::{Alpn, Script, Trunkline, Upstream};

use crate::program::{LOGIN, Program, danted, microsocks, squid, tinyproxy};

/// The one outbound of most tests.
fn outbound(kind: &str, program: &Program) -> Value {
    json!({ "type": kind, "tag": "out", "server": "127.0.0.1", "server_port": program.addr.port() })
}

fn with(mut outbound: Value, fields: Value) -> Value {
    let (Some(all), Value::Object(fields)) = (outbound.as_object_mut(), fields) else {
        panic!("two objects")
    };
    all.extend(fields);
    outbound
}

/// Sends a request to a provider, described by `upstream`, by way of the outbound `out`.
async fn send(upstream: Value, outbounds: &[&Value]) -> (Response, Trunkline) {
    let service = json!({
        "type": "claude",
        "listen_port": 0,
        "credentials": [{ "tag": "main", "oauth_token": "sk-ant-oat01-x", "detour": "out" }],
        "upstream": upstream,
    });
    let trunkline = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"))
        .config(&json!({ "services": [service], "outbounds": outbounds }))
        .start()
        .await
        .expect("trunkline starts");
    let mut client = Connection::connect(trunkline.addr().expect("an address")).await.expect("a connection");
    let request = Request::post("/v1/messages", r#"{"model":"claude-opus-4-8","messages":[]}"#).bearer("any");
    let response = client.send(&request).await.expect("an answer");
    (response, trunkline)
}

fn described(upstream: &Upstream) -> Value {
    let ca_path = upstream.authority().map(|authority| authority.file().expect("a file"));
    match ca_path {
        None => json!({ "api_url": upstream.url() }),
        Some(ca_path) => json!({ "api_url": upstream.url(), "ca_path": ca_path }),
    }
}

/// The answer arrives through them, in clear and over TLS with HTTP/2, in pieces and whole.
async fn leads(outbounds: &[&Value]) {
    let script = || Canned::always(Script::status(200).chunk("one").chunk("x".repeat(100_000)).chunk("two"));
    let plain = Upstream::start(script()).await.expect("a provider");
    let tls = Upstream::start_tls(script(), &[Alpn::H2]).await.expect("a provider");
    for (upstream, version) in [(plain, Version::Http1), (tls, Version::Http2)] {
        let (response, trunkline) = send(described(&upstream), outbounds).await;
        assert_eq!(response.status(), 200, "{}: {:?}", response.text(), trunkline.stderr());
        assert_eq!(response.text().len(), 100_006);
        assert_eq!(upstream.next_request().await.expect("a request").version, version);
    }
}

/// It does not let us through, and the log says why.
async fn refuses(outbound: &Value, words: &str) {
    let upstream = Upstream::start(Canned::default()).await.expect("a provider");
    let (response, trunkline) = send(described(&upstream), &[outbound]).await;
    assert_eq!(response.status(), 502, "{}", response.text());
    let line = trunkline.stderr_line(|line| line.contains("trunkline::request")).await.expect("a line");
    assert!(line.contains(&format!("outbound out: {words}")), "{line}");
    assert!(upstream.requests().is_empty());
}

fn login(user: &str, password: &str) -> Value {
    json!({ "username": user, "password": password })
}

#[tokio::test]
async fn through_tinyproxy() {
    let Some(proxy) = tinyproxy(false).await else { return };
    leads(&[&outbound("http", &proxy)]).await;
    let Some(proxy) = tinyproxy(true).await else { return };
    leads(&[&with(outbound("http", &proxy), login("me", "pass"))]).await;
    refuses(&outbound("http", &proxy), "the proxy wants a user and a password (407)").await;
    let wrong = with(outbound("http", &proxy), login("me", "wrong"));
    // It says 401 to a wrong password.
    refuses(&wrong, "the proxy refused the ").await;
}

#[tokio::test]
async fn through_squid() {
    let Some(proxy) = squid(false).await else { return };
    leads(&[&outbound("http", &proxy)]).await;
    let Some(proxy) = squid(true).await else { return };
    leads(&[&with(outbound("http", &proxy), login(LOGIN.0, LOGIN.1))]).await;
    refuses(&outbound("http", &proxy), "the proxy wants a user and a password (407)").await;
    let wrong = with(outbound("http", &proxy), login(LOGIN.0, "wrong"));
    refuses(&wrong, "the proxy refused the user and the password (407)").await;
}

#[tokio::test]
async fn through_microsocks() {
    let Some(proxy) = microsocks(false).await else { return };
    leads(&[&outbound("socks", &proxy)]).await;
    // A login that nobody asks for does no harm.
    leads(&[&with(outbound("socks", &proxy), login("me", "x"))]).await;
    let Some(proxy) = microsocks(true).await else { return };
    leads(&[&with(outbound("socks", &proxy), login(LOGIN.0, LOGIN.1))]).await;
    refuses(&outbound("socks", &proxy), "the proxy wants a user and a password").await;
    let wrong = with(outbound("socks", &proxy), login(LOGIN.0, "wrong"));
    refuses(&wrong, "the proxy refused the user and the password").await;
}

#[tokio::test]
async fn through_dante() {
    let Some(proxy) = danted().await else { return };
    leads(&[&outbound("socks", &proxy)]).await;
    leads(&[&with(outbound("socks", &proxy), json!({ "version": "4" }))]).await;
    leads(&[&with(outbound("socks", &proxy), json!({ "version": "4", "username": "me" }))]).await;
}

#[tokio::test]
async fn through_one_behind_another() {
    let (Some(near), Some(far)) = (microsocks(true).await, squid(true).await) else { return };
    let near = with(outbound("socks", &near), with(login(LOGIN.0, LOGIN.1), json!({ "tag": "near" })));
    let far = with(outbound("http", &far), with(login(LOGIN.0, LOGIN.1), json!({ "detour": "near" })));
    leads(&[&far, &near]).await;
}

#[tokio::test]
async fn a_target_that_refuses_is_told() {
    let closed = ClosedPort::new().expect("a port");
    let (Some(http), Some(socks)) = (tinyproxy(false).await, microsocks(false).await) else { return };
    for (outbound, words) in [
        (outbound("http", &http), "outbound out: the proxy refused the connection: 500"),
        (
            outbound("socks", &socks),
            "outbound out: the proxy refused the connection: connection refused by the target",
        ),
    ] {
        let (response, trunkline) =
            send(json!({ "api_url": format!("http://{}", closed.addr()) }), &[&outbound]).await;
        assert_eq!(response.status(), 502);
        let line = trunkline.stderr_line(|line| line.contains("trunkline::request")).await.expect("a line");
        assert!(line.contains(words), "{line}");
    }
}
