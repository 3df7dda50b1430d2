//! Groups 1 to 4: frames, pings and pongs, reserved bits, opcodes.

use bytes::Bytes;

use super::{Case, End, Frame, Opcode, PROTOCOL};

/// Lengths around the borders of the three ways in which a frame states its length.
const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65_535, 65_536];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (nth, length) in (1..).zip(LENGTHS) {
        let text = Bytes::from(vec![b'*'; length]);
        cases.push(Case::new(format!("1.1.{nth}")).send(Frame::text(text.clone())).text(text));
        let bytes = Bytes::from(vec![0xfe; length]);
        cases.push(Case::new(format!("1.2.{nth}")).send(Frame::binary(bytes.clone())).binary(bytes));
    }
    let text = Bytes::from(vec![b'*'; 65_536]);
    cases.push(Case::new("1.1.8").chopped(Frame::text(text.clone()), 997).text(text));
    let bytes = Bytes::from(vec![0xfe; 65_536]);
    cases.push(Case::new("1.2.8").chopped(Frame::binary(bytes.clone()), 997).binary(bytes));
    cases.extend(pings());
    cases.extend(reserved_bits());
    cases.extend(opcodes());
    cases
}

fn pings() -> Vec<Case> {
    let longest = Bytes::from(vec![0xfe; 125]);
    let many = |id: &str| {
        (0..10).fold(Case::new(id), |case, nth| {
            let payload = format!("payload-{nth}");
            case.send(Frame::ping(payload.clone())).pong(payload)
        })
    };
    vec![
        Case::new("2.1").send(Frame::ping("")).pong(""),
        Case::new("2.2").send(Frame::ping("Hello, world!")).pong("Hello, world!"),
        Case::new("2.3")
            .send(Frame::ping(&b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"[..]))
            .pong(&b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"[..]),
        Case::new("2.4").send(Frame::ping(longest.clone())).pong(longest.clone()),
        Case::new("2.5").send(Frame::ping(vec![0xfe; 126])).end(PROTOCOL),
        Case::new("2.6").chopped(Frame::ping(longest.clone()), 1).pong(longest),
        Case::new("2.7").send(Frame::pong("")),
        Case::new("2.8").send(Frame::pong("unsolicited")),
        Case::new("2.9").send(Frame::pong("unsolicited")).send(Frame::ping("ping")).pong("ping"),
        many("2.10"),
        (0..10).fold(Case::new("2.11"), |case, nth| {
            let payload = format!("payload-{nth}");
            case.chopped(Frame::ping(payload.clone()), 1).pong(payload)
        }),
    ]
}

fn reserved_bits() -> Vec<Case> {
    let hello = "Hello, world!";
    let with = |frame: Frame, bits: u8| frame.reserved(bits);
    vec![
        Case::new("3.1").send(with(Frame::text(hello), 1)).end(PROTOCOL),
        Case::new("3.2")
            .send(Frame::text(hello))
            .send(with(Frame::text(hello), 2))
            .send(Frame::ping(""))
            .text(hello)
            .end(PROTOCOL),
        Case::new("3.3")
            .send(Frame::text(hello))
            .send(with(Frame::text(hello), 3))
            .send(Frame::ping(""))
            .text(hello)
            .end(PROTOCOL),
        // No extension is negotiated, so that the bit of a compressed message is reserved as well.
        Case::new("3.4")
            .chopped(Frame::text(hello), 1)
            .chopped(with(Frame::text(hello), 4), 1)
            .chopped(Frame::ping(""), 1)
            .text(hello)
            .end(PROTOCOL),
        Case::new("3.5").send(with(Frame::binary(&b"\x00\xff\xfe"[..]), 5)).end(PROTOCOL),
        Case::new("3.6").send(with(Frame::ping(hello), 6)).end(PROTOCOL),
        Case::new("3.7").send(with(Frame::new(Opcode::Close, ""), 7)).end(End::Failed(&[1002])),
    ]
}

fn opcodes() -> Vec<Case> {
    let hello = "Hello, world!";
    let mut cases = Vec::new();
    for (group, codes) in [("4.1", 3..=7), ("4.2", 11..=15)] {
        for (nth, code) in (1..).zip(codes) {
            let id = format!("{group}.{nth}");
            let reserved = Frame::new(Opcode::Reserved(code), if nth % 2 == 0 { "reserved" } else { "" });
            cases.push(match nth {
                1 | 2 => Case::new(id).send(reserved).end(PROTOCOL),
                3 | 4 => Case::new(id)
                    .send(Frame::text(hello))
                    .send(reserved)
                    .send(Frame::ping(""))
                    .text(hello)
                    .end(PROTOCOL),
                _ => Case::new(id)
                    .chopped(Frame::text(hello), 1)
                    .chopped(reserved, 1)
                    .chopped(Frame::ping(""), 1)
                    .text(hello)
                    .end(PROTOCOL),
            });
        }
    }
    cases
}
