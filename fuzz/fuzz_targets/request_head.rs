//! Any bytes as the head of a request: the look at it never panics, empty lines before and whatever comes behind do not
//! matter, and in a plain head every contradiction is seen, and no other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_core::request_head::is_contradictory;

/// Whether a head that is plainly one, without odd white space, has both ways to tell a length, or lengths that differ.
/// `None` where it is not plain.
fn plain(head: &str) -> Option<bool> {
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    if !first.starts_with(|c: char| c.is_ascii_alphabetic()) || first.contains(['\r', '\n']) {
        return None;
    }
    let (mut encoded, mut lengths) = (false, Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !is_plain || name.is_empty() {
            return None;
        }
        encoded |= name.eq_ignore_ascii_case("transfer-encoding");
        if name.eq_ignore_ascii_case("content-length") {
            lengths.push(value.trim());
        }
    }
    lengths.dedup();
    Some(lengths.len() > 1 || encoded && !lengths.is_empty())
}

fuzz_target!(|data: &[u8]| {
    let contradictory = is_contradictory(data);
    for before in [&b"\r\n"[..], b"\n", b"\r\n\n\r\n"] {
        assert_eq!(is_contradictory(&[before, data].concat()), contradictory, "behind {before:?}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let head = text.split_once("\r\n\r\n").map_or(text, |(head, _)| head);
    let Some(expected) = plain(head) else { return };
    assert_eq!(contradictory, expected);
    for behind in ["", "Content-Length: 1\r\nContent-Length: 2\r\n", "\r\nTransfer-Encoding: x\r\n\r\n"] {
        assert_eq!(
            is_contradictory(format!("{head}\r\n\r\n{behind}").as_bytes()),
            expected,
            "before {behind:?}"
        );
    }
});
