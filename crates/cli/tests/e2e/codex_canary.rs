//! No secret of a Codex service is ever written, however much is logged and whatever goes wrong.

use bytes::Bytes;
use serde_json::json;
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::client::Request;
use trunkline_testkit::codex::{Account, CodexApi, TurnScript, error};
use trunkline_testkit::{Script, TempDir, Upstream};

use crate::pool::polled;
use crate::support::codex::{RESPONSES, login, upstream};
use crate::support::{Protocol, trunkline};

#[tokio::test]
async fn traffic_refreshes_and_failures_leave_no_secret() {
    let user = Canary::new("user");
    let access = Canary::new("access");
    let refresh = Canary::with_prefix("rt_", "refresh");
    let key = Canary::with_prefix("sk-", "key");
    let content = Canary::new("content");
    let foreign = Canary::new("foreign");
    let api = CodexApi::new([
        Account::new("a").access_token(access.token()).refresh_token(refresh.token()),
        Account::new("k").api_key(key.token()),
    ]);
    let provider = Upstream::start(api.clone()).await.unwrap();
    let home = TempDir::new().unwrap();
    let config = json!({
        "log": { "level": "trace" },
        "data_directory": home.join("data"),
        "services": [{
            "type": "codex",
            "listen_port": 0,
            "users": [{ "name": "alice", "token": user.token(), "credential": "pool", "explain": true }],
            "credentials": [
                login(&home, &api, "a"),
                { "tag": "k", "type": "api_key", "api_key": key.token() },
                { "tag": "pool", "type": "fallback", "credentials": ["a", "k"] },
            ],
            "upstream": upstream(&provider.url()),
        }],
    });
    let mut instance = trunkline().config(&config).start().await.unwrap();
    // A poll that came with a token that has been revoked would recover it, and a request that came meanwhile would go to the key.
    polled(&instance).await;
    let body = json!({ "model": "gpt-5.5", "input": [content.token()], "tools": [] }).to_string();
    let ask = || {
        Request::post(RESPONSES, Bytes::from(body.clone()))
            .bearer(user.token())
            .header("session-id", "one")
            .header("chatgpt-account-id", foreign.token())
            .header("x-oai-attestation", foreign.token())
            .header("x-trunkline-explain", "1")
    };
    let mut said = Vec::new();
    // A refresh, with what it issues.
    api.revoke_access("a");
    let refreshed = Protocol::Http1.send(instance.addr().unwrap(), &ask()).await;
    assert_eq!((refreshed.status(), api.refreshes("a")), (200, 1), "{}", refreshed.text());
    for protocol in Protocol::BOTH {
        let scripts = [
            Script::new().close(),
            Script::new().reset(),
            error(401, "authentication_error", None, content.token()),
            error(403, "permission_error", None, content.token()),
            error(429, "usage_limit_reached", None, content.token()),
            error(500, "server_error", None, content.token()),
            Script::text(502, content.token()),
        ];
        for script in scripts {
            api.next("a", script);
            // What comes of it is the matter of other stories.
            let _ = protocol.send(instance.addr().unwrap(), &ask()).await;
        }
        api.next_turn("a", TurnScript::failed("server_error", content.token()));
        let _ = protocol.send(instance.addr().unwrap(), &ask()).await;
        for (path, token) in
            [(RESPONSES, foreign.token()), ("/wham/usage", user.token()), ("/v1/models", user.token())]
        {
            let request = if path == RESPONSES { Request::post(path, "") } else { Request::get(path) };
            let response = protocol.send(instance.addr().unwrap(), &request.bearer(token)).await;
            said.push(format!("{:?} {}", response.head.headers, response.text()));
        }
    }
    // What follows when there is no new token to be had.
    api.revoke_access("a");
    api.revoke_refresh("a");
    let last = Protocol::Http1.send(instance.addr().unwrap(), &ask()).await;
    said.push(format!("{:?} {}", last.head.headers, last.text()));
    let secrets: Vec<Canary> = [user, access, refresh, key, content, foreign, api.cookie()]
        .into_iter()
        .chain(api.issued())
        .collect();
    let file = instance.home().path().join("trunkline.json").display().to_string();
    let args = ["status", "--json", "-c", &file].map(str::to_owned);
    let status = trunkline().args(args).run().await.unwrap();
    said.push(status.text());
    let output = instance.stop().await.unwrap();
    assert!(output.stderr.len() > 40, "nothing was logged: {:?}", output.stderr);
    said.push(output.text());
    // What is stored of requests, and what the way to a new token left behind.
    let mut files = 0;
    for entry in std::fs::read_dir(home.join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            said.push(String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        }
    }
    assert!(files > 0, "nothing was stored");
    for text in &said {
        let leaks = find_leaks(text.as_bytes(), &secrets);
        assert!(leaks.is_empty(), "{leaks:?} in {text}");
    }
    assert_eq!(api.violations(), Vec::<String>::new());
}
