//! Places where a test makes the disk fail or the process die. Without the feature `fault-points` there is nothing here:
//! the functions are empty and nothing can switch them on.

use std::fs::File;
use std::io;

#[cfg(feature = "fault-points")]
pub use self::points::{ABORT_AT, Hook, passed, set_hook};

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
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The environment variable with the number of the point, counted from 1, at which the process aborts.
    pub const ABORT_AT: &str = "TRUNKLINE_ABORT_AT";

    /// What a test puts at the points of its thread: an error makes the operation there fail.
    pub type Hook = Box<dyn FnMut(&'static str) -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// Sets the hook of this thread, or takes it away.
    pub fn set_hook(hook: Option<Hook>) {
        HOOK.with_borrow_mut(|place| *place = hook);
    }

    /// How many points this process has passed.
    pub fn passed() -> u64 {
        PASSED.load(Ordering::SeqCst)
    }

    pub(crate) fn point(name: &'static str) -> io::Result<()> {
        static AT: OnceLock<Option<u64>> = OnceLock::new();
        let at = *AT.get_or_init(|| std::env::var(ABORT_AT).ok()?.parse().ok());
        if Some(PASSED.fetch_add(1, Ordering::SeqCst) + 1) == at {
            std::process::abort();
        }
        // Taken out for the call: a hook that comes past a point itself meets none.
        let Some(mut hook) = HOOK.with_borrow_mut(Option::take) else { return Ok(()) };
        let result = hook(name);
        HOOK.with_borrow_mut(|place| _ = place.get_or_insert(hook));
        result
    }
}
