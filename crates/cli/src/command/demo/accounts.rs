//! The simulated accounts: what each has used, and when its window starts anew.
//!
//! A window of five hours lasts a minute and a half here, and every request takes a share of it that is seen, so that limits are
//! reached, sessions move on, and capacity comes back while somebody watches.

use std::time::Duration;

use trunkline_testkit::ClaudeApi;
use trunkline_testkit::claude::Limits;

/// How long a window lasts, in seconds. Of windows that end within a minute of each other nobody can tell whether they are
/// two (limits.md).
pub(super) const WINDOW: u64 = 90;

/// How often the simulated provider counts.
const EVERY: Duration = Duration::from_millis(100);

/// The share of the week that is used, from beginning to end.
const WEEK: f64 = 0.2;

/// A credential of the simulated provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    /// The credential's tag; also the name of the simulated account.
    pub(super) tag: &'static str,
    /// What the credential is.
    pub(super) kind: &'static str,
    /// The percent of its window that a request takes; `None` for one without limits.
    pub(super) percent: Option<u8>,
}

/// All of them, in the order of the configuration.
pub(super) const ACCOUNTS: [Account; 3] = [
    Account { tag: "login", kind: "login file", percent: Some(3) },
    Account { tag: "token", kind: "OAuth token", percent: Some(4) },
    Account { tag: "key", kind: "API key", percent: None },
];

/// What of a window is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meter {
    percent: usize,
    /// Requests served when the window began.
    before: usize,
    /// When the window ends, in seconds since 1970.
    ends: u64,
}

impl Meter {
    /// A window that begins now. `percent`: what a request takes of it.
    pub(super) fn new(percent: u8, now: u64) -> Self {
        Self { percent: percent.into(), before: 0, ends: now + WINDOW }
    }

    /// The percent that are used once `served` requests were served in all.
    pub(super) fn used(&mut self, served: usize, now: u64) -> usize {
        if now >= self.ends {
            *self = Self { before: served, ends: now + WINDOW, ..*self };
        }
        (served.saturating_sub(self.before) * self.percent).min(100)
    }

    /// What the account tells of it.
    fn limits(&mut self, served: usize, now: u64) -> Limits {
        let used = self.used(served, now);
        let share = f64::from(u8::try_from(used).unwrap_or(100)) / 100.0;
        let limits = Limits { five_hour_reset: self.ends, ..Limits::allowed(share, WEEK) };
        if used < 100 {
            return limits;
        }
        Limits { status: "rejected".to_owned(), claim: "five_hour".to_owned(), ..limits }
    }
}

/// Has the provider count until this is dropped.
pub(super) async fn count(api: ClaudeApi) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut meters: Vec<_> = ACCOUNTS
        .iter()
        .filter_map(|account| Some((account.tag, Meter::new(account.percent?, now()))))
        .collect();
    loop {
        ticks.tick().await;
        for (tag, meter) in &mut meters {
            api.set_limits(tag, meter.limits(api.served(tag), now()));
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use trunkline_core::limits::{BaseWindow, Source, Windows};
    use trunkline_core::provider::Provider as _;
    use trunkline_core::provider::claude::Claude;

    use super::*;

    #[test]
    fn a_window_fills_and_starts_anew() {
        let mut meter = Meter::new(40, 1_000);
        assert_eq!([meter.used(0, 1_000), meter.used(1, 1_001), meter.used(9, 1_089)], [0, 40, 100]);
        let full = meter.limits(9, 1_089);
        assert!(full.is_rejected() && full.reset() == 1_090, "{full:?}");
        assert_eq!([meter.used(9, 1_090), meter.used(10, 1_179), meter.used(10, 1_180)], [0, 40, 0]);
        assert!(!meter.limits(10, 1_181).is_rejected());
    }

    #[test]
    fn a_window_that_starts_anew_is_read_as_a_new_one() {
        let mut meter = Meter::new(40, 1_000);
        let mut windows = Windows::new();
        let mut used = |served, seconds| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let headers: HeaderMap = meter
                .limits(served, seconds)
                .headers()
                .iter()
                .map(|(name, value)| {
                    (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
                })
                .collect();
            let readings = Claude.limit_facts().read_headers(StatusCode::OK, &headers, now);
            windows.observe(&readings, Source::InBand, now);
            windows.base(BaseWindow::FiveHour).unwrap().effective(now).percent().to_string()
        };
        assert_eq!([used(9, 1_089), used(9, 1_090), used(10, 1_091)], ["100", "0", "40"]);
    }
}
