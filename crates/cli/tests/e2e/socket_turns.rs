//! Turns on a WebSocket: what is checked, moved to another credential, replaced and written down.

use std::time::Duration;

use serde_json::{Value, json};
use trunkline_testkit::client::Ended;
use trunkline_testkit::codex::{LimitEvents, Limits, TurnScript};
use trunkline_testkit::upstream::Cut;
use trunkline_testkit::websocket::{Frame, Link, Message, Upgraded};
use trunkline_testkit::{Script, Signal};

use crate::support::socket::{Set, ask, asking, create, create_after, good_turn, next, turn};

fn limited() -> TurnScript {
    let limits = Limits::primary_reached();
    let headers: Vec<_> =
        limits.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    TurnScript::error(429, "usage_limit_reached", None, &headers)
}

fn with_state(mut create: Value, state: &Value) -> Value {
    create["client_metadata"] = json!({ "x-codex-turn-state": state });
    create
}

fn state_of(events: &[Value]) -> Value {
    let metadata = events.iter().find(|event| event["type"] == "response.metadata").unwrap();
    metadata["headers"]["x-codex-turn-state"].clone()
}

#[tokio::test]
async fn turn_after_turn_goes_on_over_one_connection() {
    let set = Set::new(&["a"]).await;
    let mut link = set.open("s").await;
    let mut prewarm = create();
    prewarm["generate"] = json!(false);
    let mut previous = good_turn(&mut link, &prewarm).await;
    for _ in 0..3 {
        previous = good_turn(&mut link, &create_after(&previous)).await;
    }
    // A prewarm is no turn, and gets no line.
    let lines = |set: &Set| set.trunkline.stderr().iter().filter(|line| line.contains("gpt-5.5")).count();
    set.trunkline.nth_stderr_line(3, |line| line.contains("gpt-5.5")).await.unwrap();
    assert_eq!(lines(&set), 3);
    let line = set.trunkline.stderr_line(|line| line.contains("gpt-5.5")).await.unwrap();
    for part in ["alice", "\"s\"", "200", "ok"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(set.api.served("a"), 3);
    set.is_content();
}

#[tokio::test]
async fn a_limit_before_any_output_moves_the_turn_unseen() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    set.api.next_turn("a", limited());
    let first = good_turn(&mut link, &create()).await;
    assert_eq!((set.api.served("a"), set.api.served("b")), (1, 1));
    // The connection is the other's now, and knows its responses.
    good_turn(&mut link, &create_after(&first)).await;
    assert_eq!(set.api.served("b"), 2);
    set.is_content();
}

#[tokio::test]
async fn the_beginning_of_a_response_is_no_output() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    let created = json!({ "type": "response.created", "response": { "id": "resp_x" } });
    let mut script = TurnScript::new().event(created);
    script = script.event(json!({
        "type": "error", "status": 429, "error": { "type": "usage_limit_reached", "message": "scripted" },
    }));
    set.api.next_turn("a", script);
    ask(&mut link, &create()).await;
    let events = turn(&mut link).await;
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    assert_eq!(set.api.served("b"), 1);
}

#[tokio::test]
async fn behind_output_the_error_is_the_client_s_with_the_pool_s_limits() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    let output = json!({ "type": "response.output_text.delta", "delta": "x" });
    let error = json!({
        "type": "error", "status": 429, "error": { "type": "usage_limit_reached", "message": "scripted" },
        "headers": { "x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300", "x-other": "1" },
    });
    set.api.next_turn("a", TurnScript::new().event(output).event(error));
    ask(&mut link, &create()).await;
    let events = turn(&mut link).await;
    assert_eq!(events.len(), 2);
    let error = &events[1];
    assert_eq!(error["error"]["message"], "scripted");
    assert_eq!(error["headers"]["x-other"], "1");
    // Half the pool.
    assert_ne!(error["headers"]["x-codex-primary-used-percent"], "100", "{error}");
    assert_eq!(set.api.served("b"), 0);
    // The credential is of no more use: the client is to come again, and gets the other.
    assert!(matches!(link.message().await.unwrap(), Message::Close(Some((1012, _)))));
    let mut again = set.open("s").await;
    good_turn(&mut again, &create()).await;
    assert_eq!(set.api.served("b"), 1);
}

#[tokio::test]
async fn a_turn_that_goes_on_from_another_is_dropped_without_a_word_twice_a_minute() {
    let set = Set::new(&["a"]).await;
    let mut link = set.open("s").await;
    let first = good_turn(&mut link, &create()).await;
    drop(link);
    // Alone, there is nobody to come back to: the error is told.
    let mut link = set.open("s").await;
    let previous = good_turn(&mut link, &create()).await;
    assert_ne!(first, previous);
    set.api.next_turn("a", limited());
    ask(&mut link, &create_after(&previous)).await;
    assert!(is_own_error(&turn(&mut link).await[0], 429));

    let set = Set::new(&["a", "b", "c", "d"]).await;
    for label in ["a", "b"] {
        let mut link = set.open("s").await;
        let previous = good_turn(&mut link, &create()).await;
        set.api.next_turn(label, limited());
        ask(&mut link, &create_after(&previous)).await;
        assert!(
            matches!(link.message().await.unwrap(), Message::End(Ended::Complete | Ended::Reset)),
            "{label}"
        );
    }
    let mut link = set.open("s").await;
    let previous = good_turn(&mut link, &create()).await;
    set.api.next_turn("c", limited());
    ask(&mut link, &create_after(&previous)).await;
    let error = next(&mut link).await;
    assert_eq!(error["status"], 429, "{error}");
    set.is_content();
}

#[tokio::test]
async fn all_used_up_within_a_turn_is_one_clean_error() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    for label in ["a", "b"] {
        set.api.next_turn(label, limited());
    }
    ask(&mut link, &create()).await;
    let events = turn(&mut link).await;
    assert_eq!(events.len(), 1);
    let error = &events[0];
    assert_eq!((error.get("status"), &error["status_code"]), (None, &json!(429)));
    assert_eq!(error["error"]["type"], "usage_limit_reached");
    assert!(error["headers"].as_object().unwrap().values().all(Value::is_string), "{error}");
}

#[tokio::test]
async fn a_refused_token_within_a_turn_is_refreshed_and_the_turn_sent_again() {
    let set = Set::new(&["a"]).await;
    let mut link = set.open("s").await;
    set.api.revoke_access("a");
    set.api.next_turn("a", TurnScript::error(401, "authentication_error", None, &[]));
    good_turn(&mut link, &create()).await;
    assert_eq!((set.api.served("a"), set.api.refreshes("a")), (2, 1));
    set.is_content();
}

#[tokio::test]
async fn the_age_of_a_connection_says_nothing_of_its_credential() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    set.api.next_turn("a", TurnScript::connection_limit());
    ask(&mut link, &create()).await;
    assert_eq!(turn(&mut link).await[0]["error"]["code"], "websocket_connection_limit_reached");
    let mut again = set.open("s").await;
    good_turn(&mut again, &create()).await;
    assert_eq!(set.api.served("b"), 0);
}

#[tokio::test]
async fn limits_are_shown_as_the_pool_has_them() {
    for place in [LimitEvents::First, LimitEvents::BeforeEnd, LimitEvents::AfterEnd] {
        let set = Set::new(&["a", "b"]).await;
        set.api.set_limits("a", Limits::used(40.0, 10.0));
        set.api.set_limit_events(place);
        let mut link = set.open("s").await;
        ask(&mut link, &create()).await;
        let mut events = turn(&mut link).await;
        if place == LimitEvents::AfterEnd {
            events.push(next(&mut link).await);
        }
        let told: Vec<_> = events.iter().filter(|event| event["type"] == "codex.rate_limits").collect();
        let last = told.last().unwrap();
        let used = last["rate_limits"]["primary"]["used_percent"].as_f64().unwrap();
        assert!((20.0..=30.0).contains(&used), "{place:?}: {last}");
    }
    // What the user may see of the account itself passes as it is.
    let set = Set::with(&["a"], |config| {
        config["services"][0]["users"][0]["rate_limit_headers"] = json!("passthrough");
    })
    .await;
    set.api.set_limits("a", Limits::used(40.0, 10.0));
    set.api.set_limit_events(LimitEvents::First);
    let mut link = set.open("s").await;
    ask(&mut link, &create()).await;
    let event = next(&mut link).await;
    assert_eq!(event["rate_limits"]["primary"]["used_percent"].as_f64(), Some(40.0), "{event}");
}

#[tokio::test]
async fn turn_state_stays_with_its_account() {
    let set = Set::new(&["a", "b"]).await;
    let mut link = set.open("s").await;
    ask(&mut link, &create()).await;
    let state = state_of(&turn(&mut link).await);
    // In the same turn, on the same connection.
    good_turn(&mut link, &with_state(create(), &state)).await;
    assert_eq!(set.api.asked().last().unwrap().body["client_metadata"]["x-codex-turn-state"], state);
    // The turn moves.
    set.api.next_turn("a", limited());
    good_turn(&mut link, &with_state(create(), &state)).await;
    assert_eq!(set.api.asked().last().unwrap().body["client_metadata"], json!({}));
    // What the client still has of the first is not told to the second; what the second gives is.
    ask(&mut link, &with_state(create(), &state)).await;
    let other = state_of(&turn(&mut link).await);
    good_turn(&mut link, &with_state(create(), &other)).await;
    assert_eq!(set.api.asked().last().unwrap().body["client_metadata"]["x-codex-turn-state"], other);
    set.is_content();
}

#[tokio::test]
async fn what_a_user_may_not_ask_for_is_refused_and_the_connection_goes_on() {
    let set = Set::with(&["a"], |config| {
        config["services"][0]["users"][0]["models"] = json!(["gpt-5.5"]);
    })
    .await;
    let mut link = set.open("s").await;
    let mut other = create();
    other["model"] = json!("gpt-7");
    ask(&mut link, &other).await;
    let events = turn(&mut link).await;
    assert!(is_own_error(&events[0], 400), "{events:?}");
    let message = events[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("gpt-7") && message.contains("available: gpt-5.5"), "{message}");
    good_turn(&mut link, &create()).await;
    // What cannot be read in one way only.
    link.send_text(r#"{"type":"response.create","model":"gpt-7","model":"gpt-5.5"}"#).await.unwrap();
    assert!(is_own_error(&next(&mut link).await, 400));
    good_turn(&mut link, &create()).await;
    assert_eq!(set.api.served("a"), 2);
}

/// Whether an event is an error of ours in the one form that the real client reads: with its status in one spelling, and
/// strings among its headers.
fn is_own_error(event: &Value, status: u16) -> bool {
    event["type"] == "error"
        && event.get("status").is_none()
        && event["status_code"] == status
        && event["headers"].as_object().is_some_and(|headers| headers.values().all(Value::is_string))
}

/// A model that none of the credentials serves is one that the user cannot have.
#[tokio::test]
async fn a_model_that_no_credential_serves_is_refused_by_what_ends_the_turn() {
    let set = Set::with(&["a"], |config| {
        config["services"][0]["credentials"][0]["models"] = json!(["gpt-5.5"]);
    })
    .await;
    let mut link = set.open("s").await;
    let mut other = create();
    other["model"] = json!("gpt-7");
    ask(&mut link, &other).await;
    let error = next(&mut link).await;
    assert!(is_own_error(&error, 400), "{error}");
    good_turn(&mut link, &create()).await;
    assert_eq!(set.api.served("a"), 1);
}

#[tokio::test]
async fn a_close_before_any_output_moves_the_turn_unseen() {
    let created = json!({ "type": "response.created", "response": { "id": "resp_x" } });
    let begun = || TurnScript::new().event(created.clone());
    for script in [
        begun().close(1011, "oops"),
        begun().close(1012, "restart"),
        begun().close(1013, "later"),
        begun().close(4000, "own"),
        begun().cut(Cut::Close),
        begun().cut(Cut::Reset),
    ] {
        let set = Set::new(&["a", "b"]).await;
        let mut link = set.open("s").await;
        good_turn(&mut link, &create()).await;
        set.api.next_turn("a", script.clone());
        good_turn(&mut link, &create()).await;
        assert_eq!((set.api.served("a"), set.api.served("b")), (2, 1));
        set.is_content();
        // One that goes on from another is dropped, so that the client comes again; elsewhere, by the one hop.
        drop(link);
        let set = Set::new(&["a", "b"]).await;
        let mut link = set.open("s").await;
        let previous = good_turn(&mut link, &create()).await;
        set.api.next_turn("a", script.clone());
        ask(&mut link, &create_after(&previous)).await;
        loop {
            match link.message().await.unwrap() {
                Message::Text(_) => {}
                Message::End(Ended::Complete | Ended::Reset) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    // What ends any connection is the client's to see, and so is every close behind output.
    let output = json!({ "type": "response.output_text.delta", "delta": "x" });
    for (script, code) in [
        (begun().close(1000, ""), 1000),
        (begun().close(1001, ""), 1001),
        (begun().event(output).close(1011, ""), 1011),
    ] {
        let set = Set::new(&["a", "b"]).await;
        let mut link = set.open("s").await;
        set.api.next_turn("a", script);
        ask(&mut link, &create()).await;
        let end = loop {
            match link.message().await.unwrap() {
                Message::Text(_) => {}
                other => break other,
            }
        };
        assert!(matches!(end, Message::Close(Some((came, _))) if came == code), "{end:?}");
        assert_eq!(set.api.served("b"), 0);
    }
}

/// A dead account in the shape that the backend uses, as an answer to an upgrade and as an event.
#[tokio::test]
async fn a_dead_account_gives_way_to_another() {
    let dead = json!({ "detail": { "code": "deactivated_workspace" } });
    let set = Set::new(&["a", "b"]).await;
    set.api.next_upgrade("a", Script::json(402, &dead));
    let mut link = set.open("s").await;
    good_turn(&mut link, &create()).await;
    assert_eq!((set.api.served("a"), set.api.served("b"), set.api.refreshes("a")), (0, 1, 0));
    for status in ["status", "status_code"] {
        let mut event = json!({ "type": "error", status: 402 });
        event["detail"] = dead["detail"].clone();
        let set = Set::new(&["a", "b"]).await;
        let mut link = set.open("s").await;
        set.api.next_turn("a", TurnScript::new().event(event));
        good_turn(&mut link, &create()).await;
        assert_eq!((set.api.served("a"), set.api.served("b"), set.api.refreshes("a")), (1, 1, 0));
        // Its success confirms what is said of the first, which is not asked again.
        let mut other = set.open("t").await;
        good_turn(&mut other, &create()).await;
        assert_eq!((set.api.served("a"), set.api.served("b")), (1, 2));
        set.is_content();
    }
}

/// What waits for a credential that is found to be at its limit does not wait for the refusal.
#[tokio::test]
async fn a_turn_that_waits_is_moved_when_its_credential_is_limited() {
    let set = Set::new(&["a", "b"]).await;
    let (never, begun) = (Signal::new(), Signal::new());
    let mut waiting = set.open("s").await;
    let mut other = set.open("t").await;
    set.api.next_turn("a", TurnScript::new().announce(&begun).wait(&never).go_on());
    ask(&mut waiting, &create()).await;
    begun.reached().await.unwrap();
    set.api.next_turn("a", limited());
    good_turn(&mut other, &create()).await;
    assert_eq!(turn(&mut waiting).await.last().unwrap()["type"], "response.completed");
    assert_eq!((set.api.served("a"), set.api.served("b")), (2, 2));
    set.is_content();
}

#[tokio::test]
async fn one_turn_at_a_time() {
    let set = Set::new(&["a"]).await;
    let (go_on, begun) = (Signal::new(), Signal::new());
    set.api.next_turn("a", TurnScript::new().announce(&begun).wait(&go_on).go_on());
    let mut link = set.open("s").await;
    ask(&mut link, &create()).await;
    begun.reached().await.unwrap();
    ask(&mut link, &create()).await;
    assert!(is_own_error(&next(&mut link).await, 400));
    go_on.set();
    assert_eq!(turn(&mut link).await.last().unwrap()["type"], "response.completed");
    assert_eq!(set.api.served("a"), 1);
}

#[tokio::test]
async fn a_token_that_expires_between_turns_ends_them() {
    // On a slow machine the shorter ones have expired before the connection is open.
    for seconds in [2, 10, 60] {
        let soon = jiff::Timestamp::now() + Duration::from_secs(seconds);
        let set = Set::with(&["a"], |config| {
            config["services"][0]["users"][0]["expires"] = json!(soon.to_string());
        })
        .await;
        if let Upgraded::Open(link) =
            Link::connect(set.trunkline.addr().unwrap(), &asking("s")).await.unwrap()
        {
            return ends_at_the_next_turn(link).await;
        }
    }
    panic!("a token that is good for a minute opens nothing");
}

/// Asks for turns until one is refused, since the user's token has expired meanwhile.
async fn ends_at_the_next_turn(mut link: Link) {
    loop {
        ask(&mut link, &create()).await;
        let events = turn(&mut link).await;
        let last = events.last().unwrap();
        if last["type"] == "error" {
            assert!(is_own_error(last, 400), "{last}");
            break;
        }
    }
    link.send(Frame::close(1000, "")).await.unwrap();
}
