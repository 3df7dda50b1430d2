//! How much of its windows a credential's owner offers.

use crate::limits::window::{BaseWindow, WindowPair};

/// Percent of each base window that may be used: 1 to 100, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps(WindowPair<u8>);

impl Caps {
    /// Without options: the last percent is left, since providers refuse before they count 100.
    pub const DEFAULT: Self = Self(WindowPair { five_hour: 99, weekly: 99 });

    /// Of external credentials, whose owner has applied caps of its own, and of API keys.
    pub const ALL: Self = Self(WindowPair { five_hour: 100, weekly: 100 });

    /// From the options `reserve_*` (0 to 99) and `limit_*` (0 to 100), each as short and weekly one; 0 is unset.
    /// Where both of a window are set, which the configuration refuses, the stricter holds.
    pub fn from_options(reserve: WindowPair<u8>, limit: WindowPair<u8>) -> Self {
        Self(WindowPair::from_fn(|which| {
            let reserved = Some(*reserve.get(which)).filter(|n| *n > 0).map(|n| 100_u8.saturating_sub(n));
            let limited = Some(*limit.get(which)).filter(|n| *n > 0);
            reserved.into_iter().chain(limited).min().unwrap_or(99).clamp(1, 100)
        }))
    }

    /// The cap of a window, in percent.
    pub fn percent(self, which: BaseWindow) -> f64 {
        f64::from(*self.0.get(which))
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(reserve: (u8, u8), limit: (u8, u8)) -> (u8, u8) {
        let pair = |(five_hour, weekly)| WindowPair { five_hour, weekly };
        let Caps(caps) = Caps::from_options(pair(reserve), pair(limit));
        (caps.five_hour, caps.weekly)
    }

    #[test]
    fn reserves_and_limits() {
        assert_eq!(caps((0, 0), (0, 0)), (99, 99));
        assert_eq!(caps((20, 0), (0, 75)), (80, 75));
        assert_eq!(caps((99, 1), (0, 0)), (1, 99));
        assert_eq!(caps((0, 0), (100, 1)), (100, 1));
        assert_eq!(caps((20, 90), (75, 80)), (75, 10));
        assert_eq!(caps((255, 100), (255, 0)), (1, 1));
        assert_eq!(Caps::default(), Caps::from_options(WindowPair::default(), WindowPair::default()));
    }
}
