//! One window of a subscription, and the two that every subscription may have.

use std::time::{Duration, SystemTime};

use crate::limits::Utilization;

/// Up to this length a window is the short one, beyond it the weekly one (limits.md, *Windows*).
pub const LONGEST_FIVE_HOUR: Duration = Duration::from_secs(24 * 3600);

/// The two base windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseWindow {
    /// The short one: five hours. Codex: primary.
    FiveHour,
    /// The long one: a week. Codex: secondary.
    Weekly,
}

impl BaseWindow {
    /// Both, the short one first.
    pub const BOTH: [Self; 2] = [Self::FiveHour, Self::Weekly];

    /// Its name in logs, metrics and options: `5h` or `weekly`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FiveHour => "5h",
            Self::Weekly => "weekly",
        }
    }

    /// How long it is when nobody says: 300 and 10,080 minutes.
    pub fn usual_length(self) -> Duration {
        match self {
            Self::FiveHour => Duration::from_secs(300 * 60),
            Self::Weekly => Duration::from_secs(10_080 * 60),
        }
    }

    /// Which of the two a window of this length is.
    pub fn of_length(length: Duration) -> Self {
        if length <= LONGEST_FIVE_HOUR { Self::FiveHour } else { Self::Weekly }
    }
}

/// What is known of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Percent used when it was observed.
    pub utilization: Utilization,
    /// When it starts anew, if that was said.
    pub resets_at: Option<SystemTime>,
    /// How long it is, if that was said.
    pub length: Option<Duration>,
    /// When this was observed.
    pub observed_at: SystemTime,
}

impl Window {
    /// What counts at `now`: nothing once the reset has come, whether or not anybody has looked since.
    pub fn effective(&self, now: SystemTime) -> Utilization {
        match self.resets_at {
            Some(reset) if reset <= now => Utilization::ZERO,
            _ => self.utilization,
        }
    }

    /// Whether it has begun: one that nothing was taken of, and that ends at no time, has not.
    pub fn has_begun(&self) -> bool {
        self.utilization > Utilization::ZERO || self.resets_at.is_some()
    }

    /// Whether it has ended at `now`; of the one after it nothing is known.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.resets_at.is_some_and(|reset| reset <= now)
    }

    /// The reset, if it is still ahead.
    pub fn reset_ahead(&self, now: SystemTime) -> Option<SystemTime> {
        self.resets_at.filter(|reset| *reset > now)
    }
}

/// One value for each base window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowPair<T> {
    /// Of the short one.
    pub five_hour: T,
    /// Of the long one.
    pub weekly: T,
}

impl<T> WindowPair<T> {
    /// Makes both.
    pub fn from_fn(mut make: impl FnMut(BaseWindow) -> T) -> Self {
        Self { five_hour: make(BaseWindow::FiveHour), weekly: make(BaseWindow::Weekly) }
    }

    /// One of the two.
    pub fn get(&self, which: BaseWindow) -> &T {
        match which {
            BaseWindow::FiveHour => &self.five_hour,
            BaseWindow::Weekly => &self.weekly,
        }
    }

    /// One of the two, to change it.
    pub fn get_mut(&mut self, which: BaseWindow) -> &mut T {
        match which {
            BaseWindow::FiveHour => &mut self.five_hour,
            BaseWindow::Weekly => &mut self.weekly,
        }
    }
}
