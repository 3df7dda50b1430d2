//! Places where a test makes the disk fail or the process die. Without the feature `fault-points` there is nothing here:
//! the functions are empty and nothing can switch them on. With it, they do nothing until a test arms them.

use std::fs::File;
use std::io;

#[cfg(feature = "fault-points")]
pub use self::points::{Hook, abort_at, log_to, set_hook};

/// Reached the place of this name, where no operation can fail: whoever uses the store has such places too.
#[inline]
pub fn pass(name: &'static str) {
    let _ = point(name);
}

/// Reached the place of this name. An error stands for one of the file system's.
#[cfg(not(feature = "fault-points"))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it fails")]
pub(crate) fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-points")]
pub(crate) use self::points::point;

/// Writes all of `bytes`, with a fault point in the middle: a write that a crash cuts in two.
pub(crate) fn write_all(mut file: &File, bytes: &[u8], name: &'static str) -> io::Result<()> {
    use io::Write as _;
    let (first, second) = if cfg!(feature = "fault-points") {
        bytes.split_at_checked(bytes.len() / 2).unwrap_or((bytes, &[]))
    } else {
        (bytes, &[][..])
    };
    file.write_all(first)?;
    point(name)?;
    file.write_all(second)
}

#[cfg(feature = "fault-points")]
mod points {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What a test puts at the points of its thread: an error makes the operation there fail.
    pub type Hook = Box<dyn FnMut(&'static str) -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    static PASSED: AtomicU64 = AtomicU64::new(0);
    static ABORT_AT: AtomicU64 = AtomicU64::new(0);
    static LOG: OnceLock<File> = OnceLock::new();

    /// Sets the hook of this thread, or takes it away.
    pub fn set_hook(hook: Option<Hook>) {
        HOOK.with_borrow_mut(|place| *place = hook);
    }

    /// Ends the process at the point with this number, counted from 1 over all threads; 0: at none.
    pub fn abort_at(number: u64) {
        ABORT_AT.store(number, Ordering::SeqCst);
    }

    /// Writes the names of the points that are passed from now on, each on a line of its own. The first call counts.
    pub fn log_to(file: File) {
        let _ = LOG.set(file);
    }

    pub(crate) fn point(name: &'static str) -> io::Result<()> {
        let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(mut log) = LOG.get() {
            // In one write, so that lines of different threads do not mix.
            let _ = log.write_all(format!("{name}\n").as_bytes());
        }
        if ABORT_AT.load(Ordering::SeqCst) == number {
            std::process::abort();
        }
        // Taken out for the call: a hook that comes past a point itself meets none.
        let Some(mut hook) = HOOK.with_borrow_mut(Option::take) else { return Ok(()) };
        let result = hook(name);
        HOOK.with_borrow_mut(|place| _ = place.get_or_insert(hook));
        result
    }
}
