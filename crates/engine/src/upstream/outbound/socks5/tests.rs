//! Tests of the messages of SOCKS 5, and of how they are exchanged.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::upstream::outbound::socks::MAX_PART;

const TARGET: Target<'_> = Target { host: "api.example", port: 443 };

const REQUEST: &[u8] = b"\x05\x01\x00\x03\x0bapi.example\x01\xbb";

fn login() -> ProxyLogin {
    ProxyLogin { username: Secret::new("me"), password: Secret::new("pass") }
}

/// What is sent, and what becomes of it, when the proxy's replies arrive as they are waited for.
fn exchange(login: Option<&ProxyLogin>, replies: &[u8]) -> (Vec<Vec<u8>>, Result<usize, Refusal>) {
    let mut sent = Vec::new();
    let mut run = || {
        let mut handshake = Connect::new(login, TARGET, None)?;
        let (mut at, mut count) = (0, 0);
        loop {
            let Some(part) = replies.get(at..at + count) else { return Err(Refusal::Malformed) };
            at += count;
            match handshake.advance(part)? {
                Step::Done => return Ok(at),
                Step::Receive(next) => count = next,
                Step::Send(bytes, next) => {
                    sent.push(bytes.to_vec());
                    count = next;
                }
            }
            assert!((1..=MAX_PART).contains(&count), "{count}");
        }
    };
    let end = run();
    (sent, end)
}

fn words(login: Option<&ProxyLogin>, replies: &[u8]) -> String {
    DialError::from(exchange(login, replies).1.unwrap_err()).to_string()
}

#[test]
fn without_a_login() {
    let (sent, end) = exchange(None, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34more");
    assert_eq!(sent, [b"\x05\x01\x00", REQUEST]);
    assert_eq!(end, Ok(12));
}

#[test]
fn with_a_login_that_is_wanted_or_not() {
    let granted = b"\x05\x00\x00\x04AAAAAAAAAAAAAAAApp";
    let (sent, end) = exchange(Some(&login()), &[b"\x05\x02\x01\x00", &granted[..]].concat());
    assert_eq!(sent, [b"\x05\x02\x00\x02", &b"\x01\x02me\x04pass"[..], REQUEST]);
    assert_eq!(end, Ok(26));
    let (sent, end) = exchange(Some(&login()), &[b"\x05\x00", &granted[..]].concat());
    assert_eq!(sent, [b"\x05\x02\x00\x02", REQUEST]);
    assert_eq!(end, Ok(24));
}

#[test]
fn addresses_of_every_kind_are_asked_for() {
    for (address, expected) in [
        ("192.0.2.1", &b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"[..]),
        ("::ffff:192.0.2.1", b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"),
        (
            "2001:db8::1",
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb",
        ),
    ] {
        let mut handshake = Connect::new(None, TARGET, Some(address.parse().unwrap())).unwrap();
        handshake.advance(&[]).unwrap();
        let Step::Send(bytes, 2) = handshake.advance(&[5, 0]).unwrap() else { panic!("no request") };
        assert_eq!(bytes.as_slice(), expected, "{address}");
    }
}

#[test]
fn refusals_in_words() {
    let wants = "the proxy wants a user and a password: set its username and password";
    assert_eq!(words(None, b"\x05\xff"), wants);
    assert_eq!(words(None, b"\x05\x02"), wants);
    assert!(words(Some(&login()), b"\x05\xff").contains("another authentication"));
    assert!(words(None, b"\x05\x01").contains("another authentication"));
    assert_eq!(
        words(Some(&login()), b"\x05\x02\x01\x01"),
        "the proxy refused the user and the password: correct its username and password"
    );
    assert!(words(None, b"HT").contains("did not answer with SOCKS 5"));
    for (code, expected) in [
        (1, "general failure"),
        (2, "its rules do not allow it"),
        (3, "network unreachable"),
        (4, "host unreachable"),
        (5, "connection refused by the target"),
        (6, "time to live expired"),
        (7, "it cannot connect (command not supported)"),
        (8, "it does not know this kind of address"),
        (9, "reply code 9"),
        (255, "reply code 255"),
    ] {
        // Nothing behind the code is waited for: some proxies send nothing more.
        let text = words(None, &[5, 0, 5, code]);
        assert_eq!(text, format!("the proxy refused the connection: {expected}"));
    }
    assert_eq!(exchange(None, b"\x05\x00\x05\x00\x00\x07").1, Err(Refusal::Malformed));
}

#[test]
fn lengths_have_room() {
    let long = |length| ProxyLogin { username: Secret::new("u".repeat(length)), password: Secret::new("") };
    assert!(Connect::new(Some(&long(255)), TARGET, None).is_ok());
    assert!(Connect::new(Some(&long(256)), TARGET, None).is_err());
    let host = "h".repeat(256);
    assert!(Connect::new(None, Target { host: &host, port: 1 }, None).is_err());
}

#[test]
fn nothing_of_a_login_is_shown() {
    let proxy = Socks5 {
        server: ProxyServer { host: "proxy".to_owned(), port: 1080 },
        login: Some(ProxyLogin { username: Secret::new("canary"), password: Secret::new("canary") }),
        lookup: NameLookup::AtProxy,
    };
    assert!(!format!("{proxy:?} {proxy:#?}").contains("canary"));
}

#[tokio::test]
async fn nothing_behind_the_reply_is_taken() {
    let proxy = Socks5 {
        server: ProxyServer { host: "proxy".to_owned(), port: 1080 },
        login: None,
        lookup: NameLookup::AtProxy,
    };
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"\x05\x00\x05\x00\x00\x03\x02ab\x12\x34hello").await.unwrap();
    let mut stream = proxy.ask(ours, TARGET).await.unwrap();
    let mut rest = [0; 5];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"hello");
    let mut asked = vec![0; 3 + REQUEST.len()];
    theirs.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked, [b"\x05\x01\x00", REQUEST].concat());
}

#[tokio::test]
async fn a_name_looked_up_here_is_sent_as_an_address() {
    let proxy = Socks5 {
        server: ProxyServer { host: "proxy".to_owned(), port: 1080 },
        login: None,
        lookup: NameLookup::Here,
    };
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34").await.unwrap();
    proxy.ask(ours, Target { host: "localhost", port: 443 }).await.unwrap();
    let mut asked = [0; 7];
    theirs.read_exact(&mut asked).await.unwrap();
    assert!(asked[6] == IPV4 || asked[6] == IPV6, "{asked:?}");
}

#[tokio::test]
async fn a_cut_at_any_byte_is_told() {
    let whole = b"\x05\x02\x01\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34";
    for kept in 0..whole.len() {
        let proxy = Socks5 {
            server: ProxyServer { host: "proxy".to_owned(), port: 1080 },
            login: Some(login()),
            lookup: NameLookup::AtProxy,
        };
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(&whole[..kept]).await.unwrap();
        theirs.shutdown().await.unwrap();
        let error = proxy.ask(ours, TARGET).await.unwrap_err();
        assert_eq!(error.to_string(), "the proxy closed the connection: before it answered", "{kept}");
    }
}

proptest! {
    #[test]
    fn any_replies_are_taken_or_refused(
        replies in prop::collection::vec(any::<u8>(), 0..600),
        with_login: bool,
    ) {
        let login = login();
        let (sent, end) = exchange(with_login.then_some(&login), &replies);
        prop_assert!(sent.len() <= 3);
        if let Ok(read) = end {
            prop_assert!(read <= replies.len());
            prop_assert!(replies.starts_with(&[5]));
        }
    }

    #[test]
    fn any_granted_reply_is_read_to_its_end(kind in 0usize..3, name in prop::collection::vec(any::<u8>(), 0..=255), rsv: u8) {
        let address = match kind {
            0 => vec![IPV4, 1, 2, 3, 4],
            1 => [&[IPV6][..], &[9; 16]].concat(),
            _ => [&[NAME, u8::try_from(name.len()).unwrap()][..], &name].concat(),
        };
        let reply = [&[5, 0, 5, 0, rsv][..], &address, &[0, 80]].concat();
        let with_more = [&reply[..], b"tail"].concat();
        prop_assert_eq!(exchange(None, &with_more).1, Ok(reply.len()));
        for kept in 0..reply.len() {
            prop_assert_eq!(exchange(None, &reply[..kept]).1, Err(Refusal::Malformed));
        }
    }
}
