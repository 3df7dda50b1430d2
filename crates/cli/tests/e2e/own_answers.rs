//! An answer of ours before a request's body has been read leaves a connection that works, or announces its end, and always
//! arrives (claude.md, *Errors of our own*).

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::process::Command;
use trunkline_testkit::client::{Connection, Ended, H2Client, Request, Response};
use trunkline_testkit::upstream::{Intake, on_head};
use trunkline_testkit::{Script, Signal, Trunkline, Upstream, bounded};

use crate::support::{Current, OAUTH_TOKEN, USER_TOKEN, config, message, service, trunkline, with};

/// Two services, each with a provider that cannot be reached for one of its users, and a Codex service.
struct Scene {
    upstream: Upstream,
    claude: Trunkline,
    codex: Trunkline,
}

/// A port that nobody listens on.
fn nobody() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", closed.local_addr().unwrap())
}

/// A configuration that believes its clients when they say for whom they ask.
fn behind_a_proxy(service: &Value) -> Value {
    with(config(service), json!({ "trusted_proxies": ["127.0.0.1"] }))
}

impl Scene {
    async fn new() -> Self {
        let upstream =
            Upstream::start(Current::new(Script::json(200, &json!({ "ok": true })))).await.unwrap();
        let users = json!([
            { "name": "alice", "token": USER_TOKEN },
            { "name": "haiku", "token": "haiku", "models": "claude-haiku-*" },
            { "name": "late", "token": "late", "disabled": true },
        ]);
        let claude = json!({
            "type": "claude",
            "listen_port": 0,
            "max_body": "512KiB",
            "users": users,
            "credentials": [{ "tag": "main", "oauth_token": OAUTH_TOKEN }],
            "upstream": { "api_url": upstream.url() },
        });
        let codex = json!({
            "type": "codex",
            "listen_port": 0,
            "users": [{ "name": "alice", "token": USER_TOKEN }],
            "credentials": [{ "tag": "key", "type": "api_key", "api_key": "sk-of-the-credential" }],
            "upstream": { "openai_url": nobody() },
        });
        Self {
            upstream,
            claude: trunkline().config(&behind_a_proxy(&claude)).start().await.unwrap(),
            codex: trunkline().config(&behind_a_proxy(&codex)).start().await.unwrap(),
        }
    }

    /// Every kind of answer of ours, with where it comes from.
    fn cases(&self) -> Vec<Case> {
        let post = |target: &str, token: &str| Request::new("POST", target).bearer(token);
        let claude = [
            (post("/v1/messages", "wrong"), &[401][..]),
            (Request::new("POST", "/v1/messages"), &[401]),
            (post("/v1/messages", "late"), &[401]),
            (post("/v1/messages", USER_TOKEN).header("Origin", "http://evil.example"), &[403]),
            (post("/v1/messages", USER_TOKEN).header("Sec-Fetch-Site", "cross-site"), &[403]),
            (post("/v1/files", USER_TOKEN), &[404]),
            (post("/nowhere", USER_TOKEN), &[404]),
            (post("/v1/../v1/messages", USER_TOKEN), &[400]),
            (post("/v1/messages", "haiku"), &[400]),
            (Request::new("GET", "/"), &[200]),
            (Request::new("GET", "/api/oauth/usage").bearer(USER_TOKEN), &[200]),
        ];
        let codex = [
            (post("/v1/responses", "wrong"), &[401][..]),
            (post("/v1/nowhere", USER_TOKEN), &[404]),
            // It cannot be reached, and is not tried any more when that has been seen a few times.
            (post("/v1/responses", USER_TOKEN), &[502, 503]),
        ];
        let of = |trunkline: &Trunkline| {
            let addr = trunkline.addr().unwrap();
            move |(request, statuses)| Case { addr, request, statuses }
        };
        claude.into_iter().map(of(&self.claude)).chain(codex.into_iter().map(of(&self.codex))).collect()
    }
}

/// A request that is answered by us.
#[derive(Clone, Debug)]
struct Case {
    addr: SocketAddr,
    request: Request,
    statuses: &'static [u16],
}

/// The request as if it came from another client each time: somebody who tries wrong tokens is answered later and later.
fn from_elsewhere(request: &Request) -> Request {
    static CLIENTS: AtomicU16 = AtomicU16::new(0);
    let [high, low] = CLIENTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    request.clone().header("X-Forwarded-For", &format!("10.1.{high}.{low}"))
}

const SIZES: [usize; 4] = [0, 1, 4_000, 300_000];

/// Sends the head by itself and the body in pieces, as Python's client does and others may.
async fn send_slowly(
    connection: &mut Connection,
    request: &Request,
    size: usize,
    is_chunked: bool,
) -> Response {
    let body = vec![b'x'; size];
    let framing = if is_chunked {
        ("Transfer-Encoding", "chunked".to_owned())
    } else {
        ("Content-Length", size.to_string())
    };
    connection.write_head(&from_elsewhere(request).header(framing.0, &framing.1)).await.unwrap();
    for piece in body.chunks(50_000) {
        tokio::task::yield_now().await;
        if is_chunked {
            connection.write_chunk(piece).await.unwrap();
        } else {
            connection.write_raw(piece).await.unwrap();
        }
    }
    if is_chunked {
        connection.write_last_chunk().await.unwrap();
    }
    connection.response().await.unwrap()
}

#[tokio::test]
async fn a_connection_goes_on_behind_every_answer_over_http1() {
    let scene = Scene::new().await;
    for Case { addr, request, statuses } in scene.cases() {
        let mut connection = Connection::connect(addr).await.unwrap();
        for is_chunked in [false, true] {
            for size in SIZES {
                let response = send_slowly(&mut connection, &request, size, is_chunked).await;
                let what = format!("{request:?} {size} {is_chunked}: {response:?}");
                assert!(statuses.contains(&response.status()) && response.end == Ended::Complete, "{what}");
                assert_eq!(response.header("connection"), None, "{what}");
            }
        }
    }
    let mut connection = Connection::connect(scene.claude.addr().unwrap()).await.unwrap();
    let wrong = Request::new("POST", "/v1/messages").bearer("wrong");
    for _ in 0..20 {
        assert_eq!(send_slowly(&mut connection, &wrong, 2_000, false).await.status(), 401);
        assert_eq!(connection.send(&message("{}")).await.unwrap().status(), 200);
    }
    assert_eq!(scene.upstream.requests().len(), 20);
}

#[tokio::test]
async fn a_connection_goes_on_behind_every_answer_over_http2() {
    let scene = Scene::new().await;
    for Case { addr, request, statuses } in scene.cases() {
        let mut client = H2Client::connect(addr).await.unwrap();
        for size in [0, 1, 4_000, 300_000, 3_000_000, 0] {
            let chunks = vec![b'x'; size].chunks(50_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
            let mut exchange = client.start(&from_elsewhere(&request).chunked(chunks.clone())).await.unwrap();
            let mut is_taken = true;
            for chunk in chunks {
                // Of a large one the rest is not wanted.
                is_taken &= exchange.write(chunk).await.is_ok();
            }
            exchange.finish();
            let response = exchange.response().await.unwrap();
            let what = format!("{request:?} {size} {is_taken}: {response:?}");
            // Where the body is read, one over `max_body` is named.
            let is_fitting =
                statuses.contains(&response.status()) || (size > 1_000_000 && response.status() == 413);
            assert!(is_fitting && response.end == Ended::Complete, "{what}");
        }
    }
}

/// What we will not read any more is announced, and the answer arrives although the client goes on sending.
#[tokio::test]
async fn what_is_not_read_ends_the_connection_and_says_so() {
    let scene = Scene::new().await;
    let addr = scene.claude.addr().unwrap();
    let wrong = Request::new("POST", "/v1/messages").bearer("wrong");
    for (request, status, length) in [
        // Too much to be read away.
        (&wrong, 401, 1_500_000),
        // Over `max_body`.
        (&message(""), 413, 600_000),
    ] {
        for is_chunked in [false, true] {
            let mut connection = Connection::connect(addr).await.unwrap();
            let response = send_slowly(&mut connection, request, length, is_chunked).await;
            let what = format!("{status} {is_chunked}: {response:?}");
            assert_eq!((response.status(), response.end), (status, Ended::Complete), "{what}");
            assert_eq!(response.header("connection"), Some("close"), "{what}");
            assert!(connection.is_closed_next().await.unwrap(), "{what}");
        }
    }
    // A body that does not come.
    let mut connection = Connection::connect(addr).await.unwrap();
    connection.write_head(&wrong.clone().header("Content-Length", "10")).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), response.header("connection")), (401, Some("close")));
    // One whose chunks are none.
    let mut connection = Connection::connect(addr).await.unwrap();
    connection.write_head(&message("").header("Transfer-Encoding", "chunked")).await.unwrap();
    connection.write_raw(b"5\r\nhello\r\nnonsense\r\n").await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), response.header("connection")), (400, Some("close")));
    assert!(connection.is_closed_next().await.unwrap());
    // A head that is none.
    let mut connection = Connection::connect(addr).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nno field\r\n\r\n{}", "x".repeat(500_000));
    connection.write_raw(head.as_bytes()).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), response.header("connection")), (400, Some("close")));
    assert_eq!(response.end, Ended::Complete);
}

#[tokio::test]
async fn a_client_that_expects_100_is_answered_at_once_and_not_told_to_go_on() {
    let scene = Scene::new().await;
    for Case { addr, request, statuses } in scene.cases() {
        if statuses.iter().any(|status| matches!(status, 200 | 502))
            || request.header_value("Authorization") == Some("Bearer haiku")
        {
            // Its body is read.
            continue;
        }
        let mut connection = Connection::connect(addr).await.unwrap();
        connection
            .write_head(
                &from_elsewhere(&request).header("Content-Length", "10").header("Expect", "100-continue"),
            )
            .await
            .unwrap();
        let response = connection.response().await.unwrap();
        assert!(
            statuses.contains(&response.status()) && response.interim.is_empty(),
            "{request:?} {response:?}"
        );
        assert_eq!(response.header("connection"), Some("close"), "{request:?}");
        // It may send the body all the same.
        let _ = connection.write_raw(b"0123456789").await;
        assert!(connection.is_closed_next().await.unwrap());
    }
}

#[tokio::test]
async fn a_refused_upgrade_leaves_a_connection_that_works() {
    let scene = Scene::new().await;
    let mut connection = Connection::connect(scene.codex.addr().unwrap()).await.unwrap();
    let upgrade = |token: &str| {
        Request::get("/v1/responses")
            .bearer(token)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for _ in 0..5 {
        let response = connection.send(&from_elsewhere(&upgrade("wrong"))).await.unwrap();
        assert_eq!((response.status(), response.end), (400, Ended::Complete), "{response:?}");
        let response =
            connection.send(&upgrade(USER_TOKEN).set_header("Sec-WebSocket-Key", "short")).await.unwrap();
        assert_eq!((response.status(), response.end), (400, Ended::Complete), "{response:?}");
        let response = send_slowly(&mut connection, &upgrade(USER_TOKEN), 1_000, false).await;
        assert_eq!((response.status(), response.end), (400, Ended::Complete), "{response:?}");
        assert!(response.text().contains("a request for a WebSocket has no body"), "{}", response.text());
    }
}

#[tokio::test]
async fn an_early_answer_of_the_provider_announces_the_end_and_arrives() {
    let never = Signal::new();
    let upstream = Upstream::start({
        let never = never.clone();
        on_head(move |_| Intake::early(Script::json(413, &json!({ "early": true }))).gate(&never))
    })
    .await
    .unwrap();
    let trunkline = trunkline().config(&config(&service(&upstream.url()))).start().await.unwrap();
    for is_chunked in [false, true] {
        let mut connection = Connection::connect(trunkline.addr().unwrap()).await.unwrap();
        let framing =
            if is_chunked { ("Transfer-Encoding", "chunked") } else { ("Content-Length", "800000") };
        // What the choice of a credential has to know is in the head and the first bytes.
        let request = message("").header("X-Claude-Code-Session-Id", "s").header(framing.0, framing.1);
        connection.write_head(&request).await.unwrap();
        let begins = br#"{"model":"claude-opus-4-8","messages":["#;
        if is_chunked {
            connection.write_chunk(begins).await.unwrap();
        } else {
            connection.write_raw(begins).await.unwrap();
        }
        let response = connection.response().await.unwrap();
        assert_eq!((response.status(), response.text().as_str()), (413, r#"{"early":true}"#));
        assert_eq!(response.header("connection"), Some("close"));
        // It had begun to send before it looked.
        let _ = connection.write_raw(&vec![b'x'; 500_000]).await;
        assert!(connection.is_closed_next().await.unwrap());
    }
}

/// Many requests over one connection of `http.client`, which sends a head and its body one after the other, and takes a
/// connection for closed only when the answer before said so.
const PYTHON: &str = r#"
import http.client, json, sys
cases = json.load(sys.stdin)
sent = opened = 0
for case in cases:
    connection = http.client.HTTPConnection(case["host"], case["port"], timeout=60)
    for nth in range(6):
        for size in case["sizes"]:
            opened += connection.sock is None
            body = b"x" * size
            if nth % 2:
                body = iter([body[at:at + 30000] for at in range(0, size, 30000)])
            headers = dict(case["headers"])
            headers["X-Forwarded-For"] = f"10.2.{sent // 250}.{sent % 250}"
            connection.request(case["method"], case["target"], body, headers, encode_chunked=bool(nth % 2))
            response = connection.getresponse()
            text = response.read()
            assert response.status in case["statuses"], (case, nth, size, response.status, text)
            sent += 1
    connection.close()
print(json.dumps({"sent": sent, "opened": opened}))
"#;

#[tokio::test]
async fn pythons_client_gets_every_answer() {
    let scene = Scene::new().await;
    let cases: Vec<Value> = scene
        .cases()
        .into_iter()
        .chain([Case { addr: scene.claude.addr().unwrap(), request: message(""), statuses: &[413] }])
        .map(|Case { addr, request, statuses }| {
            let names = ["Authorization", "Origin", "Sec-Fetch-Site"];
            let headers: serde_json::Map<String, Value> = names
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), json!(request.header_value(name)?))))
                .collect();
            // Beyond what is read away it may come too late, as it reads nothing before it has sent all.
            let sizes = if statuses == [413] { json!([600_000]) } else { json!(SIZES) };
            json!({
                "host": addr.ip(), "port": addr.port(), "method": request.method(), "target": request.target(),
                "headers": headers, "statuses": statuses, "sizes": sizes,
            })
        })
        .collect();
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3, which the tests need, is not installed");
    let mut stdin = python.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, json!(cases).to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = bounded("Python's client", python.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| usize::try_from(told[name].as_u64().unwrap()).unwrap();
    assert_eq!(count("sent"), (cases.len() - 1) * 6 * SIZES.len() + 6);
    // One connection each, but for the one that is told to come again each time.
    assert_eq!(count("opened"), cases.len() - 1 + 6, "{told}");
}
