//! Tests of the messages of SOCKS 4.

use proptest::prelude::*;

use super::*;
use crate::upstream::outbound::socks::MAX_PART;

const TARGET: Target<'_> = Target { host: "api.example", port: 443 };

fn first(user: &str, target: Target<'_>, address: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let address = address.map(|address| address.parse().unwrap());
    match Connect::new(user, target, address)?.advance(&[])? {
        Step::Send(bytes, 2) => Ok(bytes.to_vec()),
        other => panic!("{other:?}"),
    }
}

/// What becomes of a reply that arrives whole.
fn outcome(reply: &[u8]) -> Result<usize, Refusal> {
    let mut handshake = Connect::new("", TARGET, None)?;
    let Step::Send(_, mut count) = handshake.advance(&[])? else { panic!("nothing to send") };
    let mut at = 0;
    loop {
        let Some(part) = reply.get(at..at + count) else { return Err(Refusal::Malformed) };
        at += count;
        match handshake.advance(part)? {
            Step::Done => return Ok(at),
            Step::Receive(next) => count = next,
            Step::Send(..) => panic!("nothing more is sent"),
        }
    }
}

#[test]
fn requests() {
    assert_eq!(first("", TARGET, Some("192.0.2.1")).unwrap(), b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00");
    assert_eq!(
        first("me", TARGET, Some("::ffff:192.0.2.1")).unwrap(),
        b"\x04\x01\x01\xbb\xc0\x00\x02\x01me\x00"
    );
    assert_eq!(first("me", TARGET, None).unwrap(), b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00api.example\x00");
    assert_eq!(first("", TARGET, Some("2001:db8::1")), Err(Refusal::NoIpv6));
    assert!(first("a\0b", TARGET, None).is_err());
    assert!(first(&"u".repeat(256), TARGET, None).is_err());
    assert!(first("", Target { host: &"h".repeat(256), port: 1 }, None).is_err());
}

#[test]
fn replies() {
    assert_eq!(outcome(&[0, 90, 1, 2, 3, 4, 5, 6]), Ok(8));
    for (code, words) in [
        (91, "the proxy refused the connection: request rejected or failed"),
        (92, "the proxy refused the connection: it could not ask identd on this machine for the user"),
        (93, "the proxy refused the connection: identd on this machine names another user"),
        (7, "the proxy refused the connection: reply code 7"),
    ] {
        // Nothing behind the code is waited for.
        assert_eq!(DialError::from(outcome(&[0, code]).unwrap_err()).to_string(), words);
    }
    assert_eq!(outcome(b"HTTP/1.1 400"), Err(Refusal::OtherProtocol("4")));
}

proptest! {
    #[test]
    fn any_reply_is_granted_or_refused(reply in prop::collection::vec(any::<u8>(), 0..MAX_PART)) {
        let granted = reply.starts_with(&[0, 90]) && reply.len() >= 8;
        prop_assert_eq!(outcome(&reply).is_ok(), granted);
    }
}
