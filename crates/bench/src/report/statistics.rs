//! Medians and ranges of a few samples.

use serde::{Deserialize, Serialize};

/// The samples of one metric of one target, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

// === impl Summary ===

impl Summary {
    /// Sums samples up, if there are any.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(samples)?,
            min: samples.iter().copied().reduce(f64::min)?,
            max: samples.iter().copied().reduce(f64::max)?,
        })
    }

    /// Whether some value lies within both ranges.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }

    /// How far the median of `other` lies from this one, as a share of this one; nothing if this is not positive.
    pub(crate) fn change_to(self, other: Self) -> Option<f64> {
        (self.median > 0.0).then(|| other.median / self.median - 1.0)
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_odd_and_even_counts() {
        assert_eq!(Summary::of(&[3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ranges_that_touch_overlap() {
        let low = Summary { median: 1.5, min: 1.0, max: 2.0 };
        let high = Summary { median: 3.0, min: 2.0, max: 4.0 };
        let higher = Summary { median: 3.0, min: 2.1, max: 4.0 };
        assert!(low.overlaps(high) && high.overlaps(low) && low.overlaps(low));
        assert!(!low.overlaps(higher) && !higher.overlaps(low));
    }

    #[test]
    fn changes_are_shares_of_the_first() {
        let of = |median| Summary { median, min: median, max: median };
        assert_eq!(of(2.0).change_to(of(3.0)), Some(0.5));
        assert_eq!(of(0.0).change_to(of(3.0)), None);
        assert_eq!(of(-1.0).change_to(of(3.0)), None);
    }
}
