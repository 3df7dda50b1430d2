//! Any fields as the head of an answer: what goes on states a length once or not at all, never beside a coding, and keeps
//! everything else.

#![no_main]

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use libfuzzer_sys::fuzz_target;
use trunkline_core::answer_head::{is_stated_once, settle};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mut headers = HeaderMap::new();
    let names = ["content-length", "transfer-encoding", "x-other", "date"];
    for line in rest.split(|byte| *byte == b'\n').take(300) {
        let Some((kind, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(*kind) % names.len()], value);
        }
    }
    let status = [200_u16, 204, 304, 101, 103, 404][usize::from(*first) % 6];
    let version = if first & 0x80 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
    let given = headers.clone();
    let Ok(left) = settle(version, StatusCode::from_u16(status).unwrap(), first & 0x40 != 0, headers) else { return };
    if left.contains_key(CONTENT_LENGTH) {
        assert!(is_stated_once(&left) && !left.contains_key(TRANSFER_ENCODING), "{left:?}");
    }
    for name in ["x-other", "date"] {
        let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(values(&left), values(&given));
    }
});
