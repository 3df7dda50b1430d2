//! A provider, or what stands before it, that answers with a change of protocol (101) which nobody asked for: that is no
//! answer, and nothing of it goes to the client (routing.md, *Failures before the first response byte*).

use trunkline_testkit::Script;
use trunkline_testkit::client::Ended;

use crate::pool::{Pool, ask};
use crate::support::codex::{CodexPool, send, turn_in};
use crate::support::{Protocol, passing_refusal};

/// As RFC 9110 has it, and without the headers that it must have.
fn unasked() -> [Script; 3] {
    let whole = || Script::status(101).header("connection", "upgrade").header("upgrade", "websocket");
    [Script::status(101), whole(), whole().header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]
}

#[tokio::test]
async fn a_request_goes_on_elsewhere_once() {
    for protocol in Protocol::BOTH {
        for is_streamed in [false, true] {
            for script in unasked() {
                let pool = Pool::new(&["a", "b", "c"], "fallback").await;
                let running = pool.start().await;
                pool.api.next("a", script.clone());
                let response = protocol.send(running.addr(), &ask(is_streamed)).await;
                assert_eq!((response.status(), response.end), (200, Ended::Complete), "{}", response.text());
                assert_eq!(pool.served(), [1, 1, 0]);
                assert_eq!(running.service_status().await["failovers"], 1);
                // It is one hop: what comes then is passed through, and there is nothing of this that could be.
                pool.api.next("a", script.clone());
                pool.api.next("b", script);
                let response = protocol.send(running.addr(), &ask(is_streamed)).await;
                passing_refusal(&response, 502, "api_error");
                assert_eq!(pool.served(), [2, 2, 0]);
            }
        }
    }
}

/// There is no such status over HTTP/2 (RFC 9113, 8.6).
#[tokio::test]
async fn over_http2_it_is_no_answer_either() {
    let pool = Pool::over_http2(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    for is_streamed in [false, true] {
        let before = pool.served();
        pool.api.next("a", Script::status(101));
        let response = Protocol::Http1.send(running.addr(), &ask(is_streamed)).await;
        assert_eq!((response.status(), response.end), (200, Ended::Complete), "{}", response.text());
        assert_eq!(pool.served(), [before[0] + 1, before[1] + 1]);
    }
}

/// A service that knows WebSockets takes one for none, where a POST was answered with it.
#[tokio::test]
async fn a_turn_of_codex_goes_on_elsewhere() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    pool.api.next("a", Script::status(101).header("connection", "upgrade").header("upgrade", "websocket"));
    let response = send(&running, &turn_in("s")).await;
    assert_eq!((response.status(), response.end), (200, Ended::Complete), "{}", response.text());
    assert_eq!(pool.served(), [1, 1]);
}
