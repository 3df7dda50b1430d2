//! How WebSockets end: at the boundaries of turns when they must, and each side's end as it was.

use std::time::Duration;

use serde_json::json;
use trunkline_testkit::Signal;
use trunkline_testkit::client::Ended;
use trunkline_testkit::codex::{LimitEvents, Limits, TurnScript};
use trunkline_testkit::upstream::Cut;
use trunkline_testkit::websocket::{Frame, Link, Message, accept};

use crate::pool::status_of;
use crate::support::socket::{Set, ask, create, good_turn, is_restarted, next, turn};

/// A client amid a turn, which ends when the signal is set.
async fn amid_a_turn(set: &Set, session: &str) -> (Link, Signal) {
    let go_on = Signal::new();
    let output = json!({ "type": "response.output_text.delta", "delta": "x" });
    set.api.next_turn("a", TurnScript::new().event(output).wait(&go_on).go_on());
    let mut link = set.open(session).await;
    ask(&mut link, &create()).await;
    assert_eq!(next(&mut link).await["delta"], "x");
    (link, go_on)
}

#[tokio::test]
async fn a_drain_ends_idle_sockets_at_once_and_others_behind_their_turn() {
    let mut set = Set::with(&["a"], |config| config["drain_timeout"] = json!("10m")).await;
    let mut idle = set.open("idle").await;
    good_turn(&mut idle, &create()).await;
    let (mut busy, go_on) = amid_a_turn(&set, "busy").await;
    set.trunkline.signal("TERM").await.unwrap();
    is_restarted(&mut idle).await;
    go_on.set();
    assert_eq!(turn(&mut busy).await.last().unwrap()["type"], "response.completed");
    is_restarted(&mut busy).await;
    let output = set.trunkline.wait_exit().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn a_drain_s_deadline_ends_turns_too() {
    let mut set = Set::with(&["a"], |config| config["drain_timeout"] = json!("200ms")).await;
    let (mut busy, _go_on) = amid_a_turn(&set, "busy").await;
    set.trunkline.signal("TERM").await.unwrap();
    is_restarted(&mut busy).await;
    set.trunkline.wait_exit().await.unwrap();
}

#[tokio::test]
async fn another_configuration_ends_sockets_at_their_boundary() {
    let set = Set::new(&["a"]).await;
    let mut idle = set.open("idle").await;
    let (mut busy, go_on) = amid_a_turn(&set, "busy").await;
    let path = set.trunkline.home().path().join("trunkline.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["services"][0]["headers"] = json!({ "x-team": "blue" });
    set.trunkline.home().write("trunkline.json", config.to_string()).unwrap();
    set.trunkline.signal("HUP").await.unwrap();
    is_restarted(&mut idle).await;
    go_on.set();
    assert_eq!(turn(&mut busy).await.last().unwrap()["type"], "response.completed");
    is_restarted(&mut busy).await;
    let mut again = set.open("idle").await;
    good_turn(&mut again, &create()).await;
    let heads = set.upstream.requests();
    let last = heads.iter().rfind(|head| head.target.ends_with("/responses")).unwrap();
    assert_eq!(last.headers.get("x-team"), Some("blue"));
}

#[tokio::test]
async fn a_credential_that_is_of_no_more_use_ends_its_idle_sockets() {
    let set = Set::new(&["a", "b"]).await;
    let mut idle = set.open("s").await;
    good_turn(&mut idle, &create()).await;
    let mut other = set.open("t").await;
    set.api.next_turn("a", TurnScript::error(429, "usage_limit_reached", None, &[]));
    good_turn(&mut other, &create()).await;
    is_restarted(&mut idle).await;
    // The one that moved is not concerned.
    good_turn(&mut other, &create()).await;
    assert_eq!(set.api.served("b"), 2);
}

#[tokio::test]
async fn a_session_that_is_sent_elsewhere_ends_its_socket() {
    let set = Set::with(&["a", "b"], |config| {
        let pool = config["services"][0]["credentials"][2].as_object_mut().unwrap();
        pool.insert("type".to_owned(), json!("balancer"));
        pool.insert("strategy".to_owned(), json!("least_used"));
        pool.insert("rebalance_threshold".to_owned(), json!(20));
    })
    .await;
    for label in ["a", "b"] {
        set.api.set_limits(label, Limits::used(10.0, 10.0));
    }
    set.api.set_limit_events(LimitEvents::First);
    let mut idle = set.open("s").await;
    good_turn(&mut idle, &create()).await;
    let used = if set.api.served("a") == 1 { "a" } else { "b" };
    set.api.set_limits(used, Limits::used(80.0, 80.0));
    good_turn(&mut idle, &create()).await;
    status_of(&set.trunkline, |credentials| {
        credentials.iter().any(|one| one["windows"][0]["used_percent"].as_f64() == Some(80.0))
    })
    .await;
    // The next to come finds that the other is used much less.
    let mut again = set.open("s").await;
    is_restarted(&mut idle).await;
    good_turn(&mut again, &create()).await;
    assert_eq!(set.api.served(used), 2);
    set.is_content();
}

#[tokio::test]
async fn closes_and_cuts_are_passed_on_as_they_were() {
    let set = Set::new(&["a"]).await;
    for (code, reason) in
        [(1000, "bye"), (1003, ""), (1011, "oops"), (1013, "later"), (1014, "gateway"), (4000, "own")]
    {
        let mut link = set.open("s").await;
        set.api.next_turn("a", TurnScript::new().close(code, reason));
        ask(&mut link, &create()).await;
        assert_eq!(link.message().await.unwrap(), Message::Close(Some((code, reason.to_owned()))));
    }
    for cut in [Cut::Reset, Cut::Close] {
        let mut link = set.open("s").await;
        let output = json!({ "type": "response.output_text.delta", "delta": "x" });
        set.api.next_turn("a", TurnScript::new().event(output).cut(cut));
        ask(&mut link, &create()).await;
        assert_eq!(next(&mut link).await["delta"], "x");
        assert!(matches!(link.message().await.unwrap(), Message::End(Ended::Complete | Ended::Reset)));
    }
}

/// What may not stand on the wire becomes 1011 on the other side, and its sender is told that it broke the rules.
#[tokio::test]
async fn closes_of_no_code_become_1011() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        let (told, mut heard) = tokio::sync::mpsc::channel(2);
        let set = Set::with_sockets(&["a"], move |request| {
            let told = told.clone();
            Some(accept(request).converse(move |mut link: Link| {
                let told = told.clone();
                async move {
                    if link.message().await.is_ok_and(|message| message == Message::Text("close".into())) {
                        link.send(Frame::close(code, "why")).await.unwrap();
                    }
                    let _ = told.send(link.message().await.unwrap()).await;
                }
            }))
        })
        .await;
        let mut link = set.open("s").await;
        link.send_text("close").await.unwrap();
        assert!(matches!(link.message().await.unwrap(), Message::Close(Some((1011, _)))), "{code}");
        let reply = trunkline_testkit::bounded("a close", heard.recv()).await.unwrap().unwrap();
        assert!(matches!(reply, Message::Close(Some((1002, _)))), "{code}: {reply:?}");
        // The other way round.
        let mut link = set.open("s").await;
        link.send_text("go on").await.unwrap();
        link.send(Frame::close(code, "why")).await.unwrap();
        assert!(matches!(link.message().await.unwrap(), Message::Close(Some((1002, _)))), "{code}");
        let told = trunkline_testkit::bounded("a close", heard.recv()).await.unwrap().unwrap();
        assert!(matches!(told, Message::Close(Some((1011, _)))), "{code}: {told:?}");
    }
}

#[tokio::test]
async fn a_silent_turn_is_ended_and_a_silent_connection_is_not() {
    let set = Set::with(&["a"], |config| {
        config["services"][0]["timeouts"] = json!({ "idle": "3s" });
    })
    .await;
    let mut idle = set.open("idle").await;
    let (mut silent, _go_on) = amid_a_turn(&set, "busy").await;
    let end = silent.message().await.unwrap();
    assert!(matches!(end, Message::Close(Some((1001, _)))), "{end:?}");
    good_turn(&mut idle, &create()).await;
}

#[tokio::test]
async fn pings_are_answered_by_this_side() {
    let set = Set::new(&["a"]).await;
    let mut link = set.open("s").await;
    for payload in ["one", "two"] {
        link.send(Frame::ping(payload)).await.unwrap();
    }
    good_turn(&mut link, &create()).await;
    assert_eq!(link.pongs().collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn a_slow_reader_stalls_nobody_else() {
    let set = Set::new(&["a"]).await;
    let mut slow = set.open("slow").await;
    // More than all buffers between hold.
    let long = json!({ "type": "response.output_text.delta", "delta": "x".repeat(1 << 20) });
    let end = Signal::new();
    let mut script = TurnScript::new();
    for _ in 0..64 {
        script = script.event(long.clone());
    }
    set.api.next_turn("a", script.announce(&end).go_on());
    ask(&mut slow, &create()).await;
    for session in 0..20 {
        let mut link = set.open(&format!("other-{session}")).await;
        good_turn(&mut link, &create()).await;
    }
    // The provider is held up by the one who does not read.
    assert!(tokio::time::timeout(Duration::from_millis(200), end.wait()).await.is_err());
    let events = turn(&mut slow).await;
    assert_eq!(events.iter().filter(|event| **event == long).count(), 64);
}
