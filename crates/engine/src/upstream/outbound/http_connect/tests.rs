//! Tests of CONNECT: what is asked, and what is made of the answers.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const TARGET: Target<'_> = Target { host: "api.example", port: 443 };

fn server() -> ProxyServer {
    ProxyServer { host: "proxy".to_owned(), port: 3128 }
}

fn plain() -> HttpConnect {
    HttpConnect::new(server(), None, None, [], None).unwrap()
}

fn with_login() -> HttpConnect {
    let login = ProxyLogin { username: Secret::new("me"), password: Secret::new("pä:ss") };
    HttpConnect::new(server(), Some(&login), None, [], None).unwrap()
}

/// Asks a proxy that answers with these bytes and then says no more.
async fn ask(
    proxy: &HttpConnect,
    target: Target<'_>,
    answer: &[u8],
) -> (String, Result<DuplexStream, DialError>) {
    let (ours, mut theirs) = duplex(256 * 1024);
    let answering = async {
        let head = read_head(&mut theirs).await;
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        (head, theirs)
    };
    let (result, (head, _theirs)) = tokio::join!(proxy.connect(ours, target), answering);
    (head, result)
}

async fn read_head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_tunnel_is_asked_for_and_given() {
    for answer in [
        &b"HTTP/1.1 200 Connection established\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n",
    ] {
        let (head, result) = ask(&plain(), TARGET, answer).await;
        assert_eq!(head, "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
        result.unwrap();
    }
}

#[tokio::test]
async fn the_tunnel_carries_bytes_both_ways() {
    let (ours, mut theirs) = duplex(1024);
    let proxy = plain();
    let answering = async {
        read_head(&mut theirs).await;
        theirs.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    };
    let (tunnel, ()) = tokio::join!(proxy.connect(ours, TARGET), answering);
    let mut tunnel = tunnel.unwrap();
    tunnel.write_all(b"ping").await.unwrap();
    theirs.write_all(b"pong").await.unwrap();
    let mut got = [0; 4];
    tunnel.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"pong");
    drop(tunnel);
    let mut rest = String::new();
    theirs.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "ping");
}

#[tokio::test]
async fn login_headers_path_and_ipv6_are_sent() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\n";
    let (head, _) = ask(&with_login(), Target { host: "2001:db8::1", port: 8443 }, answer).await;
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[..2], ["CONNECT [2001:db8::1]:8443 HTTP/1.1", "Host: [2001:db8::1]:8443"]);
    assert_eq!(lines[2], "Proxy-Authorization: Basic bWU6cMOkOnNz");
    let values = [Secret::new("one"), Secret::new("two")];
    let headers = values.iter().map(|value| ("x-proxy", value));
    let proxy = HttpConnect::new(server(), None, Some("/connect?x=1"), headers, None).unwrap();
    let (head, _) = ask(&proxy, TARGET, answer).await;
    assert_eq!(
        head,
        "CONNECT /connect?x=1 HTTP/1.1\r\nHost: api.example:443\r\nX-Proxy: one\r\nX-Proxy: two\r\n\r\n"
    );
}

#[tokio::test]
async fn refusals_in_words() {
    let refusal = |status: &'static str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let required = "407 Proxy Authentication Required";
    for (proxy, answer, expected) in [
        (
            plain(),
            refusal(required),
            "the proxy wants a user and a password (407): set its username and password",
        ),
        (
            with_login(),
            refusal(required),
            "the proxy refused the user and the password (407): correct its username and password",
        ),
        (plain(), refusal("403 No Way"), "the proxy refused the connection: 403 Forbidden"),
        (plain(), refusal("502 x"), "the proxy refused the connection: 502 Bad Gateway"),
        (plain(), refusal("204 x"), "the proxy refused the connection: 204 No Content"),
        (plain(), refusal("101 x"), "the proxy refused the connection: 101 Switching Protocols"),
        (plain(), refusal("302 x"), "the proxy refused the connection: 302 Found"),
        (plain(), String::new(), "the proxy closed the connection: before it answered"),
    ] {
        let (_, result) = ask(&proxy, TARGET, answer.as_bytes()).await;
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
    let (_, result) = ask(&plain(), TARGET, b"\x05\xff\r\n\r\n").await;
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("the proxy did not answer with HTTP: "), "{text}");
    let (_, result) = ask(&plain(), TARGET, b"HTTP/1.1 200 OK\r\n\r\n220 mail.example").await;
    assert!(result.unwrap_err().to_string().starts_with("the proxy sent more than its answer"));
}

#[tokio::test]
async fn a_cut_at_any_byte_is_told() {
    let whole = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n";
    for kept in 0..whole.len() {
        let (_, result) = ask(&plain(), TARGET, &whole[..kept]).await;
        let text = result.unwrap_err().to_string();
        assert_eq!(text, "the proxy closed the connection: before it answered", "{kept}");
    }
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for nth in 0..90 {
        head.extend_from_slice(format!("X-{nth}: {}\r\n", "x".repeat(1000)).as_bytes());
    }
    let (_, result) = ask(&plain(), TARGET, &head).await;
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("the proxy did not answer with HTTP"), "{text}");
}

#[test]
fn nothing_secret_is_shown() {
    let login = ProxyLogin { username: Secret::new("canary"), password: Secret::new("canary") };
    let value = Secret::new("canary");
    let proxy = HttpConnect::new(server(), Some(&login), None, [("x-proxy", &value)], None).unwrap();
    // "canary:canary" in Base64.
    let text = format!("{proxy:?} {proxy:#?}");
    assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{text}");
    let bad = Secret::new("canary\n");
    let error = HttpConnect::new(server(), None, None, [("x-proxy", &bad)], None).unwrap_err();
    assert!(!error.contains("canary"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_is_taken_or_refused(
        status in "(HTTP/1\\.[01] )?[0-9]{0,4}[ -~]{0,10}",
        headers in "([a-zA-Z:-]{0,10} ?[ -~]{0,20}\r?\n){0,3}",
        rest in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = [status.as_bytes(), b"\r\n", headers.as_bytes(), b"\r\n", &rest].concat();
        runtime.block_on(async {
            let _ = ask(&plain(), TARGET, &answer).await;
        });
    }
}
