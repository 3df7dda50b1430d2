//! The simulated accounts: what each has used, and when its window starts anew.
//!
//! A window of five hours lasts a minute and a half here, and every request takes a share of it that is seen, so that limits are
//! reached, sessions move on, and capacity comes back while somebody watches.

use std::time::Duration;

use trunkline_testkit::claude::Limits as ClaudeLimits;
use trunkline_testkit::codex::Limits as CodexLimits;
use trunkline_testkit::{ClaudeApi, CodexApi};

/// How long a window lasts, in seconds. Of windows that end within a minute of each other nobody can tell whether they are
/// two (limits.md).
pub(super) const WINDOW: u64 = 90;

/// How often the simulated providers count.
const EVERY: Duration = Duration::from_millis(100);

/// The percent of the week that is used, from beginning to end.
const WEEK: f64 = 20.0;

/// The simulated providers.
#[derive(Debug, Clone)]
pub(super) struct Providers {
    pub(super) claude: ClaudeApi,
    pub(super) codex: CodexApi,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Claude,
    Codex,
}

/// A credential of a simulated provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) of: Of,
    /// The credential's tag; also the name of the simulated account.
    pub(super) tag: &'static str,
    /// What the credential is.
    pub(super) kind: &'static str,
    /// The percent of its window that a request takes; `None` for one without limits.
    pub(super) percent: Option<u8>,
}

/// All of them, in the order of the configuration.
pub(super) const ACCOUNTS: [Account; 5] = [
    Account { of: Of::Claude, tag: "login", kind: "login file, Claude", percent: Some(3) },
    Account { of: Of::Claude, tag: "token", kind: "OAuth token, Claude", percent: Some(4) },
    Account { of: Of::Claude, tag: "key", kind: "API key, Claude", percent: None },
    Account { of: Of::Codex, tag: "codex-login", kind: "login file, Codex", percent: Some(4) },
    Account { of: Of::Codex, tag: "codex-key", kind: "API key, Codex", percent: None },
];

/// The tags of a provider's credentials.
pub(super) fn tags(of: Of) -> Vec<&'static str> {
    ACCOUNTS.iter().filter(|account| account.of == of).map(|account| account.tag).collect()
}

impl Providers {
    /// Requests with a credential that its provider saw.
    pub(super) fn served(&self, account: &Account) -> usize {
        match account.of {
            Of::Claude => self.claude.served(account.tag),
            Of::Codex => self.codex.served(account.tag),
        }
    }

    /// The percent of its window that is used; `None` for one without limits.
    pub(super) fn used(&self, account: &Account) -> Option<f64> {
        account.percent?;
        match account.of {
            Of::Claude => Some(self.claude.limits(account.tag).five_hour * 100.0),
            Of::Codex => Some(self.codex.limits(account.tag)?.primary.used),
        }
    }

    fn set(&self, account: &Account, used: Used) {
        match account.of {
            Of::Claude => self.claude.set_limits(account.tag, used.for_claude()),
            Of::Codex => self.codex.set_limits(account.tag, used.for_codex()),
        }
    }

    /// Has them count until this is dropped.
    pub(super) async fn count(self) {
        let mut ticks = tokio::time::interval(EVERY);
        let metered = ACCOUNTS.iter().filter_map(|account| Some((account, account.percent?)));
        let mut meters: Vec<_> =
            metered.map(|(account, percent)| (account, Meter::new(percent, now()))).collect();
        loop {
            ticks.tick().await;
            for (account, meter) in &mut meters {
                self.set(account, meter.used(self.served(account), now()));
            }
        }
    }
}

/// What of a window is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// In percent, up to 100.
    percent: u8,
    /// When the window ends, in seconds since 1970.
    ends: u64,
}

impl Used {
    fn for_claude(self) -> ClaudeLimits {
        let share = f64::from(self.percent) / 100.0;
        let limits =
            ClaudeLimits { five_hour_reset: self.ends, ..ClaudeLimits::allowed(share, WEEK / 100.0) };
        if self.percent < 100 {
            return limits;
        }
        ClaudeLimits { status: "rejected".to_owned(), claim: "five_hour".to_owned(), ..limits }
    }

    fn for_codex(self) -> CodexLimits {
        let mut limits = CodexLimits::used(f64::from(self.percent), WEEK);
        limits.primary.resets_at = self.ends;
        limits
    }
}

/// Counts what of a window is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meter {
    percent: usize,
    /// Requests served when the window began.
    before: usize,
    ends: u64,
}

impl Meter {
    /// A window that begins now. `percent`: what a request takes of it.
    pub(super) fn new(percent: u8, now: u64) -> Self {
        Self { percent: percent.into(), before: 0, ends: now + WINDOW }
    }

    /// What is used once `served` requests were served in all.
    pub(super) fn used(&mut self, served: usize, now: u64) -> Used {
        if now >= self.ends {
            *self = Self { before: served, ends: now + WINDOW, ..*self };
        }
        let percent = served.saturating_sub(self.before).saturating_mul(self.percent).min(100);
        Used { percent: u8::try_from(percent).unwrap_or(100), ends: self.ends }
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
    use trunkline_core::provider::Provider;
    use trunkline_core::provider::claude::Claude;
    use trunkline_core::provider::codex::Codex;

    use super::*;

    #[test]
    fn a_window_fills_and_starts_anew() {
        let mut meter = Meter::new(40, 1_000);
        let mut used = |served, now| meter.used(served, now).percent;
        assert_eq!([used(0, 1_000), used(1, 1_001), used(9, 1_089)], [0, 40, 100]);
        let full = meter.used(9, 1_089);
        assert!(full.for_claude().is_rejected() && full.for_claude().reset() == 1_090, "{full:?}");
        assert!(full.for_codex().is_reached() && full.for_codex().reset() == 1_090, "{full:?}");
        let mut used = |served, now| meter.used(served, now).percent;
        assert_eq!([used(9, 1_090), used(10, 1_179), used(10, 1_180)], [0, 40, 0]);
        let anew = meter.used(10, 1_181);
        assert!(!anew.for_claude().is_rejected() && !anew.for_codex().is_reached());
    }

    #[test]
    fn a_window_that_starts_anew_is_read_as_a_new_one() {
        for of in [Of::Claude, Of::Codex] {
            let told = |used: Used| match of {
                Of::Claude => used.for_claude().headers(),
                Of::Codex => used.for_codex().headers(),
            };
            let provider: &dyn Provider = if of == Of::Claude { &Claude } else { &Codex };
            let mut meter = Meter::new(40, 1_000);
            let mut windows = Windows::new();
            let mut used = |served, seconds| {
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
                let headers: HeaderMap = told(meter.used(served, seconds))
                    .iter()
                    .map(|(name, value)| {
                        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
                    })
                    .collect();
                let readings = provider.limit_facts().read_headers(StatusCode::OK, &headers, now);
                windows.observe(&readings, Source::InBand, now);
                windows.base(BaseWindow::FiveHour, now).unwrap().effective(now).percent().to_string()
            };
            assert_eq!([used(9, 1_089), used(9, 1_090), used(10, 1_091)], ["100", "0", "40"]);
        }
    }
}
