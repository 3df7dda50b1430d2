//! Hosts: a web page in a browser can reach loopback. A service without users answers to its own names alone, and no service answers
//! a page of another origin, however the two are spelled and however often they are said.

use trunkline_testkit::client::{H2Client, Request};

use crate::target::{TOKEN, Target, statuses};

/// What is no name of ours, though it begins, ends or looks like one.
const FOREIGN: [&str; 11] = [
    "evil.example",
    "evil.example:8787",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::2]:8787",
    "2130706433",
    "0x7f.0.0.1",
    "localhost..",
];

/// What is no host at all.
const MALFORMED: [&str; 14] = [
    "[::1].evil.example",
    "[::1]evil.example",
    "[::1]:80.evil.example",
    "[::1",
    "::1",
    "localhost:80@evil.example",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost/evil.example",
    "localhost:port",
    "localhost:",
    "",
];

fn get(fields: &[String]) -> String {
    format!("GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n{}\r\n", fields.concat())
}

fn host(host: &str) -> String {
    format!("Host: {host}\r\n")
}

#[tokio::test]
async fn a_service_without_users_answers_to_its_own_names_alone() {
    let target = Target::open().await;
    for name in FOREIGN {
        let answer = target.send(get(&[host(name)]).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [403], "{name}: {answer}");
    }
    for name in MALFORMED {
        let answer = target.send(get(&[host(name)]).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [400], "{name}: {answer}");
    }
    assert!(target.reached().is_empty());
    for name in
        ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:8787", "127.1.2.3", "[::1]", "[::1]:8787"]
    {
        let answer = target.send(get(&[host(name)]).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [200], "{name}: {answer}");
    }
    // An absolute target names a host too, and both count.
    let answer =
        target.send(b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 1).await;
    assert_eq!(statuses(&answer), [403], "{answer}");
    let answer =
        target.send(b"GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n", 1).await;
    assert_eq!(statuses(&answer), [403], "{answer}");
    target.is_well().await;
}

#[tokio::test]
async fn a_request_names_one_host() {
    for target in [Target::open().await, Target::new().await] {
        for hosts in [
            &[][..],
            &["localhost", "evil.example"],
            &["evil.example", "localhost"],
            &["localhost", "localhost"],
        ] {
            let fields: Vec<_> = hosts.iter().map(|name| host(name)).collect();
            let answer = target.send(get(&fields).as_bytes(), 1).await;
            assert_eq!(statuses(&answer), [400], "{hosts:?}: {answer}");
        }
        // Before HTTP/1.1 it might be missing. Nobody's name is not ours, though.
        let old = get(&[]).replace("HTTP/1.1", "HTTP/1.0");
        let answer = target.send(old.as_bytes(), 0).await;
        assert!(answer.starts_with("HTTP/1.0 403") || answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
}

#[tokio::test]
async fn the_two_names_of_http2_are_one() {
    let target = Target::open().await;
    let addr = target.addr().to_string();
    for (name, status) in [("evil.example", 400), ("localhost", 400), (addr.as_str(), 200)] {
        let mut client = H2Client::connect(target.addr()).await.unwrap();
        let response = client.send(&Request::get("/v1/models").header("host", name)).await.unwrap();
        assert_eq!(response.status(), status, "{name}: {}", response.text());
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_however_they_say_it() {
    for target in [Target::open().await, Target::new().await] {
        let before = target.reached().len();
        let own = "Origin: http://localhost:8787\r\n".to_owned();
        for origin in [
            "http://evil.example",
            "null",
            "",
            "http://localhost:8788",
            "http://localhost",
            "http://localhost:8787.evil.example",
            "http://localhost:8787@evil.example",
            "http://localhost:8787/evil",
            "http://localhost:8787, http://evil.example",
            "tauri://localhost:8787",
            "localhost:8787",
        ] {
            let foreign = format!("Origin: {origin}\r\n");
            for fields in [
                vec![foreign.clone()],
                vec![own.clone(), foreign.clone()],
                vec![foreign.clone(), own.clone()],
            ] {
                let fields = [vec![host("localhost:8787")], fields].concat();
                let answer = target.send(get(&fields).as_bytes(), 1).await;
                assert_eq!(statuses(&answer), [403], "{fields:?}: {answer}");
            }
        }
        for site in [
            "cross-site",
            "CROSS-SITE",
            "none, cross-site",
            "same-origin\r\nSec-Fetch-Site: cross-site",
            "cross-site\r\nSec-Fetch-Site: none",
        ] {
            let fields = [host("localhost:8787"), format!("Sec-Fetch-Site: {site}\r\n")];
            let answer = target.send(get(&fields).as_bytes(), 1).await;
            assert_eq!(statuses(&answer), [403], "{site}: {answer}");
        }
        assert_eq!(target.reached().len(), before);
        let fields = [host("localhost:8787"), own, "Sec-Fetch-Site: same-origin\r\n".to_owned()];
        let answer = target.send(get(&fields).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [200], "{answer}");
        // Upgrades are requests as well.
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let fields =
            [host("localhost:8787"), "Origin: http://evil.example\r\n".to_owned(), upgrade.to_owned()];
        let answer = target.send(get(&fields).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [403], "{answer}");
    }
}
