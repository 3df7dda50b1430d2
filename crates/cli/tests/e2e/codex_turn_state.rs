//! The state of a turn goes to the credential that issued it, and to no other (codex.md, *Turn state*).

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::client::{Request, Response};
use trunkline_testkit::codex::{Limits, error};

use crate::pool::state_of;
use crate::support::codex::{CodexPool, send, turn_in};

const STATE: &str = "x-codex-turn-state";

fn state(response: &Response) -> String {
    assert_eq!(response.status(), 200, "{}", response.text());
    response.header(STATE).unwrap().to_owned()
}

fn with_state(request: Request, state: &str) -> Request {
    request.header(STATE, state)
}

/// The states that the provider was sent, turn by turn.
async fn sent(pool: &CodexPool) -> Vec<Option<String>> {
    let mut states = Vec::new();
    let turns = pool.api.asked().len();
    while states.len() < turns {
        let received = pool.upstream.next_request().await.unwrap();
        if received.target.ends_with("/responses") {
            states.push(received.headers.get(STATE).map(str::to_owned));
        }
    }
    states
}

#[tokio::test]
async fn it_comes_back_to_its_issuer_and_is_left_out_after_a_move() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    let of_a = state(&send(&running, &turn_in("one")).await);
    // The next request of the turn, with the same account.
    let again = state(&send(&running, &with_state(turn_in("one"), &of_a)).await);
    assert_eq!(again, of_a);
    // In the middle of the turn the account's limit is reached: the other one begins anew.
    pool.api.set_limits("a", Limits::primary_reached());
    let of_b = state(&send(&running, &with_state(turn_in("one"), &of_a)).await);
    assert_ne!(of_b, of_a);
    assert_eq!(pool.served(), [3, 1]);
    // The client goes on with the state that it got first, as it does (fact sheet, 2): it still belongs to the other.
    send(&running, &with_state(turn_in("one"), &of_a)).await;
    // A new turn begins with a state of the present one, which comes back there.
    send(&running, &with_state(turn_in("one"), &of_b)).await;
    assert_eq!(pool.served(), [3, 3]);
    let states = sent(&pool).await;
    assert_eq!(states, [None, Some(of_a.clone()), Some(of_a), None, None, Some(of_b)]);
    assert_eq!(pool.api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hop_in_the_middle_of_a_turn_takes_none_along() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    let of_a = state(&send(&running, &turn_in("one")).await);
    pool.api.next("a", error(500, "server_error", None, "once"));
    let response = send(&running, &with_state(turn_in("one"), &of_a)).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    // The session stays where it was, and so does its state.
    assert_eq!(send(&running, &with_state(turn_in("one"), &of_a)).await.status(), 200);
    let states = sent(&pool).await;
    assert_eq!(states, [None, Some(of_a.clone()), None, Some(of_a)]);
    assert_eq!(pool.api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_nobody_remembers_goes_where_the_session_was() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let mut before = pool.start().await;
    let of_a = state(&send(&before, &turn_in("one")).await);
    assert!(before.stop().await.unwrap().status.success());
    // After a restart: the binding was stored, and tells whose it is.
    let after = pool.start().await;
    assert_eq!(state(&send(&after, &with_state(turn_in("one"), &of_a)).await), of_a);
    // A session that is not known: it could be anybody's.
    pool.api.next("a", Script::json(200, &json!({})));
    assert_eq!(send(&after, &with_state(turn_in("two"), "of-nobody")).await.status(), 200);
    let states = sent(&pool).await;
    assert_eq!(states, [None, Some(of_a), None]);
    state_of(&after, "a", "usable").await;
}
