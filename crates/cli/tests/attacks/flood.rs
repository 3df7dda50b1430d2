//! Floods: more of something than anybody needs.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{ALICE, Bystander, ConnectionEnd, END_STREAM, RawH2, Target, frame, head, kind, scale};

/// The code of a connection that is told to calm down.
const ENHANCE_YOUR_CALM: u32 = 0xb;

const MIB: u64 = 1024;

/// Frames that a client needs a few of. None of them is part of a request.
#[tokio::test(flavor = "multi_thread")]
async fn control_frames_end_their_connection() {
    let target = Target::answering(json!({})).await;
    let bystander = Bystander::start(target.addr());
    let floods = [
        ("SETTINGS", frame(kind::SETTINGS, 0, 0, &[])),
        ("PING", frame(kind::PING, 0, 0, &[7; 8])),
        ("PRIORITY", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("unknown", frame(kind::UNKNOWN, 0, 0, &[7; 16])),
    ];
    for (name, flood) in floods {
        let mut client = RawH2::connect(target.addr(), 65_535).await;
        client.settle().await;
        let mut sent = 0;
        // In pieces that end with a frame. The system's buffers take much of it, whether or not it is read.
        while sent < 100_000 * scale() && client.write(&flood.repeat(100)).await {
            sent += 100;
        }
        let end = client.end().await;
        println!("{name}: {sent} frames sent, {end:?}; memory + {} KiB", target.growth());
        assert!(
            matches!(end, ConnectionEnd::Closed | ConnectionEnd::GoAway(ENHANCE_YOUR_CALM)),
            "{name}: {end:?}"
        );
    }
    println!("{}", bystander.figures().await);
    assert!(target.peak().await < 24 * MIB, "{} KiB", target.growth());
    target.serves_bob().await;
}

/// A client that reads what it is told hears why its connection ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_slowly_hears_why_it_is_ended() {
    let target = Target::answering(json!({})).await;
    // On a busy machine a frame more may be sent before the end is read, and then the connection is reset.
    for _ in 0..20 {
        if floods_slowly(&target).await == ConnectionEnd::GoAway(ENHANCE_YOUR_CALM) {
            return;
        }
    }
    panic!("it never heard why");
}

async fn floods_slowly(target: &Target) -> ConnectionEnd {
    let mut client = RawH2::connect(target.addr(), 65_535).await;
    client.settle().await;
    let unknown = frame(kind::UNKNOWN, 0, 0, &[7; 8]);
    // Exactly as many as are too many, so that nothing lies unread when the connection is closed, which would reset it.
    // The bounds are those of `core::http2_frames`; what it has sent before counts too, and so does time.
    let mut sent = 3;
    loop {
        assert!(sent < 20_000, "it was never ended");
        if !client.write(&unknown).await {
            return ConnectionEnd::Closed;
        }
        sent += 1;
        if sent >= 2_000 {
            // Each is answered by nothing, or by the end.
            let next = tokio::time::timeout(std::time::Duration::from_millis(20), client.end()).await;
            if let Ok(end) = next {
                return end;
            }
        }
    }
}

/// Requests that are reset at once (CVE-2023-44487), on connection after connection.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_reset_at_once_fill_neither_memory_nor_log() {
    let target = Target::answering(json!({})).await;
    let bystander = Bystander::start(target.addr());
    let wanted = 10_000 * scale();
    let (mut sent, mut connections) = (0, 0);
    while sent < wanted && connections < wanted {
        connections += 1;
        let mut client = RawH2::connect(target.addr(), 65_535).await;
        client.settle().await;
        for stream in (1_u32..).step_by(2) {
            let reset = frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            let both = [head(stream, ALICE, &[], END_STREAM), reset].concat();
            if sent >= wanted || !client.write(&both).await {
                break;
            }
            sent += 1;
        }
    }
    println!("{}", bystander.figures().await);
    let peak = target.peak().await;
    let of_alice = |line: &String| line.contains("alice") && line.contains("client_gone");
    let lines = target.trunkline.stderr().iter().filter(|line| of_alice(line)).count();
    println!("rapid reset: {sent} requests on {connections} connections; {lines} lines; memory + {peak} KiB");
    assert!(connections > 1, "no connection was ended");
    // 200 at once and 5 a second: far below that for a minute of a busy machine.
    assert!(lines <= 600, "{lines} lines");
    assert!(peak < 48 * MIB, "{peak} KiB");
    target.serves_bob().await;
}

/// Connections that do nothing, or send the beginning of a head and then nothing.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_little() {
    let target = Target::answering(json!({})).await;
    let count = 200 * u64::try_from(scale().min(4)).unwrap();
    for (name, first) in
        [("silent", &b""[..]), ("half a head", b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nX: ")]
    {
        let before = target.resident();
        let mut connections = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(target.addr()).await.unwrap();
            stream.write_all(first).await.unwrap();
            connections.push(stream);
        }
        target.serves_bob().await;
        let each = target.resident().saturating_sub(before) / count;
        println!("{name}: {count} connections, {each} KiB each");
        assert!(each <= 64, "{name}: {each} KiB each");
    }
}
