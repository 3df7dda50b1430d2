//! Codex over plain HTTP: where requests go by the kind of their credential, and what their headers become.

use serde_json::json;
use trunkline_testkit::client::Request;
use trunkline_testkit::codex::{Account, CodexApi};
use trunkline_testkit::{TempDir, Upstream};

use crate::support::codex::{RESPONSES, body, login, service, turn};
use crate::support::{Protocol, USER_TOKEN, config, trunkline};

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
async fn a_websocket_is_told_to_use_http() {
    let api = CodexApi::new([Account::new("a").access_token("access-a").refresh_token("rt-a")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service(&upstream.url(), &[login(&home, &api, "a")]);
    let trunkline = trunkline().config(&config(&service)).start().await.unwrap();
    let nobody = Request::get(RESPONSES).header("connection", "Upgrade").header("upgrade", "websocket");
    let request = nobody.clone().bearer(USER_TOKEN);
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &request).await;
    assert_eq!(response.status(), 426, "{}", response.text());
    assert_eq!(response.json().unwrap()["error"]["code"], "upgrade_required");
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &nobody).await.status(), 401);
    // Without an upgrade it is no path of the client's.
    let plain = Request::get(RESPONSES).bearer(USER_TOKEN);
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &plain).await.status(), 404);
}
