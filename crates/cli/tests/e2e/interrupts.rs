//! Requests that wait for the head of an answer, while their credential goes out of use (routing.md, *Interrupts*).

use serde_json::json;
use tokio::task::JoinHandle;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::{Ended, Response};
use trunkline_testkit::{PATIENCE, Script, Signal, sse};

use crate::pool::{Pool, Running, ask};
use crate::support::Protocol;

/// Sends a request to the first account, which answers by `script`, and waits until the account has it.
async fn begin(running: &Running<'_>, protocol: Protocol, script: Script) -> JoinHandle<Response> {
    let (addr, began) = (running.addr(), Signal::new());
    running.pool.api.next("a", Script::new().announce(&began).then(script));
    let waiting = tokio::spawn(async move { protocol.send(addr, &ask(true)).await });
    began.reached().await.unwrap();
    waiting
}

async fn ended(waiting: JoinHandle<Response>) -> Response {
    tokio::time::timeout(PATIENCE, waiting).await.expect("it moves at once").unwrap()
}

#[tokio::test]
async fn all_that_wait_move_when_their_credential_becomes_unavailable() {
    for protocol in Protocol::BOTH {
        let pool = Pool::new(&["a", "b"], "fallback").await;
        let running = pool.start().await;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(begin(&running, protocol, Script::new().stall()).await);
        }
        // The next one finds out that the token is good no more, and that no other can be had.
        pool.api.revoke_access("a");
        assert_eq!(running.send(&ask(false)).await.status(), 200);
        running.state("a", "unavailable: refused by the provider").await;
        for waiting in waiting {
            let moved = ended(waiting).await;
            assert_eq!((moved.status(), moved.end), (200, Ended::Complete), "{}", moved.text());
            assert!(moved.text().contains("scripted"), "{}", moved.text());
        }
        assert_eq!(pool.served(), [5, 6], "each once more, and no other time");
        let status = running.service_status().await;
        assert_eq!(status["failovers"], 6);
        for failover in status["recent_failovers"].as_array().unwrap() {
            assert_eq!((&failover["from"], &failover["to"]), (&json!("a"), &json!("b")));
        }
    }
}

#[tokio::test]
async fn a_request_that_has_nowhere_to_go_waits_on() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.credential("b", json!({ "models": ["*haiku*"] }));
    let running = pool.start().await;
    let go_on = Signal::new();
    let waiting =
        begin(&running, Protocol::Http1, Script::new().wait(&go_on).then(Script::text(200, "at last"))).await;
    pool.api.set_limits("a", Limits::five_hour_rejected());
    assert_eq!(running.send(&ask(false)).await.status(), 429);
    running.state("a", "rate_limited").await;
    go_on.set();
    let answered = ended(waiting).await;
    assert_eq!((answered.status(), answered.text().as_str()), (200, "at last"));
}

#[tokio::test]
async fn what_the_provider_still_serves_is_not_interrupted() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.credential("a", json!({ "limit_5h": 50 }));
    let running = pool.start().await;
    let go_on = Signal::new();
    let answer = || Script::new().wait(&go_on).then(Script::text(200, "of a"));
    let mut waiting = Vec::new();
    for protocol in Protocol::BOTH {
        waiting.push(begin(&running, protocol, answer()).await);
    }
    // A refusal of the moment keeps new sessions away, and a cap everybody: neither is about these.
    pool.api.next("a", error(429, "rate_limit_error", "of the moment").header("retry-after", "1"));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    // Lines are not missed, as a state that lasts a second may be.
    let (trunkline, arrow) = (&running.trunkline, '\u{2192}');
    let begins = format!("credential a: usable {arrow} blocked (burst");
    trunkline.stderr_line(|line| line.contains(&begins)).await.unwrap();
    let ends = format!("credential a: blocked {arrow} usable");
    trunkline.stderr_line(|line| line.contains(&ends)).await.unwrap();
    pool.api.set_limits("a", Limits::allowed(0.6, 0.3));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("a", "capped: at its limit (5h)").await;
    let served = pool.served();
    go_on.set();
    for waiting in waiting {
        let answered = ended(waiting).await;
        assert_eq!((answered.status(), answered.text().as_str()), (200, "of a"));
    }
    assert_eq!(pool.served(), served, "nobody was asked again");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_touched() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let (go_on, began) = (Signal::new(), Signal::new());
    let event = |text: &str| sse::event("message_start", &json!({ "type": "message_start", "of": text }));
    // Its head is in, and held back: no event has told anything yet.
    let silent = Script::sse([sse::comment("wait")]).announce(&began).wait(&go_on).chunk(event("late"));
    let waiting = begin(&running, Protocol::Http2, silent).await;
    began.reached().await.unwrap();
    pool.api.set_limits("a", Limits::five_hour_rejected());
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("a", "rate_limited").await;
    let served = pool.served();
    go_on.set();
    let answered = ended(waiting).await;
    assert!(answered.text().contains("\"late\""), "{}", answered.text());
    assert_eq!((answered.end, pool.served()), (Ended::Complete, served));
}
