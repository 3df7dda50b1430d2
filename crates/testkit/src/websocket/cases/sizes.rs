//! Groups 9 and 10: long messages, many messages, and fragments of the sender's choice.

use bytes::Bytes;

use super::{Case, Echo, Frame, Send};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What counts as large: left out unless asked for.
const LARGE: usize = MIB;

pub(super) fn cases(with_large: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let fits = |size: &usize| with_large || *size <= LARGE;
    let sizes = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
    for (nth, size) in (1..).zip(sizes).filter(|(_, size)| fits(size)) {
        let text = Bytes::from(b"BAsd7&jh23".iter().copied().cycle().take(size).collect::<Vec<u8>>());
        cases.push(Case::new(format!("9.1.{nth}")).send(Frame::text(text.clone())).text(text));
        let bytes = Bytes::from((0..=255).cycle().take(size).collect::<Vec<u8>>());
        cases.push(Case::new(format!("9.2.{nth}")).send(Frame::binary(bytes.clone())).binary(bytes));
    }
    let size = if with_large { 4 * MIB } else { MIB };
    let bytes = Bytes::from((0..=250).cycle().take(size).collect::<Vec<u8>>());
    let text = Bytes::from(vec![b'*'; size]);
    for (nth, of) in (1..).zip([KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, size]) {
        let id = |group: &str| format!("{group}.{nth}");
        cases.push(fragmented(Case::new(id("9.3")), Frame::text, &text, of).text(text.clone()));
        cases.push(fragmented(Case::new(id("9.4")), Frame::binary, &bytes, of).binary(bytes.clone()));
    }
    for (nth, pieces) in (1..).zip([512, 1024, 2048]) {
        cases.push(
            Case::new(format!("9.5.{nth}"))
                .chopped(Frame::text(text.clone()), pieces * 16)
                .text(text.clone()),
        );
        cases.push(
            Case::new(format!("9.6.{nth}"))
                .chopped(Frame::binary(bytes.clone()), pieces * 16)
                .binary(bytes.clone()),
        );
    }
    let count = if with_large { 1_000 } else { 100 };
    for (nth, size) in (1..).zip([0, 16, 64, 256, 1024, 4096]) {
        let text = Bytes::from(vec![b'*'; size]);
        let mut case = Case::new(format!("9.7.{nth}"));
        for sent in 1..=count {
            case.send.extend([Send::Frame(Frame::text(text.clone())), Send::Await(sent)]);
            case.echoes.push(Echo::Text(text.clone()));
        }
        cases.push(case);
    }
    let text = Bytes::from(vec![b'*'; 65_536]);
    cases.push(fragmented(Case::new("10.1.1"), Frame::text, &text, 1300).text(text.clone()));
    cases
}

/// A message in fragments of so many bytes.
fn fragmented(case: Case, first: fn(Bytes) -> Frame, message: &Bytes, of: usize) -> Case {
    let count = message.len().div_ceil(of);
    (0..count).fold(case, |case, nth| {
        let part = message.slice(nth * of..message.len().min((nth + 1) * of));
        let frame = if nth == 0 { first(part) } else { Frame::continuation(part) };
        case.send(if nth + 1 == count { frame } else { frame.unfinished() })
    })
}
