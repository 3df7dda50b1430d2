//! Everything that was recorded between the real client and the provider passes through unchanged.

use std::collections::HashSet;

use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request};
use trunkline_testkit::fixtures::{self, End, Exchange, RecordedRequest, RecordedResponse};
use trunkline_testkit::upstream::{Behaviour as _, ReceivedRequest};
use trunkline_testkit::{Headers, Script, Upstream, sse};

use crate::support::dress::Dress;
use crate::support::{Current, OAUTH_TOKEN, Protocol, passing_refusal, refusal, serve, service, with};

const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Headers of a request that are not passed on, or set anew.
const DROPPED: [&str; 7] =
    ["authorization", "x-api-key", "connection", "host", "content-length", "transfer-encoding", "cookie"];

/// Headers of an answer that are not passed on; the framing is looked at by itself.
fn is_stripped(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "anthropic-organization-id",
        "set-cookie",
        "server",
        "strict-transport-security",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "x-trunkline-request-id",
    ];
    NAMES.contains(&name) || is_limit(name) || name.starts_with("cf-")
}

/// Headers of an answer that tell of limits: the provider's go no further, and the pool's stand in their place.
fn is_limit(name: &str) -> bool {
    name.starts_with("anthropic-ratelimit-") || name == "x-ccm-plan-weight"
}

/// Whether an answer says that a window of the account is used up: the only credential is then at its limit, and the
/// answer is ours.
fn is_out_of_quota(response: &RecordedResponse) -> bool {
    let header = |name: &str| response.headers.get(&format!("anthropic-ratelimit-unified-{name}"));
    let is_base = ["5h-status", "7d-status"].iter().any(|name| header(name) == Some("rejected"));
    response.status == Some(429) && is_base
}

/// Whether a stream is cut before its first event is in.
fn is_lost(response: &RecordedResponse) -> bool {
    let is_stream = response.headers.get("content-type").is_some_and(|kind| kind.contains("event-stream"));
    is_stream && !is_complete(response) && sse::split(&response.body).is_empty()
}

/// The recorded exchanges that are forwarded.
fn forwarded(sets: &[&str]) -> Vec<Exchange> {
    sets.iter()
        .flat_map(|set| fixtures::claude(set).unwrap())
        .filter(|exchange| exchange.request.target.starts_with("/v1/messages"))
        .collect()
}

/// The token that a recorded client sent.
fn token(request: &RecordedRequest) -> String {
    match request.headers.get("authorization") {
        Some(value) => value.strip_prefix("Bearer ").unwrap().to_owned(),
        None => request.headers.get("x-api-key").unwrap().to_owned(),
    }
}

/// A service whose users are the recorded clients.
fn service_for(exchanges: &[Exchange], url: &str) -> Value {
    let tokens: HashSet<String> = exchanges.iter().map(|exchange| token(&exchange.request)).collect();
    let users: Vec<Value> = tokens
        .iter()
        .enumerate()
        .map(|(nth, token)| json!({ "name": format!("user-{nth}"), "token": token, "fast_mode": "allow" }))
        .collect();
    with(service(url), json!({ "users": users }))
}

fn lower(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

/// What the provider is to see of a client's headers, in order, apart from what is set anew.
fn expected_at_the_provider(sent: &Headers) -> Vec<(String, String)> {
    let mut lines = lower(sent);
    lines.retain(|(name, _)| !DROPPED.contains(&name.as_str()));
    match lines.iter_mut().find(|(name, _)| name == "anthropic-beta") {
        Some((_, list)) if list.split(',').any(|member| member == OAUTH_BETA) => {}
        Some((_, list)) => *list = format!("{list},{OAUTH_BETA}"),
        None => lines.push(("anthropic-beta".to_owned(), OAUTH_BETA.to_owned())),
    }
    lines
}

async fn requests_pass(protocol: Protocol) {
    let exchanges = forwarded(&fixtures::CLAUDE);
    assert!(exchanges.iter().any(|exchange| exchange.request.target.contains("count_tokens")));
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let trunkline = serve(&service_for(&exchanges, &upstream.url())).await;
    for exchange in &exchanges {
        let what = format!("{} {}", exchange.scenario, exchange.seq);
        let request = Request::recorded(&exchange.request);
        let response = protocol.send(trunkline.addr().unwrap(), &request).await;
        assert_eq!(response.status(), 200, "{what}: {}", response.text());
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.body(), request.body_bytes(), "{what}");
        assert_eq!(
            (&received.method, &received.target),
            (&exchange.request.method, &exchange.request.target),
            "{what}"
        );
        let headers = &received.headers;
        assert_eq!(headers.get_all("host").collect::<Vec<_>>(), [upstream.addr().to_string()], "{what}");
        let authorization: Vec<_> = headers.get_all("authorization").collect();
        assert_eq!(authorization, [format!("Bearer {OAUTH_TOKEN}")], "{what}");
        assert!(!headers.contains("x-api-key"), "{what}");
        let length = request.body_bytes().len().to_string();
        assert_eq!(headers.get_all("content-length").collect::<Vec<_>>(), [length], "{what}");
        assert!(!headers.contains("transfer-encoding"), "{what}");
        let mut rest = lower(headers);
        rest.retain(|(name, _)| !DROPPED.contains(&name.as_str()));
        assert_eq!(rest, expected_at_the_provider(&exchange.request.headers), "{what}");
    }
}

#[tokio::test]
async fn requests_reach_the_provider_unchanged_over_http1() {
    requests_pass(Protocol::Http1).await;
}

#[tokio::test]
async fn requests_reach_the_provider_unchanged_over_http2() {
    requests_pass(Protocol::Http2).await;
}

/// Whether the recorded answer ended as HTTP has it, when it is replayed.
fn is_complete(response: &RecordedResponse) -> bool {
    let length = response.headers.get("content-length").and_then(|length| length.parse().ok());
    response.end == End::Complete || length == Some(response.body.len())
}

/// Each exchange in every form that its answer may have; the failures, of which there are many alike, by turns.
fn dressed(exchanges: &[Exchange]) -> impl Iterator<Item = (&Exchange, Dress)> {
    let all = Dress::all();
    exchanges.iter().enumerate().flat_map(move |(nth, exchange)| {
        let mut forms = all.clone();
        if exchange.response.status != Some(200) {
            let by_turns = 1 + nth % (forms.len() - 1);
            forms = vec![Dress::AsRecorded, forms[by_turns]];
        }
        forms.into_iter().map(move |form| (exchange, form))
    })
}

async fn responses_pass(protocol: Protocol) {
    let exchanges =
        forwarded(&["gateway_failures", "gateway_compact", "subscriber_failures", "gateway_full"]);
    let current = Current::default();
    // Whoever asks whether the token is good is told so: a recorded 401 is then the request's own.
    let answers = {
        let current = current.clone();
        move |request: &ReceivedRequest| match request.target.as_str() {
            "/api/oauth/usage" => Script::json(200, &json!({})),
            _ => current.respond(request),
        }
    };
    let upstream = Upstream::start(answers).await.unwrap();
    let config = service_for(&exchanges, &upstream.url());
    let mut trunkline = serve(&config).await;
    let mut statuses = HashSet::new();
    for (exchange, dress) in dressed(&exchanges) {
        let what = format!("{} {} {dress:?}", exchange.scenario, exchange.seq);
        let recorded = &exchange.response;
        let given = dress.put_on(recorded);
        current.set(Script::recorded(&given));
        let request = Request::recorded(&exchange.request);
        let response = protocol.send(trunkline.addr().unwrap(), &request).await;
        let begins_with_error = sse::names(&recorded.body).first().is_some_and(|name| name == "error");
        if recorded.status != Some(200) || !is_complete(recorded) || begins_with_error {
            // What a failure makes of the credential is another story.
            trunkline = serve(&config).await;
        }
        let Some(status) = recorded.status.filter(|_| !is_lost(recorded)) else {
            passing_refusal(&response, 502, "api_error");
            continue;
        };
        if is_out_of_quota(recorded) {
            let text = refusal(&response, 429, "rate_limit_error");
            assert!(text.contains("at its limit"), "{what}: {text}");
            continue;
        }
        statuses.insert(status);
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(response.body(), given.body, "{what}");
        if is_complete(recorded) {
            assert_eq!(response.end, Ended::Complete, "{what}");
        } else {
            assert!(protocol.is_cut(response.end), "{what}: {:?}", response.end);
        }
        let kept = |headers: &Headers| {
            let mut lines = lower(headers);
            lines.retain(|(name, _)| !is_stripped(name));
            lines
        };
        assert_eq!(kept(&response.head.headers), kept(&given.headers), "{what}");
        let leaked: Vec<_> = response
            .head
            .headers
            .names()
            .into_iter()
            .filter(|name| is_stripped(&name.to_ascii_lowercase()))
            .filter(|name| !is_limit(&name.to_ascii_lowercase()))
            .filter(|name| {
                !["x-trunkline-request-id", "transfer-encoding", "connection"]
                    .iter()
                    .any(|own| name.eq_ignore_ascii_case(own))
            })
            .collect();
        assert!(leaked.is_empty(), "{what}: {leaked:?}");
        assert!(response.header("x-trunkline-request-id").is_some_and(|id| !id.is_empty()), "{what}");
    }
    assert!([200, 400, 401, 429, 500, 529].iter().all(|status| statuses.contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn answers_reach_the_client_unchanged_over_http1() {
    responses_pass(Protocol::Http1).await;
}

#[tokio::test]
async fn answers_reach_the_client_unchanged_over_http2() {
    responses_pass(Protocol::Http2).await;
}

async fn first_looks_are_answered(protocol: Protocol) {
    let upstream = Upstream::start(Current::default()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let looks: Vec<_> = fixtures::CLAUDE
        .iter()
        .flat_map(|set| fixtures::claude(set).unwrap())
        .filter(|exchange| exchange.request.method == "HEAD")
        .collect();
    assert!(!looks.is_empty());
    for look in &looks {
        let response = protocol.send(trunkline.addr().unwrap(), &Request::recorded(&look.request)).await;
        assert_eq!((response.status(), response.end), (200, Ended::Complete));
        assert!(response.body().is_empty());
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_first_look_of_a_client_is_answered_here_over_http1() {
    first_looks_are_answered(Protocol::Http1).await;
}

#[tokio::test]
async fn the_first_look_of_a_client_is_answered_here_over_http2() {
    first_looks_are_answered(Protocol::Http2).await;
}

/// What a client that is signed in to a gateway asks besides: what the pool has used, and policy, of which there is none.
#[tokio::test]
async fn what_a_signed_in_client_asks_is_answered_here() {
    let exchanges: Vec<_> = ["user_cap_332", "device_login_332"]
        .into_iter()
        .flat_map(|set| fixtures::claude(set).unwrap())
        .filter(|exchange| exchange.request.headers.get("authorization").is_some())
        .collect();
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let trunkline = serve(&service_for(&exchanges, &upstream.url())).await;
    let mut asked = HashSet::new();
    for exchange in &exchanges {
        let response =
            Protocol::Http1.send(trunkline.addr().unwrap(), &Request::recorded(&exchange.request)).await;
        match exchange.request.target.as_str() {
            "/api/oauth/usage" => assert_eq!(response.status(), 200),
            "/managed/settings" => drop(refusal(&response, 404, "not_found_error")),
            other => panic!("{other}"),
        }
        asked.insert(&exchange.request.target);
    }
    assert_eq!(asked.len(), 2);
}
