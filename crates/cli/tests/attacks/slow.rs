//! Slow peers: who sends, or takes, a little at a time, or stops in the middle.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use trunkline_testkit::Script;
use trunkline_testkit::client::{Connection, Request};
use trunkline_testkit::upstream::{Behaviour, Canned, ReceivedRequest};

use crate::support::{
    ALICE, BOB, Bystander, END_STREAM, MESSAGES, RawH2, Target, frame, head, kind, scale, small,
};

const MIB: u64 = 1024;

/// Both users' models decide what they may ask for, so that bodies are read, and held, before they are sent.
fn held_bodies() -> serde_json::Value {
    json!({
        "users": [
            { "name": "alice", "token": ALICE, "models": ["claude-*"] },
            { "name": "bob", "token": BOB, "models": ["claude-*"] },
        ],
    })
}

fn request_head(token: &str, framing: &str) -> String {
    format!(
        "POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n"
    )
}

/// Bodies in chunks of one byte, held whole: memory is bounded by what they carry, not by how.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_at_a_time_costs_about_a_byte() {
    let bytes = 512 * 1024 * scale().min(16);
    let carried = u64::try_from(bytes / 1024).unwrap();
    let body = || std::iter::repeat_n(b' ', bytes);

    let target = Target::answering(held_bodies()).await;
    let mut client = TcpStream::connect(target.addr()).await.unwrap();
    let head_bytes = request_head(ALICE, "Transfer-Encoding: chunked");
    client.write_all(head_bytes.as_bytes()).await.unwrap();
    let chunks: Vec<u8> = body().flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']).collect();
    client.write_all(&chunks).await.unwrap();
    let peak = target.peak().await;
    println!("HTTP/1.1: {carried} KiB in chunks of a byte, memory + {peak} KiB");
    assert!(peak < 2 * carried + 6 * MIB, "{peak} KiB");
    drop(client);

    let target = Target::answering(held_bodies()).await;
    let mut client = RawH2::connect(target.addr(), 65_535).await;
    client.settle().await;
    let mut frames = head(1, ALICE, &[], 0);
    frames.extend(body().flat_map(|byte| frame(kind::DATA, 0, 1, &[byte])));
    // Windows are opened while it is sent.
    let (mut sends, reads) = client.keep_reading();
    // Whoever sends so many small frames faster than they are read may be ended for that instead.
    let sent = sends.write_all(&frames).await;
    let peak = target.peak().await;
    println!("HTTP/2: {carried} KiB in frames of a byte, memory + {peak} KiB; sent: {}", sent.is_ok());
    assert!(peak < 2 * carried + 10 * MIB, "{peak} KiB");
    target.serves_bob().await;
    reads.abort();
}

/// Uploads that stop just before their end, as many as would take all the memory there is for bodies.
#[tokio::test(flavor = "multi_thread")]
async fn one_user_does_not_take_the_memory_of_another() {
    let mut over = held_bodies();
    // Alice's bodies go on to the provider while they come, and are kept for a repeat.
    over["users"][0]["models"] = json!([]);
    let target = Target::answering(over).await;
    let part = Bytes::from(vec![b' '; 1 << 20]);
    let mut uploads = Vec::new();
    for _ in 0..17 {
        let mut client = TcpStream::connect(target.addr()).await.unwrap();
        let framing = format!("Content-Length: {}", (16 << 20) + 1);
        client.write_all(request_head(ALICE, &framing).as_bytes()).await.unwrap();
        for _ in 0..16 {
            client.write_all(&part).await.unwrap();
        }
        uploads.push(client);
    }
    let peak = target.peak().await;
    println!("17 uploads of 16 MiB: memory + {peak} KiB");
    assert!(peak < 200 * MIB, "{peak} KiB");
    // Bob's body is read whole before it is sent, and is of the usual size.
    let mut client = Connection::connect(target.addr()).await.unwrap();
    let long = format!(r#"{{"model":"claude-opus-4-8","x":"{}"}}"#, "x".repeat(4 << 20));
    let answer = client.send(&Request::post(MESSAGES, long).bearer(BOB)).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// Memory that a flood took is given back within a minute, where the allocator does that.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_given_back_after_a_flood() {
    let target = Target::answering(json!({})).await;
    let part = Bytes::from(vec![b' '; 1 << 20]);
    let mut uploads = Vec::new();
    for _ in 0..6 {
        let mut client = TcpStream::connect(target.addr()).await.unwrap();
        let framing = format!("Content-Length: {}", (16 << 20) + 1);
        client.write_all(request_head(ALICE, &framing).as_bytes()).await.unwrap();
        for _ in 0..15 {
            client.write_all(&part).await.unwrap();
        }
        uploads.push(client);
    }
    // On a busy machine much of it lies in the system's buffers at first.
    let mut peak = 0;
    for _ in 0..60 {
        peak = target.peak().await.max(peak);
        if peak > 60 * MIB {
            break;
        }
    }
    assert!(peak > 60 * MIB, "the flood took {peak} KiB only");
    drop(uploads);
    let begun = Instant::now();
    while target.growth() > 16 * MIB && begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "given back: + {peak} KiB at the peak, + {} KiB after {:.0?}, of {} KiB before",
        target.growth(),
        begun.elapsed(),
        target.resident() - target.growth()
    );
    assert!(target.growth() <= 16 * MIB, "{} KiB are kept", target.growth());
}

/// Streams without an end for alice, a small answer for bob.
#[derive(Debug)]
struct Endless;

impl Behaviour for Endless {
    fn respond(&self, request: &ReceivedRequest) -> Script {
        if request.path().contains("endless") || request.headers.get("x-endless").is_some() {
            let event = Bytes::from(format!("data: {}\n\n", "x".repeat(16 * 1024)));
            return Script::status(200)
                .header("content-type", "text/event-stream")
                .chunks(std::iter::repeat_n(event, 2_000))
                .stall();
        }
        Script::json(200, &json!({ "ok": true }))
    }
}

/// Clients that ask for long streams and take nothing of them, over both protocols.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_holds_little() {
    let count = 20 * scale().min(5);
    let each = |growth: u64| growth / u64::try_from(count).unwrap();

    let target = Target::start(Endless, json!({})).await;
    let bystander = Bystander::start(target.addr());
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(target.addr()).await.unwrap();
        let framing = "X-Endless: 1\r\nContent-Length: 2";
        client.write_all(format!("{}{{}}", request_head(ALICE, framing)).as_bytes()).await.unwrap();
        clients.push(client);
    }
    let peak = target.peak().await;
    println!("HTTP/1.1: {count} streams that nobody takes, {} KiB each", each(peak));
    println!("{}", bystander.figures().await);
    assert!(each(peak) < 2 * MIB, "{} KiB each", each(peak));
    drop(clients);

    let target = Target::start(Endless, json!({})).await;
    let bystander = Bystander::start(target.addr());
    // Its window is one byte.
    let mut client = RawH2::connect(target.addr(), 1).await;
    client.settle().await;
    for stream in (1..).step_by(2).take(count) {
        assert!(client.write(&head(stream, ALICE, &[("x-endless", "1")], END_STREAM)).await);
    }
    let (sends, reads) = client.keep_reading();
    let peak = target.peak().await;
    println!("HTTP/2: {count} streams with a shut window, {} KiB each", each(peak));
    println!("{}", bystander.figures().await);
    assert!(each(peak) < 2 * MIB, "{} KiB each", each(peak));
    drop(sends);
    reads.abort();
}

/// A body of a few bytes a second. Takes more than a minute, so it is done with a larger scale only.
#[tokio::test(flavor = "multi_thread")]
async fn a_trickled_body_is_given_up() {
    if scale() == 1 {
        println!("left out: TRUNKLINE_ATTACKS is not set");
        return;
    }
    let target = Target::start(Canned::always(Script::json(200, &json!({}))), json!({})).await;
    let mut client = Connection::connect(target.addr()).await.unwrap();
    client.write_raw(request_head(ALICE, "Content-Length: 1000").as_bytes()).await.unwrap();
    let begun = Instant::now();
    let mut sent = 0;
    // Never silent for as long as a client may be.
    while begun.elapsed() < Duration::from_secs(90) && client.write_raw(b" ").await.is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if begun.elapsed() > Duration::from_secs(62) {
            break;
        }
    }
    let answer = client.response().await.unwrap();
    println!("trickle: {sent} bytes, then {} after {:.0?}", answer.status(), begun.elapsed());
    assert_eq!(answer.status(), 408, "{}", answer.text());
    let mut other = Connection::connect(target.addr()).await.unwrap();
    assert_eq!(other.send(&small(BOB)).await.unwrap().status(), 200);
}
