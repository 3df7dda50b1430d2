//! What a provider over HTTP/2 says of streams that it does not answer, and of a connection that it is about to end
//! (routing.md, *Failures before the first response byte*).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use trunkline_testkit::client::{Connection, Ended, Frame, H2Client};
use trunkline_testkit::tls::Alpn;
use trunkline_testkit::upstream::{Behaviour, GoAway, Intake, ReceivedRequest, RequestHead};
use trunkline_testkit::{Script, Signal, Upstream, sse};

use crate::pool::{Pool, Running, ask};
use crate::support::{Protocol, connect, message, passing_refusal, serve, service, with};

/// Longer than the second in which a kept connection may turn out to have been closed already.
const OLDER_THAN_STALE: Duration = Duration::from_millis(1_200);

/// The requests for messages, as (connection, which one on it).
fn places(pool: &Pool) -> Vec<(u64, u64)> {
    let requests = pool.upstream.requests();
    let messages = requests.iter().filter(|request| request.path() == "/v1/messages");
    messages.map(|request| (request.connection, request.nth)).collect()
}

async fn failovers(running: &Running<'_>) -> u64 {
    running.service_status().await["failovers"].as_u64().unwrap()
}

/// What says that a request has not been looked at.
fn not_looked_at() -> [Script; 2] {
    // It is up to the client to leave then.
    [Script::new().refuse_stream(), Script::new().go_away(GoAway::LeftOut).stall()]
}

#[tokio::test]
async fn a_request_that_was_not_looked_at_is_sent_again_over_a_new_connection() {
    for script in not_looked_at() {
        let pool = Pool::over_http2(&["a", "b"], "fallback").await;
        let running = pool.start().await;
        let mut client = connect(&running.trunkline).await;
        assert_eq!(client.send(&ask(false)).await.unwrap().status(), 200);
        for is_streamed in [false, true] {
            let before = places(&pool).len();
            pool.api.next("a", script.clone());
            let response = client.send(&ask(is_streamed)).await.unwrap();
            let what = format!("{script:?}: {}", response.text());
            assert_eq!((response.status(), response.end), (200, Ended::Complete), "{what}");
            assert!(response.text().contains("scripted") && !response.text().contains("error"), "{what}");
            let [first, second] = places(&pool)[before..] else { panic!("{what}") };
            assert_ne!(first.0, second.0, "another connection: {what}");
            assert_eq!(second.1, 1, "a new one: {what}");
        }
        assert_eq!(pool.served(), [5, 0]);
        assert_eq!(failovers(&running).await, 0);
        running.state("a", "usable").await;
    }
}

#[tokio::test]
async fn a_provider_that_looks_at_nothing_is_left_for_the_next() {
    for (protocol, script) in Protocol::BOTH.into_iter().zip(not_looked_at()) {
        let pool = Pool::over_http2(&["a", "b"], "fallback").await;
        let running = pool.start().await;
        for is_streamed in [false, true] {
            let before = pool.served();
            (0..2).for_each(|_| pool.api.next("a", script.clone()));
            let response = protocol.send(running.addr(), &ask(is_streamed)).await;
            let what = format!("{script:?}: {}", response.text());
            assert_eq!((response.status(), response.end), (200, Ended::Complete), "{what}");
            assert!(response.text().contains("scripted") && !response.text().contains("error"), "{what}");
            assert_eq!(pool.served(), [before[0] + 2, before[1] + 1], "twice, then the next: {what}");
        }
        running.state("a", "blocked: connection").await;
        assert_eq!(failovers(&running).await, 2);
        assert_eq!(protocol.send(running.addr(), &ask(false)).await.status(), 200);
        assert_eq!(pool.served(), [4, 3], "new sessions go elsewhere");
    }
}

#[tokio::test]
async fn a_request_that_nobody_looks_at_is_refused_in_the_end() {
    for script in not_looked_at() {
        let pool = Pool::over_http2(&["a"], "fallback").await;
        let running = pool.start().await;
        (0..2).for_each(|_| pool.api.next("a", script.clone()));
        let told = passing_refusal(&running.send(&ask(false)).await, 502, "api_error");
        assert_eq!(told, "the provider did not take the request of credential a");
        assert_eq!(pool.served(), [2]);
        // That was the provider's moment.
        assert_eq!(running.send(&ask(true)).await.status(), 200);
    }
}

#[tokio::test]
async fn a_connection_that_ends_in_order_finishes_its_answer() {
    let pool = Pool::over_http2(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let mut client = H2Client::connect(running.addr()).await.unwrap();
    assert_eq!(client.send(&ask(false)).await.unwrap().status(), 200);
    let (said, go_on) = (Signal::new(), Signal::new());
    let event = |text: &str| sse::event("message_start", &json!({ "type": "message_start", "of": text }));
    let script = Script::sse([event("one")]).go_away(GoAway::Included).announce(&said).wait(&go_on);
    pool.api.next("a", script.chunk(event("two")));
    let mut last = client.start(&ask(true)).await.unwrap();
    last.write(ask(true).body_bytes()).await.unwrap();
    last.finish();
    assert_eq!(last.head().await.unwrap().status, 200);
    said.reached().await.unwrap();
    // Others do not wait for it, and do not come too late on its connection.
    assert_eq!(client.send(&ask(false)).await.unwrap().status(), 200);
    assert_eq!(client.send(&ask(true)).await.unwrap().status(), 200);
    go_on.set();
    let mut text = String::new();
    loop {
        match last.frame().await.unwrap() {
            Frame::Data(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Frame::Trailers(_) => {}
            Frame::End(end) => break assert_eq!(end, Ended::Complete),
        }
    }
    assert!(text.contains("\"one\"") && text.ends_with("\"two\"}\n\n"), "{text}");
    let [first, last, next, after] = places(&pool)[..] else { panic!("{:?}", places(&pool)) };
    assert_eq!(first.0, last.0, "the connection was shared");
    assert_ne!(last.0, next.0, "a new connection");
    assert_eq!(next.0, after.0, "which is kept");
    assert_eq!((pool.served(), failovers(&running).await), (vec![4, 0], 0));
    running.state("a", "usable").await;
}

#[tokio::test]
async fn an_answer_that_is_whole_when_its_connection_ends_is_followed_by_a_new_one() {
    let pool = Pool::over_http2(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let mut client: Connection = connect(&running.trunkline).await;
    for nth in 1..=4 {
        let whole = Script::json(200, &json!({ "nth": nth })).go_away(GoAway::Included);
        pool.api.next("a", whole);
        let response = client.send(&ask(false)).await.unwrap();
        assert_eq!(response.json().unwrap(), json!({ "nth": nth }));
    }
    let mut connections: Vec<u64> = places(&pool).iter().map(|place| place.0).collect();
    connections.dedup();
    assert_eq!(connections.len(), 4, "{connections:?}");
    assert_eq!((pool.served(), failovers(&running).await), (vec![4, 0], 0));
    running.state("a", "usable").await;
}

#[tokio::test]
async fn a_connection_that_ends_for_an_error_has_lost_its_request() {
    let pool = Pool::over_http2(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let mut client = connect(&running.trunkline).await;
    // A kept connection that ends sooner is taken for one that was too old: its request is sent again.
    for (nth, begun_for) in [(1, Duration::ZERO), (2, OLDER_THAN_STALE)] {
        // The provider may have begun to work on it: it is not asked again.
        pool.api.next("a", Script::new().pause(begun_for).go_away(GoAway::Failed).close());
        let response = client.send(&ask(true)).await.unwrap();
        assert_eq!((response.status(), pool.served()), (200, vec![nth, nth]), "{}", response.text());
    }
    assert_eq!(failovers(&running).await, 2);
}

/// Refuses the first request by its head, and takes the others.
#[derive(Default)]
struct FirstRefused {
    requests: AtomicUsize,
    never: Signal,
}

impl Behaviour for FirstRefused {
    fn on_head(&self, _: &RequestHead) -> Intake {
        match self.requests.fetch_add(1, Ordering::Relaxed) {
            0 => Intake::early(Script::new().refuse_stream()).gate(&self.never),
            _ => Intake::whole(),
        }
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        Script::json(200, &json!({ "length": request.body().len() }))
    }
}

#[tokio::test]
async fn a_request_that_is_refused_amid_its_body_is_sent_again_from_the_start() {
    // More than fits into the windows of a stream whose body is not read.
    const LENGTH: usize = 4 << 20;
    for protocol in Protocol::BOTH {
        let upstream = Upstream::start_tls(FirstRefused::default(), &[Alpn::H2]).await.unwrap();
        let ca_path = upstream.authority().unwrap().file().unwrap();
        let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
        let trunkline = serve(&with(service(&upstream.url()), to)).await;
        let upload = message(Bytes::from(vec![b'x'; LENGTH]));
        let response = protocol.send(trunkline.addr().unwrap(), &upload).await;
        assert_eq!(response.json().unwrap(), json!({ "length": LENGTH }), "{protocol:?}");
        let [refused, taken] = &upstream.requests()[..] else { panic!("{:?}", upstream.requests()) };
        assert_ne!(refused.connection, taken.connection);
        assert!(refused.body().is_empty(), "it was refused by its head");
    }
}
