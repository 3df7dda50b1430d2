//! What a credential weighs in a pool: how much its plan gives, relative to others.

/// A weight: finite and above zero by construction.
///
/// Which credential has which weight is decided by [`plan::weight`](crate::plan::weight).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// The weight of the smallest plan.
    pub const ONE: Self = Self(1.0);

    /// The most that any weight counts, so that sums stay finite.
    pub const MAX: f64 = 1e9;

    /// The least that any weight counts, so that quotients stay finite.
    pub const MIN: f64 = 1e-9;

    /// A weight; `None` if it is not finite or not above zero.
    pub fn new(weight: f64) -> Option<Self> {
        (weight.is_finite() && weight > 0.0).then(|| Self(weight.clamp(Self::MIN, Self::MAX)))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_weights_above_zero() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Weight::new(bad), None);
        }
        assert_eq!(Weight::new(2.5).map(Weight::get), Some(2.5));
        assert_eq!(Weight::new(1e300).map(Weight::get), Some(Weight::MAX));
        assert_eq!(Weight::new(f64::MIN_POSITIVE).map(Weight::get), Some(Weight::MIN));
    }
}
