//! The beginning of an answer that is read before its head goes to the client, as frames in a queue.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;

use crate::kept_bytes::{SMALL, TOGETHER};

/// Puts a frame at the end of the queue. A small one is copied to what it follows: a provider that sends byte by byte would
/// take some hundred bytes of memory for each of them.
pub(crate) fn push(queue: &mut VecDeque<Frame<Bytes>>, frame: Frame<Bytes>) {
    let length = frame.data_ref().map(Bytes::len);
    if length.is_some_and(|length| length < SMALL)
        && let Some(data) = frame.data_ref()
        && let Some(last) = queue.back_mut().and_then(Frame::data_mut)
        && last.len() + data.len() <= TOGETHER
    {
        // In place, unless it is the first that is added to what was read, which shares its buffer.
        let mut together = match std::mem::take(last).try_into_mut() {
            Ok(own) => own,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        together.extend_from_slice(data);
        *last = together.freeze();
        return;
    }
    queue.push_back(frame);
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn byte_by_byte_makes_few_frames() {
        let mut buffer = Bytes::from(vec![7; 100_000]);
        let mut queue = VecDeque::new();
        while !buffer.is_empty() {
            push(&mut queue, Frame::data(buffer.split_to(1)));
        }
        assert!(queue.len() <= 7, "{}", queue.len());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved(lengths in prop::collection::vec(0_usize..6_000, 0..60)) {
            let mut expected = Vec::new();
            let mut queue = VecDeque::new();
            for (n, length) in lengths.iter().enumerate() {
                let piece: Vec<u8> = (0..*length).map(|at| u8::try_from((n * 31 + at) % 251).unwrap()).collect();
                expected.extend_from_slice(&piece);
                push(&mut queue, Frame::data(piece.into()));
            }
            push(&mut queue, Frame::trailers(HeaderMap::new()));
            prop_assert!(queue.pop_back().is_some_and(|last| last.is_trailers()));
            let pushed: Vec<u8> = queue.iter().filter_map(Frame::data_ref).flatten().copied().collect();
            prop_assert_eq!(pushed, expected);
            prop_assert!(queue.len() <= lengths.iter().filter(|length| **length >= SMALL).count() * 2 + 60 * 6_000 / TOGETHER + 1);
        }
    }
}
