//! The store with the formats of the real providers: their files, their answers, and what the clients do to them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::{Answering as _, Virtual, write_private};
use trunkline_core::provider::LoginFormat;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::secret::Secret;
use trunkline_login_store::{
    Begun, Committed, LockProtocol, LoginStore, ProviderFormat, Reason, SetAsideReason, StoreFormat as _,
    Stored,
};
use trunkline_testkit::tmp::TempDir;

const CLAUDE: ProviderFormat = ProviderFormat(&Claude);
const CODEX: ProviderFormat = ProviderFormat(&Codex);

fn claude_login(expires_at: u64) -> String {
    format!(
        r#"{{"claudeAiOauth":{{"accessToken":"a0","refreshToken":"r0","expiresAt":{expires_at},"scopes":["user:inference"],"subscriptionType":"max","subscriptionTypeSource":"sign_in","refreshTokenExpiresAt":1e15}},"mcpOAuth":{{"k":[1.0]}},"enterpriseGateway":{{"url":"https://g"}},"gatewayTrust":[{{"a":1.50}}]}}"#
    )
}

const CODEX_LOGIN: &str = "{\n  \"auth_mode\": \"chatgpt\",\n  \"OPENAI_API_KEY\": null,\n  \"tokens\": {\n    \"id_token\": \"i0\",\n    \"access_token\": \"a0\",\n    \"refresh_token\": \"r0\",\n    \"account_id\": \"acc\"\n  },\n  \"last_refresh\": \"2020-01-01T00:00:00Z\"\n}\n";

/// Refreshes with `raw` as the answer, received in 1970, after `meanwhile`.
fn refreshed(
    (name, protocol, format): (&str, LockProtocol, ProviderFormat),
    login: &str,
    raw: &str,
    meanwhile: impl FnOnce(&PathBuf),
) -> (Committed, Option<String>) {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.join("home")).unwrap();
    let file = directory.join("home").join(name);
    write_private(&file, login.as_bytes());
    let store = LoginStore::new(file.clone(), protocol, None);
    let waiter = Virtual::new();
    let pending = match store.begin(&format, &Reason::Proactive, &waiter, &mut |_| {}).unwrap() {
        Begun::Pending(pending) => pending,
        other => panic!("{other:?}"),
    };
    let sent = pending.sending().unwrap();
    let answered =
        sent.answered_at(raw.as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(10), &format);
    meanwhile(&file);
    let committed = answered.commit(&format, &waiter).unwrap();
    (committed, fs::read_to_string(file).ok())
}

fn claude() -> (&'static str, LockProtocol, ProviderFormat) {
    (".credentials.json", LockProtocol::Claude { config_directory: None }, CLAUDE)
}

fn codex() -> (&'static str, LockProtocol, ProviderFormat) {
    ("auth.json", LockProtocol::Codex, CODEX)
}

#[test]
fn claude_keeps_what_it_does_not_set() {
    let raw = r#"{"access_token":"a1","refresh_token":"r1","expires_in":28800,"account":{"uuid":"u"}}"#;
    let (committed, text) = refreshed(claude(), &claude_login(1), raw, |_| {});
    assert!(matches!(committed, Committed::Written(_)));
    let expected = claude_login(28_810_000).replace("a0", "a1").replace("r0", "r1");
    assert_eq!(text.unwrap(), expected);
    // An answer without a refresh token keeps the old one, also when it is written twice.
    let (_, text) =
        refreshed(claude(), &claude_login(1), r#"{"access_token":"a1","expires_in":28800}"#, |_| {});
    assert_eq!(text.unwrap(), claude_login(28_810_000).replace("a0", "a1"));
}

#[test]
fn a_file_that_the_client_emptied_is_filled_and_a_new_login_is_not_touched() {
    let raw = r#"{"access_token":"a1","refresh_token":"r1","expires_in":28800}"#;
    let emptied = claude_login(0).replace("a0", "").replace("r0", "");
    let (committed, text) = refreshed(claude(), &claude_login(1), raw, |file| {
        write_private(file, emptied.as_bytes());
    });
    assert!(matches!(committed, Committed::Written(_)));
    assert_eq!(text.unwrap(), claude_login(28_810_000).replace("a0", "a1").replace("r0", "r1"));

    let new = claude_login(9_999_999_999_999).replace("r0", "other");
    let (committed, text) = refreshed(claude(), &claude_login(1), raw, |file| {
        write_private(file, new.as_bytes());
    });
    assert!(matches!(committed, Committed::SetAside(SetAsideReason::OtherLogin)));
    assert_eq!(text.unwrap(), new);
}

#[test]
fn codex_keeps_what_it_does_not_set() {
    let raw = r#"{"access_token":"a1","refresh_token":"r1"}"#;
    let (committed, text) = refreshed(codex(), CODEX_LOGIN, raw, |_| {});
    assert!(matches!(committed, Committed::Written(_)));
    let text = text.unwrap();
    let (before, last_refresh) = text.split_once("  \"last_refresh\": ").unwrap();
    assert_eq!(
        before,
        CODEX_LOGIN.replace("a0", "a1").replace("r0", "r1").split_once("  \"last_r").unwrap().0
    );
    assert!(
        last_refresh.starts_with("\"1970-01-01T00:00:10") && last_refresh.ends_with("\"\n}\n"),
        "{last_refresh}"
    );
}

#[test]
fn a_codex_login_that_became_an_api_key_stays_one() {
    let key = r#"{"OPENAI_API_KEY":"sk-key","tokens":null}"#;
    let (committed, text) =
        refreshed(codex(), CODEX_LOGIN, r#"{"access_token":"a1","refresh_token":"r1"}"#, |file| {
            write_private(file, key.as_bytes());
        });
    assert!(matches!(committed, Committed::SetAside(SetAsideReason::OtherLogin)));
    assert_eq!(text.unwrap(), key);
}

#[test]
fn what_a_file_holds() {
    let now = SystemTime::now();
    let millis = |at: SystemTime| {
        u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    };
    let token = |text: &str| Stored::RefreshToken(Secret::new(text));
    assert_eq!(CLAUDE.stored(claude_login(1).as_bytes()), Ok(token("r0")));
    assert_eq!(CODEX.stored(CODEX_LOGIN.as_bytes()), Ok(token("r0")));
    assert_eq!(CODEX.stored(br#"{"OPENAI_API_KEY":"k"}"#), Ok(Stored::OtherKind));
    assert_eq!(
        CLAUDE.stored(claude_login(1).replace("a0", "").replace("r0", "").as_bytes()),
        Ok(Stored::LoggedOut)
    );
    for format in [CLAUDE, CODEX] {
        assert!(format.stored(b"[]").is_err() && format.stored(b"{").is_err());
        assert_eq!(format.stored(b"{}"), Ok(Stored::LoggedOut));
    }
    let forced = |failed: &str| Reason::Forced { failed: Secret::new(failed) };
    let long = claude_login(millis(now + Duration::from_secs(3600)));
    let short = claude_login(millis(now + Duration::from_secs(200)));
    let over = claude_login(millis(now - Duration::from_secs(200)));
    for (login, reason, is_fresh) in [
        (&long, Reason::Proactive, true),
        (&short, Reason::Proactive, false),
        (&over, Reason::Proactive, false),
        (&long, forced("a0"), false),
        (&long, forced("b0"), true),
        (&over, forced("b0"), false),
    ] {
        assert_eq!(CLAUDE.is_fresh(login.as_bytes(), &reason, now), is_fresh, "{reason:?}");
    }
    let _: &dyn LoginFormat = CODEX.0;
}
