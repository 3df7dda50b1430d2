//! Of what goes over WebSockets, and of who pays for it, nothing is written, and nothing reaches the client.

use serde_json::json;
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::codex::{Account, CodexApi, LimitEvents, TurnScript, error};
use trunkline_testkit::websocket::{Link, upgrade};
use trunkline_testkit::{TempDir, Upstream};

use crate::support::codex::{RESPONSES, login, service};
use crate::support::socket::{ask, create, good_turn, turn};
use crate::support::{config, trunkline, with};

#[tokio::test]
async fn no_secret_is_written_or_told() {
    for level in ["debug", "trace"] {
        let secrets =
            ["user", "access-a", "refresh-a", "access-b", "refresh-b", "content", "reply", "state", "header"]
                .map(Canary::new);
        let [user, access_a, refresh_a, access_b, refresh_b, content, reply, state, header] = &secrets;
        let account = |label: &str, access: &Canary, refresh: &Canary| {
            Account::new(label).access_token(access.token()).refresh_token(refresh.token())
        };
        let api = CodexApi::new([account("a", access_a, refresh_a), account("b", access_b, refresh_b)]);
        api.set_reply(reply.token());
        api.set_limit_events(LimitEvents::First);
        let upstream = Upstream::start(api.clone()).await.unwrap();
        let home = TempDir::new().unwrap();
        let mut service = service(&upstream.url(), &[login(&home, &api, "a"), login(&home, &api, "b")]);
        service["users"][0]["token"] = json!(user.token());
        let config = with(config(&service), json!({ "log": { "level": level } }));
        let mut trunkline = trunkline().config(&config).start().await.unwrap();
        let request =
            upgrade(RESPONSES).bearer(user.token()).header("session-id", "s").header("x-own", header.token());
        let mut told = Vec::new();
        let mut asked = create();
        asked["input"][0]["content"][0]["text"] = json!(content.token());
        asked["client_metadata"] = json!({ "x-codex-turn-state": state.token() });
        for failure in [None, Some(503), Some(429)] {
            if let Some(status) = failure {
                if status == 503 {
                    api.revoke_access("b");
                }
                api.next_upgrade("a", error(status, "authentication_error", None, "scripted"));
            }
            let mut link = Link::open(trunkline.addr().unwrap(), &request).await.unwrap();
            told.extend(format!("{:?}", link.head()).into_bytes());
            good_turn(&mut link, &create()).await;
            api.next_turn("a", TurnScript::error(429, "usage_limit_reached", None, &[]));
            ask(&mut link, &asked).await;
            for event in turn(&mut link).await {
                told.extend(event.to_string().into_bytes());
            }
            link.send_text(format!("{{\"type\": {:?}", content.token())).await.unwrap();
            told.extend(format!("{:?}", link.message().await.unwrap()).into_bytes());
        }
        let output = trunkline.stop().await.unwrap();
        let mut all = secrets.to_vec();
        all.extend(api.issued());
        all.push(api.cookie());
        let written = [output.stderr.join("\n"), output.stdout.join("\n")].concat();
        assert_eq!(find_leaks(written.as_bytes(), &all), Vec::new(), "{level}");
        let of_account: Vec<_> =
            all.iter().filter(|secret| ![content, reply].contains(secret)).cloned().collect();
        assert_eq!(find_leaks(&told, &of_account), Vec::new());
    }
}
