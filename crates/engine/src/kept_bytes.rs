//! Bytes of a stream that are kept in memory, in the pieces they came in, where the pieces are worth it.
//!
//! A peer decides how long the pieces are. A piece of one byte costs a handle of 32 bytes and keeps alive the part of the
//! read buffer that its framing lies in, so keeping such pieces would cost forty times what they hold. So small pieces are
//! copied together, and [`KeptBytes::cost`] says what is really held, which is what budgets count. Large pieces are kept as
//! they are, since copying them would cost time and save nothing.

use std::collections::VecDeque;

use bytes::Bytes;

/// Pieces shorter than this are copied together. Framing, and what is left over in a read buffer, then add a small part to
/// what a kept piece holds.
pub(crate) const SMALL: usize = 4 * 1024;

/// How many bytes of small pieces stand together in one buffer.
pub(crate) const TOGETHER: usize = 16 * 1024;

/// What a kept piece costs besides its bytes: its handle of 32 bytes in a queue that may be half empty, and the count of
/// those who share it, with the allocator's rounding.
const PIECE_COST: usize = 96;

/// What the first piece costs at least. It is kept as it is even when it is small, since most bodies have no other piece;
/// it keeps alive the buffer that it was read into, of 8 KiB in the HTTP library.
const FIRST_COST: usize = 8 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeptBytes {
    pieces: VecDeque<Bytes>,
    /// Small pieces that were copied together, behind all of `pieces`.
    together: Vec<u8>,
    /// What `pieces` cost.
    cost: usize,
}

/// How far somebody has read. It stays valid while pieces are added, and not when one is taken out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    piece: usize,
    within: usize,
}

impl KeptBytes {
    /// Adds a piece at the end.
    pub(crate) fn push(&mut self, piece: Bytes) {
        let is_first = self.pieces.is_empty() && self.together.is_empty();
        if is_first {
            self.cost += FIRST_COST.saturating_sub(piece.len());
        }
        if is_first || piece.len() >= SMALL {
            self.end_together();
            self.add(piece);
            return;
        }
        if self.together.len() + piece.len() > TOGETHER {
            self.end_together();
        }
        self.together.extend_from_slice(&piece);
    }

    fn end_together(&mut self) {
        if !self.together.is_empty() {
            self.cost += self.together.capacity() - self.together.len();
            let together = std::mem::take(&mut self.together);
            self.add(together.into());
        }
    }

    fn add(&mut self, piece: Bytes) {
        self.cost += PIECE_COST + piece.len();
        self.pieces.push_back(piece);
    }

    /// How many bytes of memory all of it takes.
    pub(crate) fn cost(&self) -> usize {
        self.cost + self.together.capacity()
    }

    /// What stands behind `position`, as far as it is in one piece, and moves the position behind that.
    pub(crate) fn read(&self, position: &mut Position) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get(position.piece) {
            let rest = piece.slice(position.within.min(piece.len())..);
            *position = Position { piece: position.piece + 1, within: 0 };
            if !rest.is_empty() {
                return Some(rest);
            }
        }
        let rest = self.together.get(position.within..).filter(|rest| !rest.is_empty())?;
        position.within += rest.len();
        Some(Bytes::copy_from_slice(rest))
    }

    /// The position behind everything.
    pub(crate) fn end(&self) -> Position {
        Position { piece: self.pieces.len(), within: self.together.len() }
    }

    /// Whether nothing stands behind `position`.
    pub(crate) fn is_end(&self, position: Position) -> bool {
        let end = self.end();
        position.piece > end.piece || (position.piece == end.piece && position.within >= end.within)
            // The buffer that it is at the end of was completed, and nothing has come since.
            || (position.piece + 1 == end.piece
                && end.within == 0
                && self.pieces.back().is_some_and(|last| position.within >= last.len()))
    }
}

impl From<Bytes> for KeptBytes {
    fn from(whole: Bytes) -> Self {
        let mut kept = Self::default();
        if !whole.is_empty() {
            kept.push(whole);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(kept: &KeptBytes) -> Vec<u8> {
        let mut position = Position::default();
        std::iter::from_fn(|| kept.read(&mut position)).flatten().collect()
    }

    #[test]
    fn one_byte_at_a_time_costs_about_a_byte_each() {
        let mut kept = KeptBytes::default();
        let mut buffer = Bytes::from(vec![7; 200_000]);
        for _ in 0..200_000 {
            kept.push(buffer.split_to(1));
        }
        assert_eq!(whole(&kept).len(), 200_000);
        assert!(kept.cost() < 200_000 * 11 / 10, "{}", kept.cost());
        assert!(kept.pieces.len() < 15, "{}", kept.pieces.len());
    }

    #[test]
    fn a_small_piece_does_not_keep_the_buffer_alive_that_it_came_in() {
        let buffer = Bytes::from(vec![7; 100_000]);
        let mut kept = KeptBytes::default();
        kept.push(Bytes::from_static(b"first"));
        kept.push(buffer.slice(5..6));
        assert!(buffer.is_unique());
        // A large piece is not copied.
        kept.push(buffer.slice(0..50_000));
        assert!(!buffer.is_unique());
    }

    #[test]
    fn the_usual_body_of_one_piece_is_not_copied() {
        let body = Bytes::from(vec![7; 500]);
        let mut kept = KeptBytes::default();
        kept.push(body.clone());
        let read = kept.read(&mut Position::default()).unwrap();
        assert_eq!(read.as_ptr(), body.as_ptr());
        assert!(kept.cost() >= FIRST_COST);
    }

    proptest! {
        /// Two readers, one from the beginning and one that goes along, read what was pushed, in any interleaving; and
        /// what it costs covers the bytes and is bounded by them.
        #[test]
        fn every_reader_reads_what_was_pushed(
            lengths in prop::collection::vec(prop_oneof![4 => 1_usize..40, 1 => 1_usize..20_000], 1..120),
            reads in prop::collection::vec(0_usize..4, 1..120),
        ) {
            let mut kept = KeptBytes::default();
            let (mut expected, mut read) = (Vec::new(), Vec::new());
            let (mut position, mut live) = (Position::default(), Vec::new());
            for (n, (length, reads)) in lengths.iter().zip(reads.iter().cycle()).enumerate() {
                let piece: Vec<u8> = (0..*length).map(|at| u8::try_from((n * 31 + at) % 251).unwrap()).collect();
                // Who is at the end gets what is pushed by hand.
                let is_at_end = kept.is_end(position);
                prop_assert_eq!(is_at_end, read.len() == expected.len());
                expected.extend_from_slice(&piece);
                kept.push(piece.clone().into());
                if is_at_end && n % 3 == 0 {
                    read.extend_from_slice(&piece);
                    live.push(n);
                    position = kept.end();
                }
                for _ in 0..*reads {
                    if let Some(piece) = kept.read(&mut position) {
                        read.extend_from_slice(&piece);
                    }
                }
                prop_assert!(expected.starts_with(&read));
            }
            while let Some(piece) = kept.read(&mut position) {
                prop_assert!(!piece.is_empty());
                read.extend_from_slice(&piece);
            }
            prop_assert!(kept.is_end(position));
            prop_assert_eq!(&read, &expected);
            prop_assert_eq!(&whole(&kept), &expected);
            let held = kept.cost();
            prop_assert!(held >= expected.len());
            prop_assert!(held <= FIRST_COST + 2 * TOGETHER + 2 * expected.len() + PIECE_COST * lengths.len());
        }
    }
}
