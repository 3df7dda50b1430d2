//! Streams that do not say that they are streams, or that are compressed, are read like any other: up to the last write that came.

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request, Response};
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::{Script, Signal, Upstream, sse};

use crate::pool::{status_of, unix_now};
use crate::support::codex::{CodexPool, body, codex_refusal, send, turn};
use crate::support::dress::Coding;
use crate::support::{
    Current, Protocol, USER_TOKEN, connect, message, passing_refusal, read_bytes, serve, service, with,
};

fn created() -> Bytes {
    sse::event("response.created", &json!({ "type": "response.created", "response": { "id": "resp_x" } }))
}

fn output(text: &str) -> Bytes {
    let kind = "response.output_text.delta";
    sse::event(kind, &json!({ "type": kind, "delta": text }))
}

fn limits() -> Value {
    json!({
        "type": "codex.rate_limits", "plan_type": "pro", "credits": { "has_credits": true, "balance": "1234.56" },
        "rate_limits": { "primary": { "used_percent": 77, "window_minutes": 300, "reset_at": unix_now() + 7_200 } },
    })
}

/// A limit of the account, as an event.
fn used_up() -> Bytes {
    let error = json!({
        "type": "usage_limit_reached", "message": "The usage limit has been reached",
        "resets_at": unix_now() + 7_200,
    });
    sse::event("error", &json!({ "type": "error", "status": 429, "error": error }))
}

/// A head without a content type; the body is chunked.
fn untyped() -> Script {
    Script::status(200).header("transfer-encoding", "chunked")
}

fn in_coding(head: Script, coding: Coding, events: &[Bytes]) -> Script {
    head.header("content-encoding", coding.name()).chunks(coding.each(events))
}

/// The forms in which a stream may come: how its head says what it is, and how it is compressed.
fn forms(events: &[Bytes]) -> Vec<(String, Script)> {
    let heads = [
        ("stream", untyped().header("content-type", "text/event-stream")),
        ("untyped", untyped()),
        ("json", untyped().header("content-type", "application/json")),
    ];
    let mut forms = Vec::new();
    for (name, head) in heads {
        forms.push((name.to_owned(), head.clone().chunks(events.to_vec())));
        if name != "json" {
            forms
                .extend(Coding::ALL.map(|coding| {
                    (format!("{name} in {coding:?}"), in_coding(head.clone(), coding, events))
                }));
        }
    }
    forms
}

/// A turn of the client, which says that it wants a stream.
fn streamed() -> Request {
    turn(body()).header("accept", "text/event-stream")
}

#[tokio::test]
async fn a_limit_that_a_stream_begins_with_is_moved_in_whatever_form_it_comes() {
    let keepalives = [
        sse::comment("still there"),
        sse::event("codex.keepalive", &json!({ "type": "codex.keepalive", "sequence_number": 1 })),
        sse::data(r#"{"type":"response.queued","response":{"id":"resp_x"}}"#),
        sse::event("something.new", &json!({ "type": "something.new" })),
    ];
    let mut events = vec![created()];
    events.extend(keepalives);
    events.push(used_up());
    let mut protocols = Protocol::BOTH.iter().cycle();
    // What is behind it does not matter: the stream stays open.
    for (name, script) in forms(&events) {
        let protocol = protocols.next().unwrap();
        let pool = CodexPool::new(&["a", "b"]).await;
        let running = pool.start().await;
        pool.api.next("a", script.stall());
        let response = protocol.send(running.addr().unwrap(), &streamed()).await;
        assert_eq!((response.status(), pool.served()), (200, vec![1, 1]), "{name}: {}", response.text());
        assert!(response.text().contains("response.completed"), "{name}: {}", response.text());
        // Until the time that the event states.
        let is_until = |one: &Value| one["until"].as_u64().is_some_and(|until| until > unix_now() + 7_000);
        status_of(&running, |credentials| {
            credentials[0]["state"] == "rate_limited" && is_until(&credentials[0])
        })
        .await;
    }
}

#[tokio::test]
async fn an_error_without_its_blank_line_is_moved_and_so_is_an_end_before_anything() {
    let cut_short = used_up().slice(..used_up().len() - 2);
    for (name, script) in forms(&[created(), cut_short]) {
        let pool = CodexPool::new(&["a", "b"]).await;
        let running = pool.start().await;
        pool.api.next("a", script);
        let response = send(&running, &streamed()).await;
        assert_eq!((response.status(), pool.served()), (200, vec![1, 1]), "{name}: {}", response.text());
    }
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    let ends: [Script; 4] = [
        untyped().chunk(created()),
        untyped().end(),
        Script::status(200).body(Bytes::new()),
        untyped().chunk(created()).reset(),
    ];
    for (nth, end) in ends.into_iter().enumerate() {
        for protocol in Protocol::BOTH {
            let before = pool.served();
            pool.api.next("a", end.clone());
            let response = protocol.send(running.addr().unwrap(), &streamed()).await;
            assert_eq!(response.status(), 200, "{nth}: {}", response.text());
            let asked: Vec<_> = pool.served().iter().zip(before).map(|(now, then)| now - then).collect();
            assert_eq!(asked, [1, 1], "{nth}");
        }
    }
}

/// What the account's limits are told by, in every place where they may stand.
fn telling() -> Vec<Bytes> {
    let headers = json!({
        "x-codex-primary-used-percent": "76.5", "x-codex-credits-balance": "1234.56", "x-request-id": "req_kept",
    });
    let typed_only = limits();
    let mut named_only = limits();
    named_only["type"] = json!("something.else");
    vec![
        sse::event("codex.rate_limits", &limits()),
        sse::data(&typed_only.to_string()),
        sse::event("response.created", &typed_only),
        sse::event("codex.rate_limits", &named_only),
        Bytes::from(format!("data: {named_only}\nevent: codex.rate_limits\n\n")),
        sse::event("response.metadata", &json!({ "type": "response.metadata", "headers": headers })),
        sse::event("message", &json!({ "type": "response.metadata", "headers": headers })),
    ]
}

fn assert_tells_nothing(what: &str, response: &Response) {
    let text = response.text();
    for secret in ["codex.rate_limits", "1234.56", "76.5", "used_percent", "used-percent"] {
        assert!(!text.contains(secret), "{what}: {secret} in {text}");
    }
}

#[tokio::test]
async fn nothing_of_the_account_leaves_whatever_the_form() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    let mut events = vec![created()];
    events.extend(telling());
    events.push(output("hello"));
    events.extend(telling());
    let error = json!({
        "type": "error", "status": 500, "error": { "code": "server_error", "message": "no" },
        "headers": { "x-codex-secondary-used-percent": "76.5", "x-request-id": "req_kept" },
    });
    events.push(sse::event("error", &error));
    for (name, script) in forms(&events) {
        for protocol in Protocol::BOTH {
            pool.api.next("a", script.clone());
            let response = protocol.send(running.addr().unwrap(), &streamed()).await;
            let text = response.text();
            assert_eq!((response.status(), response.end), (200, Ended::Complete), "{name}: {text}");
            assert_eq!(response.header("content-encoding"), None, "{name}");
            assert_tells_nothing(&name, &response);
            assert!(text.starts_with(std::str::from_utf8(&created()).unwrap()), "{name}: {text}");
            assert!(text.contains("\"delta\":\"hello\"") && text.contains("server_error"), "{name}: {text}");
            assert_eq!(text.matches("req_kept").count(), 5, "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_asked_for_in_the_body_is_one() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    let events = [sse::event("codex.rate_limits", &limits()), output("hello")];
    for protocol in Protocol::BOTH {
        pool.api.next("a", untyped().chunks(events.to_vec()));
        let response = protocol.send(running.addr().unwrap(), &turn(body())).await;
        assert_eq!(response.text().as_bytes(), output("hello"));
        // One that was not asked for is a text that looks like one.
        let plain = json!({ "model": "gpt-5.5", "input": [] }).to_string();
        let text = Script::status(200).header("content-type", "text/plain").body(events.concat());
        pool.api.next("a", text);
        let response = protocol.send(running.addr().unwrap(), &turn(plain)).await;
        assert_eq!(response.body(), events.concat());
    }
}

/// Each event goes on when it has come, and not when the next one does.
#[tokio::test]
async fn a_stream_that_is_decoded_is_not_held_back() {
    let events = [output("one"), output("two"), output("three")];
    for coding in Coding::ALL {
        let pool = CodexPool::new(&["a"]).await;
        let running = pool.start().await;
        let mut writes = coding.each(&events).into_iter();
        let (first, second, third, end) =
            (writes.next().unwrap(), writes.next().unwrap(), writes.next().unwrap(), writes.next().unwrap());
        let gates = [Signal::new(), Signal::new(), Signal::new()];
        let head = untyped().header("content-encoding", coding.name());
        let script = head.chunk(first).wait(&gates[0]).chunk(second).wait(&gates[1]).chunk(third);
        let script = script.wait(&gates[2]);
        pool.api.next("a", if end.is_empty() { script } else { script.chunk(end) });
        let mut connection = connect(&running).await;
        connection.write_request(&streamed()).await.unwrap();
        connection.head().await.unwrap();
        for (event, gate) in events.iter().zip(&gates) {
            assert_eq!(read_bytes(&mut connection, event.len()).await, event, "{coding:?}");
            gate.set();
        }
        let (rest, _, end) = connection.rest().await.unwrap();
        assert_eq!((rest.concat().len(), end), (0, Ended::Complete), "{coding:?}");
    }
}

/// A compressed stream that breaks off has been cut, though HTTP ends it cleanly.
#[tokio::test]
async fn a_compressed_stream_that_breaks_off_is_cut() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    for coding in Coding::ALL {
        for protocol in Protocol::BOTH {
            let mut writes = coding.each([output("one"), output("two")]);
            writes.pop();
            let head = untyped().header("content-encoding", coding.name());
            pool.api.next("a", head.clone().chunks(writes.clone()));
            let response = protocol.send(running.addr().unwrap(), &streamed()).await;
            assert!(protocol.is_cut(response.end), "{coding:?}: {:?}", response.end);
            assert_eq!(response.body(), [output("one"), output("two")].concat(), "{coding:?}");
            // Nor does rubbish become a clean end.
            pool.api.next("a", head.chunks(writes).chunk([0xff; 64].to_vec()));
            let response = protocol.send(running.addr().unwrap(), &streamed()).await;
            assert!(protocol.is_cut(response.end), "{coding:?}: {:?}", response.end);
        }
    }
}

#[tokio::test]
async fn a_stream_that_nobody_can_read_does_not_leave() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    let events = [sse::event("codex.rate_limits", &limits()), output("hello")].concat();
    let twice = Coding::Zstd.whole(&Coding::Gzip.whole(&events));
    for (coding, body) in
        [("rot13", Bytes::from(events.clone())), ("gzip, zstd", twice), ("zstd", Bytes::from(events))]
    {
        for protocol in Protocol::BOTH {
            let head = Script::status(200).header("content-encoding", coding);
            for head in [head.clone(), head.header("content-type", "text/event-stream")] {
                pool.api.next("a", head.body(body.clone()));
                let response = protocol.send(running.addr().unwrap(), &streamed()).await;
                let error = codex_refusal(&response, 502, "server_error");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("encoding") && message.contains(coding), "{message}");
                assert_tells_nothing(coding, &response);
            }
        }
    }
}

#[tokio::test]
async fn passthrough_leaves_a_compressed_stream_as_it_is() {
    let mut pool = CodexPool::new(&["a"]).await;
    pool.service(json!({
        "users": [{ "name": "alice", "token": USER_TOKEN, "rate_limit_headers": "passthrough" }],
    }));
    let running = pool.start().await;
    let events = [output("one"), sse::event("codex.rate_limits", &limits())];
    for coding in Coding::ALL {
        pool.api.next("a", in_coding(untyped(), coding, &events));
        let response = send(&running, &streamed()).await;
        assert_eq!(response.header("content-encoding"), Some(coding.name()));
        assert_eq!(response.body(), coding.each(&events).concat(), "{coding:?}");
    }
}

/// Claude's clients ask for streams in the body alone.
#[tokio::test]
async fn an_overloaded_provider_is_hopped_from_in_whatever_form_it_says_so() {
    let overloaded =
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let events = [sse::event("ping", &json!({ "type": "ping" })), sse::event("error", &overloaded)];
    let current = Current::default();
    let upstream = Upstream::start(current.clone()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let asks = json!({ "model": "claude-opus-4-8", "messages": [], "stream": true }).to_string();
    for (name, script) in forms(&events) {
        for protocol in Protocol::BOTH {
            current.set(script.clone());
            let before = upstream.requests().len();
            let response = protocol.send(trunkline.addr().unwrap(), &message(asks.clone())).await;
            // There is nobody else: it goes on as it came.
            assert_eq!((response.status(), response.end), (200, Ended::Complete), "{name}");
            assert_eq!(upstream.requests().len(), before + 1, "{name}");
        }
    }
    // An end before anything was said is no answer.
    for protocol in Protocol::BOTH {
        current.set(untyped().chunk(events[0].clone()));
        passing_refusal(
            &protocol.send(trunkline.addr().unwrap(), &message(asks.clone())).await,
            502,
            "api_error",
        );
    }
}

/// What a compressed request says is known as soon as it has come, with whatever it was compressed.
#[tokio::test]
async fn a_compressed_request_is_read_as_far_as_it_has_come() {
    let text = json!({ "model": "claude-opus-4-8", "x": "y".repeat(2_000), "messages": [] }).to_string();
    let (head, rest) = text.split_at(60);
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({ "ok": true })))).await.unwrap();
    let user = json!({ "name": "alice", "token": USER_TOKEN, "models": ["claude-sonnet*"] });
    let refusing = serve(&with(service(&upstream.url()), json!({ "users": [user] }))).await;
    for coding in Coding::ALL {
        let ask = |body: Bytes| message(body).header("content-encoding", coding.name());
        let whole: Bytes = coding.each([head, rest]).concat().into();
        for protocol in Protocol::BOTH {
            let response = protocol.send(refusing.addr().unwrap(), &ask(whole.clone())).await;
            assert!(response.text().contains("is not available to alice"), "{coding:?}: {}", response.text());
            // Cut short of its end it cannot be read, whatever has been seen of it.
            let cut = whole.slice(..whole.len() - 1);
            let response = protocol.send(refusing.addr().unwrap(), &ask(cut)).await;
            assert!(response.text().contains("cannot be decoded"), "{coding:?}: {}", response.text());
        }
    }
    assert_eq!(upstream.requests().len(), 0);
}

/// A body is too large if it is over `max_body`, and not because it repeats itself.
#[tokio::test]
async fn a_body_that_repeats_itself_is_not_too_large() {
    let pool_of = |models: &str, max: &str| json!({ "users": [{ "name": "alice", "token": USER_TOKEN, "models": [models] }], "max_body": max });
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({ "ok": true })))).await.unwrap();
    let text = format!("{{\"x\":\"{}\",\"model\":\"claude-opus-4-8\"}}", " ".repeat(20 << 20));
    for coding in [Coding::Zstd, Coding::Gzip, Coding::Brotli] {
        let sent = coding.whole(text.as_bytes());
        let ask = message(sent.clone()).header("content-encoding", coding.name());
        let large = serve(&with(service(&upstream.url()), pool_of("claude-opus*", "32MiB"))).await;
        let response = Protocol::Http1.send(large.addr().unwrap(), &ask).await;
        assert_eq!(response.status(), 200, "{coding:?}: {}", response.text());
        assert_eq!(upstream.requests().last().unwrap().body(), sent, "{coding:?}");
        let small = serve(&with(service(&upstream.url()), pool_of("claude-opus*", "16MiB"))).await;
        let response = Protocol::Http1.send(small.addr().unwrap(), &ask).await;
        assert_eq!(response.status(), 413, "{coding:?}: {}", response.text());
    }
}

/// Two credentials of a provider that looks at nothing but who asks; the first has used up its limit for one family of models.
async fn opus_used_up(strategy: &str) -> (Upstream, trunkline_testkit::Trunkline) {
    let reset = (unix_now() + 3_600).to_string();
    let answers = move |request: &ReceivedRequest| {
        let is_limited = request.headers.get("x-limited").is_some();
        if request.headers.get("authorization") != Some("Bearer sk-ant-oat01-a") || !is_limited {
            return Script::json(200, &json!({ "ok": true }));
        }
        let error = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "limit" } });
        [("status", "rejected"), ("representative-claim", "seven_day_opus"), ("7d_opus-status", "rejected")]
            .into_iter()
            .chain([
                ("7d_opus-utilization", "1.0"),
                ("7d_opus-reset", reset.as_str()),
                ("reset", reset.as_str()),
            ])
            .fold(Script::json(429, &error), |script, (name, value)| {
                script.header(format!("anthropic-ratelimit-unified-{name}"), value)
            })
    };
    let upstream = Upstream::start(answers).await.unwrap();
    let login = |tag: &str| json!({ "tag": tag, "oauth_token": format!("sk-ant-oat01-{tag}"), "weight": 1 });
    let pool = json!({ "tag": "pool", "type": "balancer", "strategy": strategy, "credentials": ["a", "b"] });
    let over = json!({
        "users": [{ "name": "alice", "token": USER_TOKEN, "credential": "pool" }],
        "credentials": [login("a"), login("b"), pool],
    });
    let trunkline = serve(&with(service(&upstream.url()), over)).await;
    (upstream, trunkline)
}

/// Who was asked, in order.
fn asked(upstream: &Upstream) -> String {
    let requests = upstream.requests();
    let messages = requests.iter().filter(|request| request.path() == "/v1/messages");
    messages.map(|request| request.headers.get("authorization").unwrap().chars().last().unwrap()).collect()
}

#[tokio::test]
async fn a_compressed_request_for_a_model_that_is_used_up_does_not_go_out() {
    let (upstream, trunkline) = opus_used_up("fallback").await;
    let text = json!({ "model": "claude-opus-4-8", "max_tokens": 1, "messages": [] }).to_string();
    let plain = message(text.clone()).header("x-limited", "1");
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &plain).await.status(), 200);
    assert_eq!(asked(&upstream), "ab");
    for coding in Coding::ALL {
        for protocol in Protocol::BOTH {
            let ask = message(coding.whole(text.as_bytes())).header("content-encoding", coding.name());
            let response = protocol.send(trunkline.addr().unwrap(), &ask).await;
            assert_eq!(response.status(), 200, "{coding:?}: {}", response.text());
        }
    }
    assert_eq!(asked(&upstream), format!("ab{}", "bb".repeat(Coding::ALL.len())));
    // Of another model it does.
    let other = text.replace("opus", "sonnet");
    let ask = message(Coding::Gzip.whole(other.as_bytes())).header("content-encoding", "gzip");
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &ask).await.status(), 200);
    assert!(asked(&upstream).ends_with('a'));
}

#[tokio::test]
async fn a_session_in_a_compressed_body_stays_where_it_is() {
    let (upstream, trunkline) = opus_used_up("round_robin").await;
    for coding in Coding::ALL {
        let user_id = json!({ "device_id": "d", "session_id": format!("of-{coding:?}") }).to_string();
        let text = json!({
            "model": "claude-sonnet-5",
            "messages": [{ "role": "user", "content": "x".repeat(300_000) }],
            "metadata": { "user_id": user_id },
        });
        let sent = coding.whole(text.to_string().as_bytes());
        let before = asked(&upstream).len();
        for protocol in Protocol::BOTH {
            let ask = message(sent.clone()).header("content-encoding", coding.name());
            assert_eq!(protocol.send(trunkline.addr().unwrap(), &ask).await.status(), 200);
        }
        let seen = asked(&upstream).split_off(before);
        assert!(["aa", "bb"].contains(&seen.as_str()), "{coding:?}: {seen}");
    }
    // They are not kept together by chance.
    let all = asked(&upstream);
    assert!(all.contains('a') && all.contains('b'), "{all}");
}
