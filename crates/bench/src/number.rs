//! The few lossy conversions that figures need, in one place.

/// A count as a floating-point number; exact below 2^53, which no count here reaches.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of one run stay far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A count as a length.
pub(crate) fn length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The whole nanoseconds of a duration.
pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
