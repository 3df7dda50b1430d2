//! The memory of a brotli decoder, counted as the library asks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli_decompressor::{Allocator, SliceWrapper, StandardAlloc};

/// Allocates as the standard allocator does, and counts.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    used: Arc<AtomicUsize>,
}

impl Counted {
    /// How many bytes are allocated now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl<T: Clone + Default> Allocator<T> for Counted {
    type AllocatedMemory = <StandardAlloc as Allocator<T>>::AllocatedMemory;

    fn alloc_cell(&mut self, length: usize) -> Self::AllocatedMemory {
        self.used.fetch_add(length * size_of::<T>(), Ordering::Relaxed);
        StandardAlloc::default().alloc_cell(length)
    }

    fn free_cell(&mut self, cell: Self::AllocatedMemory) {
        self.used.fetch_sub(size_of_val(SliceWrapper::<T>::slice(&cell)), Ordering::Relaxed);
    }
}
