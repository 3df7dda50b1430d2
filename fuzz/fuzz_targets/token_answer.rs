//! Any bytes as an answer of a token endpoint: nothing panics, and what is to be written to the login file reads back as the
//! login that is used from then on.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trunkline_core::provider::LoginFormat;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::refresh::{TokenAnswer, judge};
use trunkline_core::retry_after::retry_after;

const CLAUDE: &str =
    r#"{"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":1,"scopes":["user:inference"]}}"#;
const CODEX: &str = r#"{"tokens":{"access_token":"a","refresh_token":"r","account_id":"i"},"last_refresh":"2026-11-20T10:00:00Z"}"#;

fn place<'a>(document: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(document, |place, key| &mut place[key.as_str()])
}

fuzz_target!(|data: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000);
    let text = String::from_utf8_lossy(data);
    let _ = retry_after(&text, now);
    let formats: [(&dyn LoginFormat, &str); 2] = [(&Claude, CLAUDE), (&Codex, CODEX)];
    for (format, file) in formats {
        let before = format.read_login(file.as_bytes()).expect("a login");
        for status in [200, 302, 400, 401, 403, 429, 500] {
            let answer = TokenAnswer { status, retry_after: Some(&text), body: data };
            let Ok(read) = judge(format, &before, &answer, now) else { continue };
            assert_eq!(status, 200);
            assert!(!read.login.access_token.is_empty() && read.login.refresh_token.is_some());
            let mut written: Value = serde_json::from_str(file).expect("JSON");
            for edit in read.edits.as_slice() {
                *place(&mut written, &edit.path) = edit.value.clone();
            }
            let back = format.read_login(written.to_string().as_bytes()).expect("a login");
            assert_eq!(back, read.login);
        }
    }
});
