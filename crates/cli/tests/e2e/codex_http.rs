//! Codex over plain HTTP: where requests go by the kind of their credential, and what their headers become.

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::Request;
use trunkline_testkit::codex::{Account, CodexApi};
use trunkline_testkit::tls::Alpn;
use trunkline_testkit::{Script, TempDir, Upstream};

use crate::pool::status_of;
use crate::support::codex::{CodexPool, RESPONSES, body, codex_refusal, login, send, service, turn};
use crate::support::{Current, Protocol, USER_TOKEN, config, trunkline, with};

#[tokio::test]
async fn a_login_is_served_below_the_api() {
    let api = CodexApi::new([Account::new("a").access_token("access-a").refresh_token("rt-a")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service(&upstream.url(), &[login(&home, &api, "a")]);
    let trunkline = trunkline().config(&config(&service)).start().await.unwrap();
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &turn(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(response.text().contains("hi from the scripted API"), "{}", response.text());
    }
    assert_eq!((api.served("a"), api.violations()), (2, Vec::new()));
}

#[tokio::test]
async fn a_key_is_served_by_the_api_for_keys() {
    let api = CodexApi::new([Account::new("k").api_key("sk-of-k")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let key = json!({ "tag": "key", "type": "api_key", "api_key": "sk-of-k" });
    let trunkline = trunkline().config(&config(&service(&upstream.url(), &[key]))).start().await.unwrap();
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &turn(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
    }
    assert_eq!((api.served("k"), api.violations()), (2, Vec::new()));
}

#[tokio::test]
async fn a_login_file_with_a_key_is_a_key() {
    let api = CodexApi::new([Account::new("k").api_key("sk-of-k").access_token("access-of-k")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let home = TempDir::new().unwrap();
    let file = home.write("k/auth.json", json!({ "OPENAI_API_KEY": "sk-of-k" }).to_string()).unwrap();
    let credential = json!({ "tag": "k", "credential_path": file });
    let data = json!({ "data_directory": home.join("data") });
    let config = with(config(&service(&upstream.url(), &[credential])), data);
    let trunkline = trunkline().config(&config).start().await.unwrap();
    // The client's own account goes nowhere.
    let request = turn(body()).header("chatgpt-account-id", "acct-of-the-client");
    let response = send(&trunkline, &request).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    // It has no windows, and nothing is shown of any.
    assert_eq!(response.header("x-codex-primary-used-percent"), None);
    let chat = Request::post("/v1/chat/completions", body()).bearer(USER_TOKEN);
    assert_eq!(send(&trunkline, &chat).await.status(), 200);
    let received = upstream.requests();
    assert!(received.iter().all(|request| request.path().starts_with("/v1/")), "{received:?}");
    assert_eq!(api.violations(), Vec::<String>::new());
    // Its owner logs in instead: from then on it is a login, and its usage is polled.
    let login = json!({
        "tokens": { "access_token": "access-of-k", "refresh_token": "rt", "id_token": "e30.e30.c2ln", "account_id": "acct-k" },
        "last_refresh": "2126-01-01T00:00:00Z",
    });
    home.write("k/auth.json", login.to_string()).unwrap();
    status_of(&trunkline, |credentials| credentials[0]["windows"][0]["used_percent"] == 12.0).await;
    assert_eq!(send(&trunkline, &turn(body())).await.status(), 200);
    assert_eq!(upstream.requests().last().unwrap().path(), "/backend-api/codex/responses");
    assert_eq!(api.violations(), Vec::<String>::new());
}

/// Over TLS and HTTP/2, as the provider is reached: path, authority and account are the same.
#[tokio::test]
async fn a_provider_over_http2_is_asked_the_same() {
    let api = CodexApi::new([
        Account::new("a").access_token("access-a").refresh_token("rt-a"),
        Account::new("k").api_key("sk-of-k"),
    ]);
    let upstream = Upstream::start_tls(api.clone(), &[Alpn::H2]).await.unwrap();
    let ca_path = upstream.authority().unwrap().file().unwrap();
    let home = TempDir::new().unwrap();
    let key = json!({ "tag": "k", "type": "api_key", "api_key": "sk-of-k" });
    let mut service = service(&upstream.url(), &[login(&home, &api, "a"), key]);
    service["upstream"]["ca_path"] = json!(ca_path);
    let running = trunkline().config(&config(&service)).start().await.unwrap();
    for protocol in Protocol::BOTH {
        let response = protocol.send(running.addr().unwrap(), &turn(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(response.text().contains("hi from the scripted API"), "{}", response.text());
        let chat = Request::post("/v1/chat/completions", body()).bearer(USER_TOKEN);
        assert_eq!(protocol.send(running.addr().unwrap(), &chat).await.status(), 200);
    }
    assert_eq!((api.served("a"), api.violations()), (2, Vec::new()));
}

#[tokio::test]
async fn chat_completions_are_for_keys() {
    let chat = Request::post("/v1/chat/completions", body()).bearer(USER_TOKEN);
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(running.addr().unwrap(), &chat).await;
        let error = codex_refusal(&response, 400, "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains("API keys alone"), "{error}");
    }
    // In a pool they pass the logins by.
    let api = CodexApi::new([
        Account::new("a").access_token("access-a").refresh_token("rt-a"),
        Account::new("k").api_key("sk-of-k"),
    ]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let home = TempDir::new().unwrap();
    let key = json!({ "tag": "k", "type": "api_key", "api_key": "sk-of-k" });
    let service = service(&upstream.url(), &[login(&home, &api, "a"), key]);
    let running = trunkline().config(&config(&service)).start().await.unwrap();
    let response = send(&running, &chat).await;
    assert_eq!((response.status(), api.served("a")), (200, 0), "{}", response.text());
    assert_eq!(send(&running, &turn(body())).await.status(), 200);
    assert_eq!((api.served("a"), api.violations()), (1, Vec::new()));
}

#[tokio::test]
async fn only_what_clients_need_is_served() {
    let pool = CodexPool::new(&["a"]).await;
    let mut config = pool.config();
    config["services"][0]["users"][0]["paths"] = json!("/v1/files*");
    let running = trunkline().config(&config).start().await.unwrap();
    let before = pool.upstream.requests().len();
    for (method, path) in [
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responsesx"),
        ("GET", "/nothing"),
        ("GET", "/backend-api/wham/accounts/check"),
        ("POST", "/wham/usage"),
    ] {
        for protocol in Protocol::BOTH {
            let response =
                protocol.send(running.addr().unwrap(), &Request::new(method, path).bearer(USER_TOKEN)).await;
            codex_refusal(&response, 404, "invalid_request_error");
        }
    }
    for (path, status) in [("/v1/../x", 400), ("/v1//responses", 400), ("/v1%2fresponses", 400)] {
        let response = send(&running, &Request::post(path, body()).bearer(USER_TOKEN)).await;
        codex_refusal(&response, status, "invalid_request_error");
    }
    for method in ["GET", "HEAD"] {
        assert_eq!(send(&running, &Request::new(method, "/")).await.status(), 200);
    }
    let calls = pool.upstream.requests().len() - before;
    let polls = pool.upstream.requests().iter().filter(|request| request.path().ends_with("/usage")).count();
    assert!(calls <= polls, "nothing of it is forwarded");
    // What is below, with its query, and what the user may do besides.
    for (path, target) in [
        ("/v1/responses/compact?x=%2F", "/backend-api/codex/responses/compact?x=%2F"),
        ("/v1/files?limit=1", "/backend-api/codex/files?limit=1"),
    ] {
        let response = send(&running, &Request::post(path, body()).bearer(USER_TOKEN)).await;
        assert_eq!(response.status(), 404, "the provider's own");
        let last = pool.upstream.requests().into_iter().rfind(|request| request.target == target);
        assert!(last.is_some(), "{target}");
    }
}

#[tokio::test]
async fn what_tells_of_the_clients_own_account_stays_here() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    let foreign = [
        "x-openai-account-routing-override",
        "x-openai-fedramp",
        "x-openai-internal-codex-residency",
        "x-openai-actor-authorization",
        "x-oai-attestation",
        "openai-organization",
        "openai-project",
        "chatgpt-account-id",
        "cookie",
    ];
    for protocol in Protocol::BOTH {
        let request =
            foreign.iter().fold(turn(body()), |request, name| request.header(name, "of-the-client"));
        let response = protocol.send(running.addr().unwrap(), &request.header("x-codex-new", "1")).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        let received = pool.upstream.requests().pop().unwrap();
        assert_eq!(received.headers.get("chatgpt-account-id"), Some("acct-a"));
        assert_eq!(received.headers.get("x-codex-new"), Some("1"));
        assert!(received.headers.iter().all(|(_, value)| value != "of-the-client"), "{:?}", received.headers);
        for name in
            ["openai-organization", "set-cookie", "server", "cf-ray", "alt-svc", "strict-transport-security"]
        {
            assert_eq!(response.header(name), None, "{name}");
        }
        assert!(
            response.header("x-request-id").is_some() && response.header("openai-processing-ms").is_some()
        );
    }
    assert_eq!(pool.api.violations(), Vec::<String>::new());
}

/// A compressed body goes on byte for byte, and is read beside: for the model that the user may use, too.
#[tokio::test]
async fn compressed_bodies_are_read_and_not_changed() {
    let mut pool = CodexPool::new(&["a", "b"]).await;
    pool.service(json!({
        "users": [{ "name": "alice", "token": USER_TOKEN, "credential": "pool", "models": ["gpt-5*"] }],
        "max_body": "64KiB",
    }));
    let running = pool.start().await;
    let compressed = |body: &[u8]| Bytes::from(zstd::encode_all(body, 3).unwrap());
    let ask = |body: Bytes| turn(body).header("content-encoding", "zstd");
    let sent = compressed(&body());
    let response = send(&running, &ask(sent.clone())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    let received = pool.upstream.requests().pop().unwrap();
    assert_eq!((received.body(), received.headers.get("content-encoding")), (sent, Some("zstd")));
    // A limit moves it whole.
    pool.api.next("a", Script::new().close());
    assert_eq!(send(&running, &ask(compressed(&body()))).await.status(), 200);
    let other = compressed(json!({ "model": "gpt-6-sol", "input": [] }).to_string().as_bytes());
    codex_refusal(&send(&running, &ask(other)).await, 400, "invalid_request_error");
    // What is no such body, and what would be much longer than it looks.
    codex_refusal(&send(&running, &ask(body())).await, 400, "invalid_request_error");
    let bomb = compressed(format!("{{\"model\":\"gpt-5.5\",\"x\":\"{}\"}}", " ".repeat(1 << 20)).as_bytes());
    codex_refusal(&send(&running, &ask(bomb)).await, 413, "invalid_request_error");
}

#[tokio::test]
async fn refusals_are_in_the_providers_shape() {
    let pool = CodexPool::new(&["a"]).await;
    let running = pool.start().await;
    for protocol in Protocol::BOTH {
        let wrong = Request::post(RESPONSES, body()).bearer("wrong");
        let error =
            codex_refusal(&protocol.send(running.addr().unwrap(), &wrong).await, 401, "authentication_error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("experimental_bearer_token in ~/.codex/config.toml"), "{message}");
        assert_eq!(error["code"], "authentication");
        let nobody = Request::post(RESPONSES, body());
        codex_refusal(&protocol.send(running.addr().unwrap(), &nobody).await, 401, "authentication_error");
    }
    // A provider that is not there.
    let upstream = Upstream::start(Current::new(Script::new().close())).await.unwrap();
    let gone = service(&upstream.url(), &[json!({ "tag": "k", "type": "api_key", "api_key": "sk" })]);
    let running = trunkline().config(&config(&gone)).start().await.unwrap();
    codex_refusal(&send(&running, &turn(body())).await, 502, "server_error");
    // No login yet.
    let home = TempDir::new().unwrap();
    let missing: Value = json!({ "tag": "a", "credential_path": home.join("auth.json") });
    let running = trunkline().config(&config(&service(&upstream.url(), &[missing]))).start().await.unwrap();
    let error = codex_refusal(&send(&running, &turn(body())).await, 503, "server_error");
    assert!(error["message"].as_str().unwrap().contains("codex login"), "{error}");
}
