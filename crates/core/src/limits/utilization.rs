//! How much of a window is used.

use std::cmp::Ordering;

/// Percent of a window that is used: finite and not negative by construction; more than 100 is possible, since
/// providers count what a request cost after they let it through.
#[derive(Debug, Clone, Copy)]
pub struct Utilization(f64);

impl Utilization {
    /// Nothing used.
    pub const ZERO: Self = Self(0.0);

    /// All of it used.
    pub const FULL: Self = Self(100.0);

    /// A percentage; `None` if it is negative or not finite.
    pub fn from_percent(percent: f64) -> Option<Self> {
        // Adding zero makes a negative zero positive.
        (percent.is_finite() && percent >= 0.0).then_some(Self(percent + 0.0))
    }

    /// A fraction as Claude's headers have it: times 100, rounded to 6 decimals, then up to a whole percent
    /// (limits.md, *Windows*). The rounding first keeps 0.29 from becoming 30 %. `None` if it is negative or not
    /// finite.
    pub fn from_fraction(fraction: f64) -> Option<Self> {
        Self::from_percent((((fraction * 100.0) * 1e6).round() / 1e6).ceil()).filter(|_| fraction >= 0.0)
    }

    /// The percentage: finite, at least 0.
    pub fn percent(self) -> f64 {
        self.0
    }
}

impl PartialEq for Utilization {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Utilization {}

impl PartialOrd for Utilization {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Utilization {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fractions_become_whole_percents_upwards() {
        for (fraction, percent) in [
            (0.0, 0.0),
            (-0.0, 0.0),
            (0.12, 12.0),
            (0.29, 29.0),
            (0.57, 57.0),
            (1.1, 110.0),
            (0.000_000_001, 0.0),
            (0.000_000_01, 1.0),
            (0.121, 13.0),
            (1.0, 100.0),
            (1.08, 108.0),
        ] {
            let read = Utilization::from_fraction(fraction).unwrap();
            assert!((read.percent() - percent).abs() < f64::EPSILON, "{fraction} became {read:?}");
        }
        for bad in [-0.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e307, -1e-12] {
            assert_eq!(Utilization::from_fraction(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_refused_or_a_percentage(bits: u64) {
            let number = f64::from_bits(bits);
            for read in [Utilization::from_percent(number), Utilization::from_fraction(number)].into_iter().flatten() {
                prop_assert!(read.percent().is_finite() && read.percent() >= 0.0 && number >= 0.0);
                prop_assert!(read.percent().is_sign_positive());
            }
        }

        #[test]
        fn every_whole_percent_survives_as_a_fraction(percent in 0_u16..=2_000) {
            let read = Utilization::from_fraction(f64::from(percent) / 100.0).unwrap();
            prop_assert_eq!(read, Utilization::from_percent(f64::from(percent)).unwrap());
        }
    }
}
