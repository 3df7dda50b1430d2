//! Group 7: closing.

use super::{Case, End, Frame, Opcode, PROTOCOL};

/// Codes that a close may carry.
///
/// The suite lists neither 1012 nor what came later to the registry of the protocol: those are behind its own.
const GOOD: [u16; 16] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999, 1012, 1013, 1014];

/// Codes that it may not: reserved, or of no meaning.
const BAD: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

pub(super) fn cases() -> Vec<Case> {
    let hello = "Hello World!";
    let normal = || Frame::close(1000, "");
    let closed = End::Closed(Some(1000));
    let raw = |payload: Vec<u8>| Frame::new(Opcode::Close, payload);
    let mut cases = vec![
        Case::new("7.1.1").send(Frame::text(hello)).text(hello),
        Case::new("7.1.2").send(normal()).send(normal()).end(closed),
        Case::new("7.1.3").send(normal()).send(Frame::ping("")).end(closed),
        Case::new("7.1.4").send(normal()).send(Frame::text(hello)).end(closed),
        Case::new("7.1.5")
            .send(Frame::text("fragment1").unfinished())
            .send(normal())
            .send(Frame::continuation("fragment2"))
            .end(closed),
        Case::new("7.3.1").send(raw(Vec::new())).end(End::Closed(None)),
        Case::new("7.3.2").send(raw(b"a".to_vec())).end(PROTOCOL),
        Case::new("7.3.3").send(normal()).end(closed),
        Case::new("7.3.4").send(Frame::close(1000, hello)).end(closed),
        Case::new("7.3.5").send(Frame::close(1000, &"*".repeat(123))).end(closed),
        Case::new("7.3.6").send(Frame::close(1000, &"*".repeat(124))).end(PROTOCOL),
        Case::new("7.5.1")
            .send(raw([&1000_u16.to_be_bytes()[..], "κόσμε".as_bytes(), b"\xed\xa0\x80edited"].concat()))
            .end(End::Failed(&[1002, 1007])),
        Case::new("7.13.1").send(Frame::close(5000, "")).end(PROTOCOL),
        Case::new("7.13.2").send(Frame::close(65_535, "")).end(PROTOCOL),
    ];
    for (nth, code) in (1..).zip(GOOD) {
        cases.push(Case::new(format!("7.7.{nth}")).send(Frame::close(code, "")).end(End::Closed(Some(code))));
    }
    for (nth, code) in (1..).zip(BAD) {
        cases.push(Case::new(format!("7.9.{nth}")).send(Frame::close(code, "")).end(PROTOCOL));
    }
    cases
}
