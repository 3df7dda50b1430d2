//! The scripted API as clients see it.

use serde_json::{Value, json};

use super::*;
use crate::canary::find_leaks;
use crate::client::{Ended, Request, Response, send};
use crate::fixtures::{self, SocketFrameKind};
use crate::sse;
use crate::upstream::{Cut, Upstream};
use crate::websocket::{Link, Message, Upgraded, upgrade};

const PATH: &str = "/backend-api/codex/responses";

async fn started() -> (CodexApi, Upstream) {
    let api = CodexApi::new([
        Account::new("a").access_token("access-a").refresh_token("rt-a"),
        Account::new("b").access_token("access-b").api_key("sk-b").bearer("user-b"),
    ]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    (api, upstream)
}

fn as_a(request: Request) -> Request {
    request.bearer("access-a").header("ChatGPT-Account-Id", "acct-a")
}

fn hello() -> Value {
    let input =
        json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}]);
    json!({"model": "gpt-5.5", "stream": true, "input": input})
}

fn posted(body: &Value) -> Request {
    as_a(Request::post(PATH, body.to_string()))
}

fn create(body: &Value, more: &Value) -> String {
    let mut message = json!({"type": "response.create"});
    for part in [body, more] {
        message.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    }
    message.to_string()
}

async fn opened(upstream: &Upstream) -> Link {
    let request = as_a(upgrade(PATH)).header("openai-beta", "responses_websockets=2026-02-06");
    Link::open(upstream.addr(), &request).await.unwrap()
}

/// The events of a turn, up to the one that ends it.
async fn turn(link: &mut Link, message: &str) -> Vec<Value> {
    link.send_text(message.to_owned()).await.unwrap();
    let mut events = Vec::new();
    loop {
        let event = link.message().await.unwrap().json().unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        events.push(event);
        if ["response.completed", "response.failed", "error"].contains(&kind.as_str()) {
            return events;
        }
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn error_of(response: &Response) -> (u16, String) {
    let kind = response.json().unwrap()["error"]["type"].as_str().unwrap_or_default().to_owned();
    (response.status(), kind)
}

const TURN: [&str; 8] = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_item.done",
    "response.completed",
];

#[tokio::test]
async fn a_turn_over_http_has_the_recorded_shape() {
    let (api, upstream) = started().await;
    api.set_reply("0123456789");
    let response = send(upstream.addr(), &posted(&hello())).await.unwrap();
    assert_eq!((response.status(), response.end), (200, Ended::Complete));
    assert_eq!(sse::names(&response.body()), TURN);
    assert_eq!(response.frames, sse::split(&response.body()));
    for name in
        ["x-request-id", "openai-model", "x-codex-turn-state", "x-codex-primary-used-percent", "set-cookie"]
    {
        assert!(response.head.headers.contains(name), "{name}");
    }
    assert_eq!(find_leaks(&response.head.raw, &[api.cookie()]).len(), 1);
    // Members of each event as recorded.
    let recorded = fixtures::codex_exchanges("s_custom-http").unwrap();
    let (_, recorded) = recorded.iter().find(|(request, _)| request.method == "POST").unwrap();
    let keys = |body: &bytes::Bytes| -> Vec<(String, Vec<String>)> {
        let mut seen: Vec<(String, Vec<String>)> = Vec::new();
        for event in sse::split(body) {
            let text = String::from_utf8(event.to_vec()).unwrap();
            let data: Value = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
            let mut keys: Vec<String> = data.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            let entry = (data["type"].as_str().unwrap().to_owned(), keys);
            if !seen.contains(&entry) {
                seen.push(entry);
            }
        }
        seen
    };
    assert_eq!(keys(&response.body()), keys(&recorded.body));
}

#[tokio::test]
async fn compressed_bodies_and_tools() {
    let (api, upstream) = started().await;
    let mut body = hello();
    body["input"][0]["content"][0]["text"] = "please\nrun: echo hi".into();
    body["tools"] = json!([{"type": "function", "name": "exec_command"}]);
    let compressed = zstd::encode_all(body.to_string().as_bytes(), 3).unwrap();
    let request = as_a(Request::post(PATH, compressed)).header("content-encoding", "zstd");
    let response = send(upstream.addr(), &request).await.unwrap();
    assert!(response.text().contains(r#""name":"exec_command""#), "{}", response.text());
    body["input"].as_array_mut().unwrap().push(json!({"type": "function_call_output", "output": "hi"}));
    let state = response.header("x-codex-turn-state").unwrap().to_owned();
    let response = send(upstream.addr(), &posted(&body).header("x-codex-turn-state", &state)).await.unwrap();
    assert!(response.text().contains("The command printed: hi"));
    assert_eq!((api.served("a"), api.asked().len(), api.violations().len()), (2, 2, 0));
    let response = send(upstream.addr(), &as_a(Request::post(PATH, "x")).header("content-encoding", "zstd"))
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn turns_on_a_socket_go_on_from_each_other_there_alone() {
    let (api, upstream) = started().await;
    api.set_reply("0123456789");
    let mut link = opened(&upstream).await;
    let prewarm = turn(&mut link, &create(&hello(), &json!({"generate": false}))).await;
    assert_eq!(kinds(&prewarm), ["response.created", "response.in_progress", "response.completed"]);
    let id = prewarm[2]["response"]["id"].clone();
    let answer = turn(&mut link, &create(&hello(), &json!({"previous_response_id": id}))).await;
    let mut expected = TURN.to_vec();
    expected.insert(1, "response.metadata");
    assert_eq!(kinds(&answer), expected);
    assert!(answer[1]["headers"]["x-codex-turn-state"].as_str().unwrap().starts_with("ts-a-"));
    let mut other = opened(&upstream).await;
    let answer = turn(&mut other, &create(&hello(), &json!({"previous_response_id": id}))).await;
    assert_eq!(answer[0]["error"]["code"], "previous_response_not_found");
    assert_eq!(link.close(1000, "").await.unwrap(), Some((1000, String::new())));
    let asked: Vec<Transport> = api.asked().into_iter().map(|asked| asked.transport).collect();
    assert_eq!(asked, [Transport::Socket(1), Transport::Socket(1), Transport::Socket(2)]);
    assert_eq!(api.asked_nth(2).await.unwrap().label, "a");
    assert_eq!(api.served("a"), 1);
}

#[tokio::test]
async fn limits_are_told_where_they_are_to_be_told() {
    let (api, upstream) = started().await;
    let mut link = opened(&upstream).await;
    for (place, at) in [(LimitEvents::First, 0), (LimitEvents::BeforeEnd, 8), (LimitEvents::AfterEnd, 9)] {
        api.set_limit_events(place);
        api.set_reply("x");
        let mut events = turn(&mut link, &create(&hello(), &json!({}))).await;
        if place == LimitEvents::AfterEnd {
            events.push(link.message().await.unwrap().json().unwrap());
            assert_eq!(at, events.len());
        }
        let found = events.iter().position(|event| event["type"] == "codex.rate_limits").unwrap();
        let expected =
            if place == LimitEvents::AfterEnd { events.len() - 1 } else { at.min(events.len() - 2) };
        assert_eq!(found, expected, "{place:?}");
        assert_eq!(events[found]["rate_limits"]["primary"]["used_percent"], 12.0);
    }
    api.set_limits("a", Limits::primary_reached());
    let refused = turn(&mut link, &create(&hello(), &json!({}))).await;
    assert_eq!(
        (&refused[0]["status"], &refused[0]["error"]["type"]),
        (&json!(429), &json!("usage_limit_reached"))
    );
    assert_eq!(refused[0]["headers"]["x-codex-primary-used-percent"], "100");
    let response = send(upstream.addr(), &posted(&hello())).await.unwrap();
    assert_eq!(error_of(&response), (429, "usage_limit_reached".to_owned()));
    assert_eq!(response.header("x-codex-primary-used-percent"), Some("100"));
    let usage =
        send(upstream.addr(), &as_a(Request::get("/backend-api/wham/usage"))).await.unwrap().json().unwrap();
    assert_eq!(usage["rate_limit"]["limit_reached"], true);
    assert_eq!(usage["rate_limit"]["secondary_window"]["limit_window_seconds"], 604_800);
}

#[tokio::test]
async fn turns_are_scripted_on_either_transport() {
    let (api, upstream) = started().await;
    let (reached, go_on) = (Signal::new(), Signal::new());
    api.next_turn(
        "a",
        TurnScript::error(503, "server_error", Some("server_is_overloaded"), &[("retry-after", "3")]),
    );
    let response = send(upstream.addr(), &posted(&hello())).await.unwrap();
    assert_eq!((response.status(), response.header("retry-after")), (503, Some("3")));
    let mut link = opened(&upstream).await;
    api.next_prewarm("a", TurnScript::connection_limit());
    let refused = turn(&mut link, &create(&hello(), &json!({"generate": false}))).await;
    assert_eq!(refused[0]["error"]["code"], "websocket_connection_limit_reached");
    api.next_turn("a", TurnScript::failed("rate_limit_exceeded", "try again in 1.2s"));
    assert_eq!(kinds(&turn(&mut link, &create(&hello(), &json!({}))).await), ["response.failed"]);
    api.next_turn("a", TurnScript::new().announce(&reached).wait(&go_on).go_on());
    link.send_text(create(&hello(), &json!({}))).await.unwrap();
    reached.reached().await.unwrap();
    go_on.set();
    assert_eq!(link.message().await.unwrap().json().unwrap()["type"], "response.created");
    api.next_turn("a", TurnScript::new().event(json!({"type": "response.created"})).cut(Cut::Reset));
    link.send_text(create(&hello(), &json!({}))).await.unwrap();
    while link.message().await.unwrap() != Message::End(Ended::Reset) {}
    let mut link = opened(&upstream).await;
    api.next_turn("a", TurnScript::new().close(1011, "why"));
    link.send_text(create(&hello(), &json!({}))).await.unwrap();
    assert_eq!(link.message().await.unwrap(), Message::Close(Some((1011, "why".to_owned()))));
    api.next_upgrade("a", error(403, "permission_error", None, "no"));
    let request = as_a(upgrade(PATH)).header("openai-beta", "responses_websockets=2026-02-06");
    let Upgraded::Refused(response) = Link::connect(upstream.addr(), &request).await.unwrap() else {
        panic!()
    };
    assert_eq!(response.status(), 403);
    assert!(Link::open(upstream.addr(), &as_a(upgrade(PATH))).await.is_err());
    assert_eq!(api.violations(), ["an upgrade without openai-beta"]);
}

#[tokio::test]
async fn what_another_account_gave_is_refused_and_noted() {
    let (api, upstream) = started().await;
    let state = send(upstream.addr(), &posted(&hello()))
        .await
        .unwrap()
        .header("x-codex-turn-state")
        .unwrap()
        .to_owned();
    let as_b =
        Request::post(PATH, hello().to_string()).bearer("access-b").header("chatgpt-account-id", "acct-b");
    let response = send(upstream.addr(), &as_b.clone().header("x-codex-turn-state", &state)).await.unwrap();
    assert_eq!(response.status(), 400);
    let wrong =
        Request::post(PATH, hello().to_string()).bearer("access-b").header("chatgpt-account-id", "acct-a");
    assert_eq!(error_of(&send(upstream.addr(), &wrong).await.unwrap()).0, 403);
    assert_eq!(error_of(&send(upstream.addr(), &as_b.header("openai-project", "p")).await.unwrap()).0, 403);
    let key = Request::post("/v1/responses", hello().to_string()).bearer("sk-b");
    assert_eq!(
        send(upstream.addr(), &key.clone().header("chatgpt-account-id", "acct-b")).await.unwrap().status(),
        403
    );
    assert_eq!(api.violations().len(), 4);
    let answer = send(upstream.addr(), &key).await.unwrap();
    assert_eq!((answer.status(), answer.header("x-codex-primary-used-percent")), (200, None));
    let mut link = opened(&upstream).await;
    let foreign = json!({"client_metadata": {"x-codex-turn-state": "ts-b-1"}});
    assert_eq!(turn(&mut link, &create(&hello(), &foreign)).await[0]["status"], 400);
    let own = json!({"client_metadata": {"x-codex-turn-state": state}});
    assert_eq!(turn(&mut link, &create(&hello(), &own)).await[0]["type"], "response.created");
}

#[tokio::test]
async fn refreshes_rotate_and_are_of_the_clients_shape() {
    let (api, upstream) = started().await;
    let token = |token: &str| {
        let body = json!({
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann", "grant_type": "refresh_token",
            "refresh_reason": "proactive_expiry", "refresh_token": token,
        });
        Request::post("/oauth/token", body.to_string())
    };
    let tokens = send(upstream.addr(), &token("rt-a")).await.unwrap().json().unwrap();
    assert_eq!(api.tokens("a").0.as_deref(), tokens["access_token"].as_str());
    assert_eq!((api.refreshes("a"), api.issued().len()), (1, 2));
    let again = send(upstream.addr(), &token("rt-a")).await.unwrap();
    assert_eq!(again.status(), 401);
    assert_eq!(again.json().unwrap()["error"]["code"], "refresh_token_reused");
    let login = api.login_file("a").unwrap();
    assert_eq!(login["tokens"]["access_token"], tokens["access_token"]);
    let fresh = Request::get("/backend-api/codex/models").bearer(tokens["access_token"].as_str().unwrap());
    let models = send(upstream.addr(), &fresh.header("chatgpt-account-id", "acct-a")).await.unwrap();
    assert_eq!(models.json().unwrap(), json!({"models": []}));
    let other = Request::post("/oauth/token", r#"{"grant_type":"refresh_token","scope":"openid"}"#);
    assert_eq!(send(upstream.addr(), &other).await.unwrap().status(), 400);
    api.revoke_access("a");
    assert_eq!(error_of(&send(upstream.addr(), &posted(&hello())).await.unwrap()).0, 401);
    // As recorded of the client.
    let text = include_str!("../../fixtures/codex/token_endpoint.jsonl");
    let recorded: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let recorded = Request::post("/oauth/token", recorded["request"]["body"].to_string());
    assert_eq!(
        send(upstream.addr(), &recorded).await.unwrap().json().unwrap()["error"]["code"],
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn chat_completions_are_for_keys() {
    let (_, upstream) = started().await;
    let chat = |stream: bool| {
        Request::post("/v1/chat/completions", json!({"model": "m", "stream": stream}).to_string())
    };
    let whole = send(upstream.addr(), &chat(false).bearer("sk-b")).await.unwrap().json().unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "hi from the scripted API");
    let streamed = send(upstream.addr(), &chat(true).bearer("sk-b")).await.unwrap();
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(send(upstream.addr(), &as_a(chat(false))).await.unwrap().status(), 401);
}

#[tokio::test]
async fn every_recorded_request_of_the_real_client_is_answered() {
    let account = Account::new("any")
        .access_token("FAKE.CHATGPT.JWT")
        .bearer("sk-ocm-FAKE-user-token")
        .bearer("FAKE-user-token");
    let api = CodexApi::new([account]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    for run in ["s_custom-http", "h_tool", "s_custom-http_171", "subagent_http_171"] {
        for (request, _) in fixtures::codex_exchanges(run).unwrap() {
            let mut sent = Request::recorded(&request);
            if request.headers.contains("x-codex-turn-state") {
                sent = sent.without_header("x-codex-turn-state");
            }
            let response = send(upstream.addr(), &sent).await.unwrap();
            assert_eq!(
                (response.status(), response.end),
                (200, Ended::Complete),
                "{run} {}",
                response.text()
            );
            assert_eq!(sse::names(&response.body()).last().map(String::as_str), Some("response.completed"));
        }
    }
    for recorded in ["s_custom-ws", "w_tool", "s_custom-ws_171"]
        .into_iter()
        .flat_map(|run| fixtures::codex_sockets(run).unwrap())
    {
        let request = Request::recorded(&recorded.request);
        let mut link = Link::open(upstream.addr(), &request).await.unwrap();
        let mut last = Value::Null;
        for frame in recorded.frames.iter().filter(|frame| frame.by_client) {
            let SocketFrameKind::Message(message) = &frame.kind else { continue };
            let mut message = message.clone();
            if message["previous_response_id"].is_string() {
                message["previous_response_id"] = last.clone();
            }
            let events = turn(&mut link, &message.to_string()).await;
            let end = events.last().unwrap();
            assert_eq!(end["type"], "response.completed", "{end}");
            last = end["response"]["id"].clone();
        }
    }
    assert!(api.violations().is_empty(), "{:?}", api.violations());
}

/// The client ignores an error event that has its status in both spellings, and waits (fact sheet, 3): nothing here may look
/// like that by accident.
#[tokio::test]
async fn errors_have_their_status_in_one_spelling() {
    let (api, upstream) = started().await;
    let mut events = Vec::new();
    for script in [
        TurnScript::error(429, "usage_limit_reached", None, &[("retry-after", "1")]),
        TurnScript::connection_limit(),
    ] {
        events.extend(script.steps.into_iter().filter_map(|step| match step {
            Step::Event(event) => Some(event),
            _ => None,
        }));
    }
    api.set_limits("a", Limits::primary_reached());
    let mut link = opened(&upstream).await;
    for more in [json!({}), json!({"previous_response_id": "resp_unknown"})] {
        events.extend(turn(&mut link, &create(&hello(), &more)).await);
    }
    assert_eq!(events.len(), 4, "{events:?}");
    for event in &events {
        assert_eq!((event["status"].is_u64(), event.get("status_code")), (true, None), "{event}");
    }
}
