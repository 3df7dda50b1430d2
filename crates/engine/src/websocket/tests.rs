//! Two ends against each other, and one against what no end would send. What the kit's Autobahn cases hold is in the
//! end-to-end tests.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

async fn next<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<T>) -> Incoming {
    std::future::poll_fn(|context| socket.poll_next(context)).await
}

async fn flush<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<T>) {
    std::future::poll_fn(|context| socket.poll_flush(context)).await.unwrap();
}

/// An end, and the bytes of the other.
fn against(role: Role) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    (WebSocket::new(near, role, Bytes::new()), far)
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

async fn broken_by(bytes: &[u8]) -> u16 {
    let (mut server, mut far) = against(Role::Server);
    far.write_all(bytes).await.unwrap();
    match next(&mut server).await {
        Incoming::Broken(violation) => violation.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_breaks_the_rules_is_told_by_its_code() {
    for (bytes, code) in [
        (frame(0xc1, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x09, b"x"), 1002),
        ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        (vec![0x81, 0x01, b'x'], 1002),
        (frame(0x81, b"\xff"), 1007),
        // As soon as it is clear, and not at the end.
        (frame(0x01, b"a\xc0"), 1007),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, &1005_u16.to_be_bytes()), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        // Lengths that are written in more bytes than they take, of both kinds of frames.
        ([&[0x81, 0xfe, 0, 1][..], &[0; 4], b"x"].concat(), 1002),
        ([&[0x82, 0xff][..], &125_u64.to_be_bytes(), &[0; 4], &[0; 125]].concat(), 1002),
        ([&[0x82, 0xff][..], &0xffff_u64.to_be_bytes(), &[0; 4]].concat(), 1002),
        ([&[0x89, 0xfe, 0, 1][..], &[0; 4], b"x"].concat(), 1002),
        // One byte more than is joined, by its stated length alone.
        ([&[0x82, 0xff][..], &(MAX_MESSAGE as u64 + 1).to_be_bytes(), &[0; 4]].concat(), 1009),
        ([&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat(), 1009),
    ] {
        assert_eq!(broken_by(&bytes).await, code, "{bytes:?}");
    }
    // On the side of the provider as well, where frames have no masks.
    for bytes in [&[0x81, 126, 0, 1, b'x'][..], &[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'x']] {
        let (mut client, mut far) = against(Role::Client);
        far.write_all(bytes).await.unwrap();
        assert!(matches!(next(&mut client).await, Incoming::Broken(Violation { code: 1002, .. })));
    }
    // A client takes nothing that is masked.
    let (mut client, mut far) = against(Role::Client);
    far.write_all(&frame(0x81, b"x")).await.unwrap();
    assert!(matches!(next(&mut client).await, Incoming::Broken(Violation { code: 1002, .. })));
}

#[tokio::test]
async fn closes_have_the_codes_that_may_be_sent_and_no_others() {
    let known = (1000..=1003).chain(1007..=1014).chain(3000..=4999);
    let known: std::collections::BTreeSet<u16> = known.collect();
    for code in 0..=u16::MAX {
        let (mut server, mut far) = against(Role::Server);
        far.write_all(&frame(0x88, &code.to_be_bytes())).await.unwrap();
        let expected = if known.contains(&code) {
            Incoming::Close(Bytes::copy_from_slice(&code.to_be_bytes()))
        } else {
            Incoming::Broken(NO_CODE)
        };
        assert_eq!(next(&mut server).await, expected, "{code}");
    }
}

#[tokio::test]
async fn a_character_may_lie_across_fragments() {
    let (mut server, mut far) = against(Role::Server);
    far.write_all(&[frame(0x01, b"a\xe2\x82"), frame(0x89, b"p"), frame(0x80, b"\xac")].concat())
        .await
        .unwrap();
    assert_eq!(next(&mut server).await, Incoming::Ping);
    assert_eq!(next(&mut server).await, Incoming::Message(Data::text("a\u{20ac}")));
    flush(&mut server).await;
    let mut pong = [0; 3];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x8a, 1, b'p']);
}

#[tokio::test]
async fn pings_do_not_pile_up_for_somebody_who_does_not_read() {
    let (near, mut far) = duplex(1024);
    let mut server = WebSocket::new(near, Role::Server, Bytes::new());
    let (sent, took) = (Data { is_text: false, bytes: vec![1; MAX_QUEUED].into() }, MAX_QUEUED + 10);
    server.send(sent);
    for number in 0..2_000_u16 {
        let ping = frame(0x89, &number.to_be_bytes());
        let (written, incoming) = tokio::join!(far.write_all(&ping), next(&mut server));
        written.unwrap();
        assert_eq!(incoming, Incoming::Ping);
    }
    assert_eq!(server.writer.queued(), took);
    // Once it reads, the last is answered.
    let mut read = vec![0; took + 4];
    let (all, ()) = tokio::join!(far.read_exact(&mut read), flush(&mut server));
    all.unwrap();
    assert_eq!(read[took..], [0x8a, 2, 0x07, 0xcf]);
    // As is each while there is room.
    far.write_all(&[frame(0x89, b"a"), frame(0x89, b"b")].concat()).await.unwrap();
    assert_eq!((next(&mut server).await, next(&mut server).await), (Incoming::Ping, Incoming::Ping));
    flush(&mut server).await;
    far.read_exact(&mut read[..6]).await.unwrap();
    assert_eq!(read[..6], [0x8a, 1, b'a', 0x8a, 1, b'b']);
}

#[tokio::test]
async fn who_does_not_read_is_heard_all_the_same() {
    let (near, mut far) = duplex(1024);
    let mut server = WebSocket::new(near, Role::Server, Bytes::new());
    server.send(Data { is_text: false, bytes: vec![1; 1 << 20].into() });
    far.write_all(&[frame(0x81, b"x"), frame(0x88, b"\x03\xf1")].concat()).await.unwrap();
    let stuck = std::future::poll_fn(|context| Poll::Ready(server.poll_flush(context).is_pending())).await;
    assert!(stuck);
    assert_eq!(next(&mut server).await, Incoming::Message(Data::text("x")));
    assert_eq!(next(&mut server).await, Incoming::Close(Bytes::from_static(b"\x03\xf1")));
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_given_up_whatever_it_sends() {
    let (near, mut far) = duplex(16 * 1024);
    let mut server = WebSocket::new(near, Role::Server, Bytes::new());
    let begun = tokio::time::Instant::now();
    server.send(Data::text(vec![b'x'; 100_000]));
    let flush_and_read = std::future::poll_fn(|context| {
        while server.poll_next(context).is_ready() {}
        server.poll_flush(context)
    });
    let (flushed, ()) = tokio::join!(flush_and_read, async {
        // Something is taken after four minutes, and pings come all the time.
        for second in 0..500 {
            far.write_all(&frame(0x89, b"x")).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            if second == 240 {
                far.read_exact(&mut [0; 10]).await.unwrap();
            }
        }
    });
    assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    // It was given up five minutes after that.
    let seconds = begun.elapsed().as_secs();
    assert!((540..=542).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn long_messages_count_against_their_sender_until_they_are_passed_on() {
    use std::sync::Arc;

    use crate::memory_budget::{Holder, MemoryBudget};

    const MIB: usize = 1 << 20;
    let budget = Arc::new(MemoryBudget::new(8 * MIB));
    let share = budget.share_of(Holder::Process);
    let (mut server, mut far) = against(Role::Server);
    server.set_memory(&share);
    let head =
        |first: u8, length: usize| [&[first, 0xff][..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
    let message = [head(0x82, 3 * MIB), vec![0; 3 * MIB]].concat();
    let (got, ()) = tokio::join!(next(&mut server), async { far.write_all(&message).await.unwrap() });
    assert!(matches!(got, Incoming::Message(data) if data.bytes.len() == 3 * MIB));
    assert!(budget.reserved() > 2 * MIB, "{}", budget.reserved());
    // The next is read once that has been passed on.
    far.write_all(&frame(0x82, b"x")).await.unwrap();
    assert!(matches!(next(&mut server).await, Incoming::Message(_)));
    assert_eq!(budget.reserved(), 0);
    // More than a share: refused before it has come whole.
    let long = [head(0x82, 6 * MIB), vec![0; 6 * MIB]].concat();
    let got = tokio::select! {
        got = next(&mut server) => got,
        () = async { far.write_all(&long).await.unwrap(); std::future::pending::<()>().await } => panic!("it was taken"),
    };
    assert!(matches!(got, Incoming::Broken(violation) if violation.code == 1013), "{got:?}");
    drop(server);
    assert_eq!(budget.reserved(), 0);
}

#[tokio::test]
async fn a_silent_connection_holds_no_buffer() {
    let (near, far) = duplex(1 << 22);
    let (mut server, mut client) =
        (WebSocket::new(near, Role::Server, Bytes::new()), WebSocket::new(far, Role::Client, Bytes::new()));
    for size in [10, 100_000, 2 << 20] {
        client.send(Data { is_text: false, bytes: vec![1; size].into() });
        flush(&mut client).await;
        assert!(matches!(next(&mut server).await, Incoming::Message(data) if data.bytes.len() == size));
        assert_eq!((server.reader.buffer().capacity(), client.writer.queued()), (0, 0));
    }
}

#[tokio::test]
async fn behind_a_close_nothing_is_sent_and_nothing_but_the_end_is_read() {
    let (mut server, mut far) = against(Role::Server);
    server.close(close_payload(1012, "again"));
    server.send(Data::text("late"));
    server.close(close_payload(1000, ""));
    flush(&mut server).await;
    far.write_all(&[frame(0x88, b"\x03\xf4"), frame(0x81, b"x")].concat()).await.unwrap();
    assert_eq!(next(&mut server).await, Incoming::Close(Bytes::from_static(b"\x03\xf4")));
    assert!(server.is_over());
    far.shutdown().await.unwrap();
    assert_eq!(next(&mut server).await, Incoming::Lost);
    let mut written = Vec::new();
    drop(server);
    far.read_to_end(&mut written).await.unwrap();
    assert_eq!(written, b"\x88\x07\x03\xf4again");
}

#[tokio::test]
async fn what_came_ahead_is_not_lost() {
    let (mut server, mut far) = against(Role::Server);
    let nothing = std::future::poll_fn(|context| Poll::Ready(server.poll_ahead(context))).await;
    assert_eq!(nothing, Poll::Pending);
    far.write_all(&[frame(0x81, b"x"), frame(0x88, b"\x03\xe8")].concat()).await.unwrap();
    for _ in 0..2 {
        assert!(std::future::poll_fn(|context| server.poll_ahead(context)).await);
    }
    assert_eq!(next(&mut server).await, Incoming::Message(Data::text("x")));
    assert!(!std::future::poll_fn(|context| server.poll_ahead(context)).await);
    assert_eq!(next(&mut server).await, Incoming::Close(Bytes::from_static(b"\x03\xe8")));
    drop(far);
    assert_eq!(next(&mut server).await, Incoming::Lost);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_come_as_they_were_in_whatever_pieces(
        messages in prop::collection::vec((any::<bool>(), 0_usize..70_000), 0..12),
        room in 1_usize..40_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async move {
            let (near, far) = duplex(room);
            let mut client = WebSocket::new(near, Role::Client, Bytes::new());
            let mut server = WebSocket::new(far, Role::Server, Bytes::new());
            let sent: Vec<_> = messages.iter().enumerate().map(|(at, (is_text, size))| {
                let bytes: Vec<u8> = (b'a'..=b'z').cycle().skip(at).take(*size).collect();
                Data { is_text: *is_text, bytes: bytes.into() }
            }).collect();
            // There and back: masked one way, and not the other.
            let echoing = async {
                for _ in 0..sent.len() {
                    let Incoming::Message(data) = next(&mut server).await else { panic!() };
                    server.send(data);
                    flush(&mut server).await;
                }
            };
            let asking = async {
                for data in &sent {
                    client.send(data.clone());
                    flush(&mut client).await;
                    assert_eq!(next(&mut client).await, Incoming::Message(data.clone()));
                }
            };
            tokio::join!(echoing, asking);
        });
    }

    /// Of the three ways to write a length, one is taken.
    #[test]
    fn a_length_is_written_in_the_fewest_bytes(
        length in prop_oneof![0_u64..300, 65_000_u64..66_000],
        width in prop::sample::select(vec![0_usize, 2, 8]),
        is_server in any::<bool>(),
    ) {
        let masked = if is_server { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match width {
            0 if length > 125 => return Ok(()),
            0 => bytes.push(masked | u8::try_from(length).unwrap()),
            2 if length > 0xffff => return Ok(()),
            2 => bytes.extend([&[masked | 0x7e][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()),
            _ => bytes.extend([&[masked | 127][..], &length.to_be_bytes()].concat()),
        }
        bytes.extend(std::iter::repeat_n(0, if is_server { 4 } else { 0 } + usize::try_from(length).unwrap()));
        let fewest = match length { 0..=125 => 0, 126..=0xffff => 2, _ => 8 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let came = runtime.block_on(async move {
            let (mut socket, mut far) = against(if is_server { Role::Server } else { Role::Client });
            far.write_all(&bytes).await.unwrap();
            next(&mut socket).await
        });
        match came {
            Incoming::Message(data) => {
                prop_assert_eq!((width, data.bytes.len() as u64), (fewest, length));
            }
            Incoming::Broken(violation) => {
                prop_assert_eq!(violation.code, 1002);
                prop_assert_ne!(width, fewest);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_bytes_of_a_peer_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..400), is_server in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (mut socket, mut far) = against(if is_server { Role::Server } else { Role::Client });
            far.write_all(&bytes).await.unwrap();
            far.shutdown().await.unwrap();
            while next(&mut socket).await != Incoming::Lost {}
        });
    }

    #[test]
    fn a_mask_comes_off_as_it_went_on(mut bytes in prop::collection::vec(any::<u8>(), 0..100), mask in any::<[u8; 4]>()) {
        let expected: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        mask::apply(&mut bytes, mask);
        prop_assert_eq!(bytes, expected);
    }
}
