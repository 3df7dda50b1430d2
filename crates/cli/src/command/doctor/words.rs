//! Times, sizes and failures in words.

use std::io;
use std::time::{Duration, SystemTime};

use crate::command::status::display::duration;

/// A time that is measured in hours rather than in milliseconds.
pub(super) fn long(time: Duration) -> String {
    duration(time.as_secs())
}

/// A time that is measured in milliseconds.
pub(super) fn short(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
    }
}

/// `3 h 2 m ago`, or how far ahead a moment is that should be past.
pub(super) fn ago(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(age) => format!("{} ago", long(age)),
        Err(ahead) => format!("{} ahead of this machine's clock", long(ahead.duration())),
    }
}

/// A size in the unit that suits it, rounded down.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// A failure of the file system.
pub(super) fn failure(kind: io::ErrorKind) -> String {
    kind.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(ago(at(100), at(7_300)), "2 h 0 m ago");
        assert_eq!(ago(at(160), at(100)), "1 m 0 s ahead of this machine's clock");
        assert_eq!(
            [short(Duration::from_micros(300)), short(Duration::from_millis(2_345))],
            ["0 ms", "2.3 s"]
        );
        for (bytes, text) in [(0, "0 bytes"), (1_023, "1023 bytes"), (5 << 20, "5 MiB"), (3 << 30, "3 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
