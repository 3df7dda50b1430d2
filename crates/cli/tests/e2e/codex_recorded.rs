//! Every turn that was recorded between the real Codex client and its provider over HTTP passes through: unchanged where it
//! must be, changed where codex.md says so and nowhere else.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request};
use trunkline_testkit::fixtures::{self, End, Exchange, RecordedRequest, RecordedResponse};
use trunkline_testkit::upstream::{Behaviour as _, ReceivedRequest};
use trunkline_testkit::{Headers, Script, TempDir, Trunkline, Upstream, sse};

use crate::support::codex::{codex_refusal, upstream};
use crate::support::dress::Dress;
use crate::support::{Current, Protocol, config, trunkline};

const ACCESS: &str = "access-of-the-login";
const ACCOUNT: &str = "acct-of-the-login";
const KEY: &str = "sk-of-the-key";

/// Headers of a request that are not passed on, or set anew.
const DROPPED: [&str; 5] = ["authorization", "chatgpt-account-id", "connection", "host", "content-length"];

/// The headers that the client is shown in place of the account's.
const SHOWN: [&str; 7] = [
    "x-codex-primary-used-percent",
    "x-codex-primary-window-minutes",
    "x-codex-primary-reset-at",
    "x-codex-secondary-used-percent",
    "x-codex-secondary-window-minutes",
    "x-codex-secondary-reset-at",
    "x-ocm-plan-weight",
];

fn is_stripped(name: &str) -> bool {
    ["server", "connection", "transfer-encoding", "content-length", "x-trunkline-request-id"].contains(&name)
        || is_limit(name)
}

/// As limits.md lists them.
fn is_limit(name: &str) -> bool {
    name.contains("-primary-")
        || name.contains("-secondary-")
        || name.ends_with("-limit-name")
        || name.starts_with("x-codex-credits-")
        || ["x-codex-active-limit", "x-codex-promo-message", "x-ocm-plan-weight"].contains(&name)
}

fn lower(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

/// The bytes of a recorded body as they were sent: compressed where the headers say so.
fn body(request: &RecordedRequest) -> Bytes {
    let body = request.body.clone().unwrap();
    match request.headers.get("content-encoding") {
        Some("zstd") => zstd::encode_all(&body[..], 3).unwrap().into(),
        _ => body,
    }
}

/// The request as the client sends it to us: it knows us under `/v1`.
fn request(recorded: &RecordedRequest) -> Request {
    let mut request = Request::new("POST", "/v1/responses").body(body(recorded));
    for (name, value) in recorded.headers.iter() {
        if !["host", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    request
}

enum Credential {
    Login,
    Key,
    /// A login file that holds an API key.
    KeyInFile,
}

/// An instance whose users are the recorded clients, and whose one credential is this.
async fn serve(posts: &[Exchange], home: &TempDir, url: &str, credential: &Credential) -> Trunkline {
    let token = |post: &Exchange| {
        post.request.headers.get("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    };
    let tokens: BTreeSet<String> = posts.iter().map(token).collect();
    let users: Vec<Value> = tokens
        .iter()
        .enumerate()
        .map(|(nth, token)| json!({ "name": format!("user-{nth}"), "token": token }))
        .collect();
    let file = |login: Value| {
        let path = home.write("auth.json", login.to_string()).unwrap();
        json!({ "tag": "one", "credential_path": path })
    };
    let credential = match credential {
        Credential::Login => file(json!({
            "auth_mode": "chatgpt",
            "tokens": {
                "id_token": "e30.e30.c2ln", "access_token": ACCESS, "refresh_token": "rt", "account_id": ACCOUNT,
            },
            "last_refresh": "2126-01-01T00:00:00Z",
        })),
        Credential::KeyInFile => file(json!({ "auth_mode": "apikey", "OPENAI_API_KEY": KEY })),
        Credential::Key => json!({ "tag": "one", "type": "api_key", "api_key": KEY }),
    };
    let service = json!({
        "type": "codex", "listen_port": 0, "users": users, "credentials": [credential], "upstream": upstream(url),
    });
    trunkline().config(&config(&service)).start().await.unwrap()
}

async fn requests_pass(protocol: Protocol, credential: Credential) {
    let posts = fixtures::codex_posts().unwrap();
    assert!(posts.len() > 30);
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let home = TempDir::new().unwrap();
    let trunkline = serve(&posts, &home, &upstream.url(), &credential).await;
    let (target, token, account) = match credential {
        Credential::Login => ("/backend-api/codex/responses", ACCESS, Some(ACCOUNT)),
        Credential::Key | Credential::KeyInFile => ("/v1/responses", KEY, None),
    };
    for post in &posts {
        let what = format!("{} {}", post.scenario, post.seq);
        let request = request(&post.request);
        let response = protocol.send(trunkline.addr().unwrap(), &request).await;
        assert_eq!(response.status(), 200, "{what}: {}", response.text());
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.body(), request.body_bytes(), "{what}");
        assert_eq!((&*received.method, &*received.target), ("POST", target), "{what}");
        let all = |name: &str| received.headers.get_all(name).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(all("authorization"), [format!("Bearer {token}")], "{what}");
        assert_eq!(all("chatgpt-account-id"), account.into_iter().collect::<Vec<_>>(), "{what}");
        assert_eq!(all("host"), [upstream.addr().to_string()], "{what}");
        assert_eq!(all("content-length"), [request.body_bytes().len().to_string()], "{what}");
        let kept = |headers: &Headers| {
            let mut lines = lower(headers);
            lines.retain(|(name, _)| !DROPPED.contains(&name.as_str()));
            lines
        };
        assert_eq!(kept(&received.headers), kept(&post.request.headers), "{what}");
    }
    // Both forms of a body, and a state that is replayed, were among them.
    for name in ["content-encoding", "x-codex-turn-state", "x-codex-turn-metadata"] {
        assert!(posts.iter().any(|post| post.request.headers.contains(name)), "{name}");
    }
}

#[tokio::test]
async fn requests_reach_the_provider_unchanged_over_http1() {
    requests_pass(Protocol::Http1, Credential::Login).await;
}

#[tokio::test]
async fn requests_reach_the_provider_unchanged_over_http2() {
    requests_pass(Protocol::Http2, Credential::Login).await;
}

#[tokio::test]
async fn requests_with_a_key_reach_the_provider_unchanged() {
    requests_pass(Protocol::Http1, Credential::Key).await;
    requests_pass(Protocol::Http2, Credential::KeyInFile).await;
}

/// The answer without what is cut out of streams.
fn without_limit_events(body: &Bytes) -> Vec<u8> {
    let events = sse::split(body);
    let mut left = events.into_iter().filter(|event| sse::names(event) != ["codex.rate_limits"]);
    left.by_ref().fold(Vec::new(), |mut all, event| {
        all.extend_from_slice(&event);
        all
    })
}

/// What the one credential makes of an answer: nothing else can serve, so a limit of its account is told by us.
fn is_used_up(recorded: &RecordedResponse) -> bool {
    let text = String::from_utf8_lossy(&recorded.body);
    (recorded.status == Some(429) && text.contains("usage_limit_reached"))
        || begins_with_failed(recorded, "usage_limit_reached")
}

/// Whether the first telling event of a stream is a failure with this code.
fn begins_with_failed(recorded: &RecordedResponse, code: &str) -> bool {
    let events = sse::split(&recorded.body);
    let quiet = ["response.created", "response.in_progress", "codex.rate_limits", "response.metadata"];
    let telling = events.iter().find(|event| !sse::names(event).iter().all(|name| quiet.contains(&&**name)));
    telling.is_some_and(|event| {
        sse::names(event) == ["response.failed"] && String::from_utf8_lossy(event).contains(code)
    })
}

async fn responses_pass(protocol: Protocol) {
    let posts = fixtures::codex_posts().unwrap();
    let current = Current::default();
    // Whoever asks whether the token is good is told so: a recorded 401 is then the request's own.
    let answers = {
        let current = current.clone();
        move |request: &ReceivedRequest| match request.target.as_str() {
            "/backend-api/wham/usage" => Script::json(200, &json!({})),
            _ => current.respond(request),
        }
    };
    let upstream = Upstream::start(answers).await.unwrap();
    let home = TempDir::new().unwrap();
    let mut trunkline = serve(&posts, &home, &upstream.url(), &Credential::Login).await;
    let (mut statuses, mut cut_out) = (HashSet::new(), 0);
    let forms = Dress::all();
    for (post, dress) in posts.iter().flat_map(|post| forms.iter().map(move |form| (post, *form))) {
        let what = format!("{} {} {dress:?}", post.scenario, post.seq);
        let recorded = &post.response;
        let given = dress.put_on(recorded);
        current.set(Script::recorded(&given));
        let response = protocol.send(trunkline.addr().unwrap(), &request(&post.request)).await;
        let is_good = recorded.status == Some(200) && recorded.end == End::Complete;
        if !is_good || sse::names(&recorded.body).iter().any(|name| name == "response.failed") {
            // What a failure makes of the credential is another story.
            trunkline = serve(&posts, &home, &upstream.url(), &Credential::Login).await;
        }
        if is_used_up(recorded) {
            let error = codex_refusal(&response, 429, "usage_limit_reached");
            assert_eq!(error["plan_type"], "unknown", "{what}");
            assert!(response.header("x-codex-primary-used-percent").is_some(), "{what}");
            assert_eq!(response.header("x-codex-promo-message"), None, "{what}");
            continue;
        }
        statuses.insert(recorded.status.unwrap());
        assert_eq!(Some(response.status()), recorded.status, "{what}");
        // A stream is decoded where it is compressed, and other bodies are not.
        let is_stream =
            recorded.headers.get("content-type").is_some_and(|kind| kind.contains("event-stream"));
        let expected = if is_stream { without_limit_events(&recorded.body) } else { given.body.to_vec() };
        cut_out += usize::from(expected != recorded.body && is_stream);
        assert_eq!(response.body(), expected, "{what}");
        if recorded.end == End::Complete {
            assert_eq!(response.end, Ended::Complete, "{what}");
        } else {
            assert!(protocol.is_cut(response.end), "{what}: {:?}", response.end);
        }
        let kept = |headers: &Headers| {
            let mut lines = lower(headers);
            // Where the provider gives none, an answer gets one on its way.
            let has_date = recorded.headers.contains("date");
            lines.retain(|(name, _)| !is_stripped(name) && (has_date || name != "date"));
            lines.retain(|(name, _)| !is_stream || name != "content-encoding");
            lines
        };
        assert_eq!(kept(&response.head.headers), kept(&given.headers), "{what}");
        assert!(!is_stream || response.header("content-encoding").is_none(), "{what}");
        let shown: Vec<_> = lower(&response.head.headers).into_iter().map(|(name, _)| name).collect();
        let shown: Vec<_> = shown.iter().map(String::as_str).filter(|name| is_limit(name)).collect();
        assert!(shown.iter().all(|name| SHOWN.contains(name)), "{what}: {shown:?}");
        assert!(shown.contains(&"x-codex-primary-used-percent"), "{what}: {shown:?}");
    }
    assert!([200, 401, 403, 429, 500, 503].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    assert!(cut_out > 0, "no recorded stream tells of limits");
}

#[tokio::test]
async fn answers_reach_the_client_over_http1() {
    responses_pass(Protocol::Http1).await;
}

#[tokio::test]
async fn answers_reach_the_client_over_http2() {
    responses_pass(Protocol::Http2).await;
}
