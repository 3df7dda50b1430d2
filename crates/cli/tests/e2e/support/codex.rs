//! What the stories of Codex share.

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::TempDir;
use trunkline_testkit::client::Request;
use trunkline_testkit::codex::CodexApi;

use super::USER_TOKEN;

/// Where turns go.
pub(crate) const RESPONSES: &str = "/v1/responses";

/// The addresses of a scripted API.
pub(crate) fn upstream(url: &str) -> Value {
    json!({
        "api_url": format!("{url}/backend-api/codex"),
        "usage_url": format!("{url}/backend-api/wham/usage"),
        "token_url": format!("{url}/oauth/token"),
        "openai_url": url,
    })
}

/// A service with one user, in front of a scripted API at `url`. The user has all credentials as a pool, or the one.
pub(crate) fn service(url: &str, credentials: &[Value]) -> Value {
    let mut all = credentials.to_vec();
    let mut user = json!({ "name": "alice", "token": USER_TOKEN });
    if credentials.len() > 1 {
        let tags: Vec<_> = credentials.iter().map(|credential| credential["tag"].clone()).collect();
        all.push(json!({ "tag": "pool", "type": "fallback", "credentials": tags }));
        user["credential"] = json!("pool");
    }
    json!({
        "type": "codex",
        "listen_port": 0,
        "users": [user],
        "credentials": all,
        "upstream": upstream(url),
    })
}

/// A credential with the login file of an account, which is written into `home`.
pub(crate) fn login(home: &TempDir, api: &CodexApi, label: &str) -> Value {
    let path = home.write(format!("{label}/auth.json"), api.login_file(label).unwrap().to_string()).unwrap();
    json!({ "tag": label, "credential_path": path })
}

/// A turn with the user's token.
pub(crate) fn turn(body: impl Into<Bytes>) -> Request {
    Request::post(RESPONSES, body).bearer(USER_TOKEN)
}

/// A turn's usual body.
pub(crate) fn body() -> Bytes {
    let message =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hello" }] });
    Bytes::from(
        json!({ "model": "gpt-5.5", "stream": true, "store": false, "input": [message], "tools": [] })
            .to_string(),
    )
}
