//! Doubly linked lists through the slots of the table, by position. Each slot is in two: all bindings by recency, and
//! the bindings of one credential in one scope.

use super::Slot;

/// The list of all bindings; the one used last is first.
pub(super) const RECENCY: usize = 0;

/// The list of a credential's bindings in one scope.
pub(super) const GROUP: usize = 1;

/// No slot. The table never has that many.
const NOWHERE: u32 = u32::MAX;

/// A slot's neighbours in one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) before: u32,
    pub(super) after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { before: NOWHERE, after: NOWHERE }
    }
}

/// A list.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) len: usize,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: NOWHERE, last: NOWHERE, len: 0 }
    }
}

fn links(slots: &mut [Option<Slot>], list: usize, at: u32) -> Option<&mut Links> {
    slots.get_mut(at as usize)?.as_mut()?.links.get_mut(list)
}

/// Puts a slot that is in no such list at its front.
pub(super) fn push_front(slots: &mut [Option<Slot>], ends: &mut Ends, list: usize, at: u32) {
    let Some(own) = links(slots, list, at) else { return };
    *own = Links { before: NOWHERE, after: ends.first };
    match links(slots, list, ends.first) {
        Some(next) => next.before = at,
        None => ends.last = at,
    }
    ends.first = at;
    ends.len += 1;
}

/// Takes a slot that is in the list out of it.
pub(super) fn unlink(slots: &mut [Option<Slot>], ends: &mut Ends, list: usize, at: u32) {
    let Some(own) = links(slots, list, at).map(std::mem::take) else { return };
    match links(slots, list, own.before) {
        Some(before) => before.after = own.after,
        None => ends.first = own.after,
    }
    match links(slots, list, own.after) {
        Some(after) => after.before = own.before,
        None => ends.last = own.before,
    }
    ends.len = ends.len.saturating_sub(1);
}
