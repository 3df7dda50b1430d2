//! Group 6: text is UTF-8, in whatever fragments and pieces it comes.

use bytes::Bytes;

use super::{Case, Frame, NOT_TEXT};

/// "Hello-µ@ßöäüàá-UTF-8!!", and Greek with the middle of a character at every border.
const LATIN: &str = "Hello-µ@ßöäüàá-UTF-8!!";
const GREEK: &str = "κόσμε";

/// Sequences that are UTF-8: the first and last of each length, and characters that are none.
const VALID: [&[u8]; 24] = [
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf0\xaf\xbf\xbe",
    b"\xf0\xaf\xbf\xbf",
    b"\xf0\xbf\xbf\xbe",
    b"\xf1\x8f\xbf\xbf",
    b"\xf2\x8f\xbf\xbe",
    b"\xf3\x8f\xbf\xbf",
    b"\xf4\x8f\xbf\xbe",
    b"\xef\xb7\x90",
    b"\xe4\xb8\xad\xe6\x96\x87",
    b"\xf0\x9d\x84\x9e",
];

/// Sequences that are not: continuations alone, lonely first bytes, cut ones, impossible bytes, overlong ones, surrogates,
/// and what lies behind the last character.
const INVALID: [&[u8]; 48] = [
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80",
    b"\x80\xbf\x80\xbf",
    b"\x80\xbf\x80\xbf\x80",
    b"\x80\xbf\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xc2 ",
    b"\xe0 \xe1 \xe2 ",
    b"\xf0 \xf1 \xf2 ",
    b"\xf8 \xf9 \xfa ",
    b"\xfc \xfd ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
    b"\xc0\xe0\x80\xf0\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xfc\x83\xbf\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("6.1.1").send(Frame::text("")).text(""),
        Case::new("6.1.2")
            .send(Frame::text("").unfinished())
            .send(Frame::continuation("").unfinished())
            .send(Frame::continuation(""))
            .text(""),
        Case::new("6.1.3")
            .send(Frame::text("").unfinished())
            .send(Frame::continuation("middle frame payload").unfinished())
            .send(Frame::continuation(""))
            .text("middle frame payload"),
        Case::new("6.2.1").send(Frame::text(LATIN)).text(LATIN),
        in_two("6.2.2", LATIN.as_bytes(), 12).text(LATIN),
        in_fragments("6.2.3", LATIN.as_bytes()).text(LATIN),
        in_fragments("6.2.4", GREEK.as_bytes()).text(GREEK),
        Case::new("6.3.1").send(Frame::text(broken_greek())).end(NOT_TEXT),
        in_fragments("6.3.2", &broken_greek()).end(NOT_TEXT),
        // It is invalid early, and goes on: to be failed at once, or at its end.
        in_two("6.4.1", &[GREEK.as_bytes(), b"\xf4\x90\x80\x80", b"edited"].concat(), GREEK.len() + 4)
            .end(NOT_TEXT),
        in_two("6.4.2", &[GREEK.as_bytes(), b"\xf4\x90\x80\x80", b"edited"].concat(), GREEK.len() + 2)
            .end(NOT_TEXT),
        Case::new("6.4.3")
            .chopped(Frame::text([GREEK.as_bytes(), b"\xf4\x90\x80\x80", b"edited"].concat()), 1)
            .end(NOT_TEXT),
        Case::new("6.4.4").chopped(Frame::text(broken_greek()), 3).end(NOT_TEXT),
        // A character whose end never comes.
        in_two("6.6", b"\xce\xba\xe1\xbd", 2).end(NOT_TEXT),
    ];
    for (nth, text) in (1..).zip(VALID) {
        cases.push(Case::new(format!("6.5.{nth}")).send(Frame::text(text)).text(text));
        cases.push(in_fragments(&format!("6.5.{nth}f"), text).text(text));
    }
    for (nth, text) in (1..).zip(INVALID) {
        cases.push(Case::new(format!("6.20.{nth}")).send(Frame::text(text)).end(NOT_TEXT));
        // The same bytes are a message all right if they do not say that they are text.
        cases.push(Case::new(format!("6.20.{nth}b")).send(Frame::binary(text)).binary(text));
    }
    cases
}

fn broken_greek() -> Vec<u8> {
    [GREEK.as_bytes(), b"\xed\xa0\x80", b"edited"].concat()
}

fn in_two(id: &str, text: &[u8], at: usize) -> Case {
    let (first, rest) = text.split_at(at.min(text.len()));
    Case::new(id)
        .send(Frame::text(Bytes::copy_from_slice(first)).unfinished())
        .send(Frame::continuation(Bytes::copy_from_slice(rest)))
}

/// A fragment for each byte.
fn in_fragments(id: &str, text: &[u8]) -> Case {
    let mut case = Case::new(id);
    for (at, byte) in text.iter().enumerate() {
        let payload = vec![*byte];
        let frame = if at == 0 { Frame::text(payload) } else { Frame::continuation(payload) };
        case = case.send(if at + 1 == text.len() { frame } else { frame.unfinished() });
    }
    case
}
