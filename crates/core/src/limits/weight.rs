//! What a credential weighs in a pool: how much its plan gives, relative to others.

/// A weight: finite and above zero by construction.
///
/// Which plan has which weight is credentials.md, *Profile and plan weight*; the option `weight` wins.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// A plan of the smallest size, and an API key.
    pub const ONE: Self = Self(1.0);

    /// An external credential that has not said its weight.
    pub const EXTERNAL: Self = Self(10.0);

    /// What an external credential may claim at most: one that claims more would draw everything to it.
    pub const MAX_EXTERNAL: f64 = 10_000.0;

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
