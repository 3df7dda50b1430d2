//! How much a credential weighs among others (credentials.md, *Profile and plan weight*).

/// What an external credential weighs whose other side has not said.
pub const EXTERNAL_WEIGHT: f64 = 10.0;

/// The most that another instance may claim.
pub const MAX_REPORTED_WEIGHT: f64 = 10_000.0;

/// What an API key weighs.
pub const API_KEY_WEIGHT: f64 = 1.0;

/// Where a weight comes from when the configuration has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightSource {
    /// A login's plan, weighed by its provider.
    Plan(u32),
    /// An API key.
    ApiKey,
    /// Another instance: what it reports, if it has.
    External(Option<f64>),
}

/// The weight of a credential; above zero and finite. `configured`: the option `weight`, which wins.
pub fn weight(configured: Option<f64>, source: WeightSource) -> f64 {
    let is_one = |weight: &f64| weight.is_finite() && *weight > 0.0;
    configured.filter(is_one).unwrap_or_else(|| match source {
        WeightSource::Plan(weight) => f64::from(weight.max(1)),
        WeightSource::ApiKey => API_KEY_WEIGHT,
        WeightSource::External(reported) => {
            reported.filter(is_one).map_or(EXTERNAL_WEIGHT, |weight| weight.min(MAX_REPORTED_WEIGHT))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "nothing is computed")]
    fn the_configuration_wins_and_nonsense_does_not() {
        assert_eq!(weight(Some(0.5), WeightSource::Plan(10)), 0.5);
        assert_eq!(weight(None, WeightSource::Plan(10)), 10.0);
        assert_eq!(weight(None, WeightSource::Plan(0)), 1.0);
        assert_eq!(weight(None, WeightSource::ApiKey), 1.0);
        assert_eq!(weight(None, WeightSource::External(None)), 10.0);
        assert_eq!(weight(None, WeightSource::External(Some(25.0))), 25.0);
        assert_eq!(weight(None, WeightSource::External(Some(1e9))), 10_000.0);
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(weight(Some(nonsense), WeightSource::ApiKey), 1.0);
            assert_eq!(weight(None, WeightSource::External(Some(nonsense))), 10.0);
        }
    }
}
