//! How it ends: what runs may finish, for as long as was said.

use serde_json::json;
use tokio::net::TcpStream;
use trunkline_testkit::client::{Connection, Ended, Frame, H2Client};
use trunkline_testkit::{Script, Signal, Trunkline, Upstream};

use crate::support::{
    Current, Protocol, body, config, connect, message, read_bytes, service, trunkline, with,
};

async fn start(upstream: &Upstream, drain_timeout: &str) -> Trunkline {
    let config = with(config(&service(&upstream.url())), json!({ "drain_timeout": drain_timeout }));
    trunkline().config(&config).start().await.unwrap()
}

/// A client amid an answer.
async fn streaming(trunkline: &Trunkline) -> Connection {
    let mut connection = connect(trunkline).await;
    connection.write_request(&message(body())).await.unwrap();
    connection.head().await.unwrap();
    assert_eq!(read_bytes(&mut connection, 3).await, "one");
    connection
}

async fn terminate(trunkline: &Trunkline) {
    trunkline.signal("TERM").await.unwrap();
    trunkline.stderr_line(|line| line.contains("draining")).await.unwrap();
}

#[tokio::test]
async fn a_stream_finishes_while_nobody_new_is_let_in() {
    let go_on = Signal::new();
    let script = Script::status(200).chunk("one").wait(&go_on).chunk("two");
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let mut trunkline = start(&upstream, "10m").await;
    let addr = trunkline.addr().unwrap();
    let mut http1 = streaming(&trunkline).await;
    let mut idle = connect(&trunkline).await;
    let mut client = H2Client::connect(addr).await.unwrap();
    let mut http2 = client.start(&message(body())).await.unwrap();
    http2.write(body()).await.unwrap();
    http2.finish();
    assert_eq!(http2.frame().await.unwrap(), Frame::Data("one".into()));

    terminate(&trunkline).await;
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(idle.is_closed_next().await.unwrap());
    go_on.set();
    assert_eq!(read_bytes(&mut http1, 3).await, "two");
    assert_eq!(http1.frame().await.unwrap(), Frame::End(Ended::Complete));
    assert!(http1.is_closed_next().await.unwrap());
    assert_eq!(http2.frame().await.unwrap(), Frame::Data("two".into()));
    assert_eq!(http2.frame().await.unwrap(), Frame::End(Ended::Complete));
    let output = trunkline.wait_exit().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.last().unwrap().contains("stopped"), "{:?}", output.stderr);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let upstream = Upstream::start(Current::new(Script::status(200).chunk("one").stall())).await.unwrap();
    let mut trunkline = start(&upstream, "200ms").await;
    let mut connection = streaming(&trunkline).await;
    terminate(&trunkline).await;
    let (frames, _, end) = connection.rest().await.unwrap();
    assert!(frames.is_empty() && Protocol::Http1.is_cut(end), "{end:?}");
    let output = trunkline.wait_exit().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.iter().any(|line| line.contains("cut off")), "{:?}", output.stderr);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let upstream = Upstream::start(Current::new(Script::status(200).chunk("one").stall())).await.unwrap();
        let mut trunkline = start(&upstream, "10m").await;
        let mut connection = streaming(&trunkline).await;
        terminate(&trunkline).await;
        trunkline.signal(second).await.unwrap();
        let (_, _, end) = connection.rest().await.unwrap();
        assert!(Protocol::Http1.is_cut(end), "{end:?}");
        assert_eq!(trunkline.wait_exit().await.unwrap().status.code(), Some(0));
    }
}

#[tokio::test]
async fn with_nothing_under_way_it_ends_at_once() {
    let upstream = Upstream::start(Current::default()).await.unwrap();
    for signal in ["TERM", "INT"] {
        let mut trunkline = start(&upstream, "10m").await;
        let mut idle = connect(&trunkline).await;
        trunkline.signal(signal).await.unwrap();
        assert!(idle.is_closed_next().await.unwrap());
        assert_eq!(trunkline.wait_exit().await.unwrap().status.code(), Some(0));
    }
}
