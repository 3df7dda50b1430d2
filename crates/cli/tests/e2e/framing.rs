//! Where an answer ends is the provider's word, and said once: streams that are let go in their middle, lengths and codings that
//! contradict each other, heads that are too large, and what each is called (routing.md, *Failures*; claude.md, *Errors of our
//! own*; RFC 9112, 6.3).

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request, Response};
use trunkline_testkit::tls::Alpn;
use trunkline_testkit::upstream::Cut;
use trunkline_testkit::{Script, Trunkline, Upstream, sse};

use crate::support::{
    Current, OAUTH_TOKEN, Protocol, USER_TOKEN, body, config, final_refusal, message, passing_refusal,
    service, trunkline, with,
};

/// A provider of either protocol and an instance in front of it, whose user may go anywhere.
struct Scene {
    upstream: Upstream,
    trunkline: Trunkline,
    current: Current,
}

impl Scene {
    async fn new(provider: Protocol) -> Self {
        let current = Current::default();
        let upstream = match provider {
            Protocol::Http1 => Upstream::start(current.clone()).await.unwrap(),
            Protocol::Http2 => Upstream::start_tls(current.clone(), &[Alpn::H2]).await.unwrap(),
        };
        let mut to = json!({ "api_url": upstream.url() });
        if let Some(authority) = upstream.authority() {
            to["ca_path"] = json!(authority.file().unwrap());
        }
        // A second credential, for whatever is sent again.
        let credentials = json!([
            { "tag": "main", "oauth_token": OAUTH_TOKEN },
            { "tag": "other", "oauth_token": "sk-ant-oat01-of-the-other" },
            { "tag": "pool", "type": "balancer", "credentials": ["main", "other"], "strategy": "fallback" },
        ]);
        let users = json!([
            { "name": "alice", "token": USER_TOKEN, "credential": "pool", "paths": ["/v1/**"] },
            { "name": "bob", "token": "alone", "credential": "main" },
        ]);
        let service = with(
            service(&upstream.url()),
            json!({ "upstream": to, "credentials": credentials, "users": users }),
        );
        let log = json!({ "log": { "level": "info", "format": "json" } });
        let trunkline = trunkline().config(&with(config(&service), log)).start().await.unwrap();
        Self { upstream, trunkline, current }
    }

    fn addr(&self) -> SocketAddr {
        self.trunkline.addr().unwrap()
    }

    /// Sends a request, and how often the provider was asked for its answer.
    async fn ask(&self, client: Protocol, request: &Request, script: Script) -> (Response, usize) {
        let count = || {
            let requests = self.upstream.requests();
            // What the instance wants to know of the accounts comes beside them.
            requests.iter().filter(|request| request.path().starts_with("/v1/")).count()
        };
        let before = count();
        self.current.set(script);
        let response = client.send(self.addr(), request).await;
        (response, count() - before)
    }

    /// The record of the last request.
    async fn record(&self, of: &Response) -> Value {
        let id = of.header("x-trunkline-request-id").unwrap().to_owned();
        let found = |line: &str| line.contains(&id) && line.contains("\"outcome\"");
        let line = self.trunkline.stderr_line(found).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn alone() -> Request {
    Request::post("/v1/messages", body()).bearer("alone")
}

fn event(name: &str) -> Bytes {
    sse::event(name, &json!({ "type": name, "delta": { "type": "text_delta", "text": "a" } }))
}

fn event_stream() -> Script {
    Script::status(200).header("content-type", "text/event-stream")
}

#[tokio::test]
async fn a_stream_that_is_let_go_in_its_middle_is_cut() {
    let scene = Scene::new(Protocol::Http2).await;
    let begun = event("content_block_delta");
    for client in Protocol::BOTH {
        for script in [
            event_stream().chunk(begun.clone()).let_go(),
            Script::status(200).chunk(begun.clone()).let_go(),
            Script::status(200).header("content-length", "1000").body(begun.clone()).let_go(),
            Script::status(400).chunk(begun.clone()).let_go(),
        ] {
            let (response, sent) = scene.ask(client, &message(body()), script.clone()).await;
            assert_eq!((response.body(), sent), (begun.clone(), 1), "{client:?} {script:?}");
            assert!(client.is_cut(response.end), "{client:?} {script:?}: {:?}", response.end);
            let record = scene.record(&response).await;
            assert_eq!(record["outcome"], "cut", "{record}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_let_go_before_it_says_anything_is_lost() {
    let scene = Scene::new(Protocol::Http2).await;
    for client in Protocol::BOTH {
        for (script, words) in [
            (Script::new().let_go(), "the provider reset the request of credential main without an answer"),
            (
                event_stream().let_go(),
                "the provider ended its answer to credential main before the first event",
            ),
            (
                event_stream().chunk(": nothing yet\n\n").let_go(),
                "the provider ended its answer to credential main before the first event",
            ),
        ] {
            let (response, sent) = scene.ask(client, &message(body()), script.clone()).await;
            passing_refusal(&response, 502, "api_error");
            assert_eq!(sent, 2, "one hop: {script:?}");
            let (response, sent) = scene.ask(client, &alone(), script.clone()).await;
            assert_eq!(
                (passing_refusal(&response, 502, "api_error").as_str(), sent),
                (words, 1),
                "{script:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_length_that_does_not_fit_the_body_is_a_cut() {
    for provider in Protocol::BOTH {
        let scene = Scene::new(provider).await;
        for client in Protocol::BOTH {
            let script = Script::status(200).header("content-length", "16").body("12345").close();
            let (response, _) = scene.ask(client, &message(body()), script).await;
            assert_eq!(response.text(), "12345", "{provider:?} {client:?}");
            assert!(client.is_cut(response.end), "{provider:?} {client:?}: {:?}", response.end);
            // Ended in order over HTTP/2, it is as little whole.
            if provider == Protocol::Http2 {
                let script = Script::status(200).header("content-length", "16").body("12345");
                let (response, _) = scene.ask(client, &message(body()), script).await;
                assert!(client.is_cut(response.end), "{client:?}: {:?}", response.end);
            }
            // What is beyond the length is no part of the answer, nor of the next one.
            let script = Script::status(200).header("content-length", "5").body("12345 and more");
            let (response, _) = scene.ask(client, &message(body()), script).await;
            let fits = response.text() == "12345" && response.end == Ended::Complete;
            assert!(fits || client.is_cut(response.end), "{provider:?} {client:?}: {response:?}");
            let (response, _) =
                scene.ask(client, &message(body()), Script::json(200, &json!({ "n": 1 }))).await;
            assert_eq!((response.status(), response.text().as_str()), (200, r#"{"n":1}"#));
        }
    }
}

/// An answer of HTTP/1.1, byte for byte.
fn raw(head: &str, body: &str) -> Script {
    Script::new().raw(format!("HTTP/1.1 {head}\r\n\r\n{body}")).close()
}

const SIXTEEN: &str = "10\r\n0123456789abcdef\r\n0\r\n\r\n";

#[tokio::test]
async fn a_length_beside_chunks_is_not_forwarded() {
    let scene = Scene::new(Protocol::Http1).await;
    for client in Protocol::BOTH {
        for fields in [
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
            "Content-Length: 99\r\nTransfer-Encoding: Chunked\r\nConnection: close, content-length",
        ] {
            let script = raw(&format!("200 OK\r\n{fields}\r\nX-Kept: 1"), SIXTEEN);
            let (response, _) = scene.ask(client, &message(body()), script).await;
            let what = format!("{client:?} {fields}: {response:?}");
            assert_eq!(
                (response.text().as_str(), response.end),
                ("0123456789abcdef", Ended::Complete),
                "{what}"
            );
            assert_eq!(
                (response.header("content-length"), response.header("x-kept")),
                (None, Some("1")),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn a_length_is_forwarded_once() {
    let scene = Scene::new(Protocol::Http1).await;
    for client in Protocol::BOTH {
        for fields in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5"] {
            let (response, _) =
                scene.ask(client, &message(body()), raw(&format!("200 OK\r\n{fields}"), "12345")).await;
            assert_eq!((response.text().as_str(), response.end), ("12345", Ended::Complete), "{fields}");
            let lengths: Vec<_> = response.head.headers.get_all("content-length").collect();
            assert_eq!(lengths, ["5"], "{client:?} {fields}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_is_named_and_not_asked_for_again() {
    let scene = Scene::new(Protocol::Http1).await;
    let (lengths, coding) = (
        "states lengths of its body that contradict each other or are no numbers",
        "has a Transfer-Encoding other than \"chunked\"",
    );
    for client in Protocol::BOTH {
        for (script, words) in [
            (raw("200 OK\r\nContent-Length: 5\r\nContent-Length: 6", "123456"), lengths),
            (raw("200 OK\r\nContent-Length: 5, 6", "123456"), lengths),
            (raw("200 OK\r\nContent-Length: five", "12345"), lengths),
            (raw("200 OK\r\nContent-Length: +5", "12345"), lengths),
            (raw("200 OK\r\nTransfer-Encoding: gzip, chunked", SIXTEEN), coding),
            (raw("200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", SIXTEEN), coding),
            (raw("200 OK\r\nTransfer-Encoding: gzip", "x"), coding),
            (raw("200 OK\r\nno colon here", ""), "has a malformed header field"),
            (raw("200 OK\r\nX Y: 1", ""), "has a malformed header field"),
            (raw("2x0 OK", ""), "has a malformed status line"),
            (Script::new().raw("hello, this is no HTTP\r\n\r\n").close(), "is not HTTP/1.1"),
            (Script::new().raw("HTTP/3.7 200 OK\r\n\r\n").close(), "is not HTTP/1.1"),
            (Script::new().raw("<html>HTTP/0.9</html>").close(), "is not HTTP/1.1"),
        ] {
            let (response, sent) = scene.ask(client, &message(body()), script.clone()).await;
            let told = final_refusal(&response, 502, "api_error");
            let expected = format!("the provider's answer to credential main {words}: it cannot be used");
            assert_eq!((told, sent), (expected, 1), "{client:?} {script:?}");
        }
        let (response, sent) = scene.ask(client, &alone(), Script::new()).await;
        let told = passing_refusal(&response, 502, "api_error");
        assert_eq!(told, "the provider closed the connection of credential main without an answer");
        assert_eq!(sent, 1);
        // Once it has begun, it is cut, and the log knows why.
        let script = raw("200 OK\r\nTransfer-Encoding: chunked", "5\r\n12345\r\nxyz\r\n");
        let (response, sent) = scene.ask(client, &message(body()), script).await;
        assert_eq!((response.text().as_str(), client.is_cut(response.end), sent), ("12345", true, 1));
        let record = scene.record(&response).await;
        assert!(record["detail"].as_str().is_some_and(|detail| detail.contains("hunk")), "{record}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_says_no_length_that_means_another() {
    let models = Request::get("/v1/models").bearer(USER_TOKEN);
    let head = Request::new("HEAD", "/v1/files").bearer(USER_TOKEN);
    let scene = Scene::new(Protocol::Http1).await;
    for client in Protocol::BOTH {
        for (request, status, fields, length) in [
            (&models, 204, "Content-Length: 5", None),
            (&models, 204, "Transfer-Encoding: chunked", None),
            (&models, 304, "ETag: \"a\"", None),
            (&head, 200, "Content-Length: 16", Some("16")),
            (&head, 200, "Transfer-Encoding: chunked\r\nContent-Length: 16", None),
            (&head, 200, "Content-Length: 16\r\nContent-Length: 16", Some("16")),
        ] {
            let script = raw(&format!("{status} Ok\r\n{fields}"), "");
            let (response, _) = scene.ask(client, request, script).await;
            let what = format!(
                "{client:?} {} {status} {fields}: {response:?}",
                request.header_value("x").unwrap_or("")
            );
            assert_eq!(
                (response.status(), response.body().len(), response.end),
                (status, 0, Ended::Complete),
                "{what}"
            );
            let lengths: Vec<_> = response.head.headers.get_all("content-length").collect();
            assert_eq!(lengths, length.into_iter().collect::<Vec<_>>(), "{what}");
            assert_eq!(response.header("transfer-encoding"), None, "{what}");
        }
        let script = raw("200 OK\r\nContent-Length: 5\r\nContent-Length: 6", "");
        let (response, _) = scene.ask(client, &head, script).await;
        assert_eq!(response.status(), 502, "{response:?}");
    }
    let scene = Scene::new(Protocol::Http2).await;
    for client in Protocol::BOTH {
        for (request, status, given, length) in [
            (&models, 204, None, None),
            (&models, 304, Some("100"), None),
            (&head, 200, Some("16"), Some("16")),
        ] {
            let mut script = Script::status(status);
            if let Some(given) = given {
                script = script.header("content-length", given);
            }
            let (response, _) = scene.ask(client, request, script).await;
            assert_eq!(
                (response.status(), response.end),
                (status, Ended::Complete),
                "{client:?} {response:?}"
            );
            if let Some(length) = length {
                assert_eq!(response.header("content-length"), Some(length), "{client:?} {status}");
            }
        }
    }
}

/// An answer of so many header fields, one of which fills up the size.
fn of_fields(count: usize, filled: usize) -> Script {
    let script = Script::status(200).header("content-length", "2").header("x-filled", "f".repeat(filled));
    (2..count).fold(script, |script, nth| script.header(format!("x-{nth}"), "1")).body("ok")
}

#[tokio::test]
async fn heads_of_many_fields_pass_up_to_a_bound_that_is_named() {
    for provider in Protocol::BOTH {
        let scene = Scene::new(provider).await;
        for client in Protocol::BOTH {
            // The provider's library adds a date over HTTP/2.
            for (count, filled) in [(101, 1), (255, 1), (255, 50_000)] {
                let (response, _) = scene.ask(client, &message(body()), of_fields(count, filled)).await;
                let what = format!("{provider:?} {client:?} {count} {filled}: {}", response.text());
                assert_eq!((response.status(), response.text().as_str()), (200, "ok"), "{what}");
                assert_eq!(response.header("x-2"), Some("1"), "{what}");
                assert_eq!(response.header("x-filled").map(str::len), Some(filled), "{what}");
            }
            for (count, filled) in [(258, 1), (400, 1), (3, 66_000), (20, 80_000), (900, 1)] {
                let (response, sent) = scene.ask(client, &message(body()), of_fields(count, filled)).await;
                let told = final_refusal(&response, 502, "api_error");
                let words = "the provider's answer to credential main has more than 256 header fields or more than 64 KiB of \
                             them: it cannot be used";
                assert_eq!((told.as_str(), sent), (words, 1), "{provider:?} {client:?} {count} {filled}");
            }
        }
    }
}

#[tokio::test]
async fn interim_answers_say_no_length() {
    let scene = Scene::new(Protocol::Http1).await;
    let interim =
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script =
        Script::new().raw(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).close();
    let (response, _) = scene.ask(Protocol::Http1, &message(body()), script).await;
    assert_eq!((response.status(), response.text().as_str(), response.interim.len()), (200, "ok", 1));
    let hints = &response.interim[0];
    assert_eq!((hints.header("link"), hints.header("content-length")), (Some("</x>"), None));
    assert_eq!(hints.header("transfer-encoding"), None);
}

/// Cut where a chunk ends, so that nothing but the last chunk is missing.
#[tokio::test]
async fn the_log_says_how_an_answer_was_cut() {
    for provider in Protocol::BOTH {
        let scene = Scene::new(provider).await;
        for cut in [Cut::Close, Cut::Reset] {
            let script = Script::status(200).chunk("12345").cut_at(5, cut);
            let (response, _) = scene.ask(Protocol::Http1, &message(body()), script).await;
            assert_eq!(response.text(), "12345");
            let record = scene.record(&response).await;
            assert_eq!(record["outcome"], "cut", "{record}");
            assert!(
                record["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
                "{provider:?} {cut:?}: {record}"
            );
        }
    }
}
