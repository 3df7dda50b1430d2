//! Everything that keeps a credential from being usable, as the selection of credentials wants it: not the first row of
//! the table, as [`Facts::state`], but all that hold.

use std::time::SystemTime;

use super::facts::{CappedWindow, Facts};
use super::state::BlockReason;
use crate::limits::BaseWindow;
use crate::selection::{Fact, ModelFamily, Window};

impl Facts {
    /// Every fact that counts at `now`. `family`: the models of a family, by the name that the limits give it.
    ///
    /// What it gives holds until [`Facts::next_moment`], but for the ends that are in it: those need no new list.
    pub fn listed(
        &self,
        now: SystemTime,
        capped: &[CappedWindow],
        family: &dyn Fn(&str) -> ModelFamily,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(why) = self.unavailable(now) {
            facts.push(Fact::Unavailable { why: why.to_string() });
        } else if self.refreshing(now).is_some() {
            facts.push(Fact::Refreshing);
        }
        let blocks = self.blocks(now, true).filter(|(reason, _)| *reason != BlockReason::Burst);
        facts.extend(blocks.map(|(reason, until)| Fact::Blocked { reason, until }));
        facts.extend(self.bursts(now).map(|burst| Fact::Throttled {
            family: burst.family.as_deref().map(family),
            until: burst.span.until(),
            is_stated: burst.is_stated,
        }));
        facts.extend(self.rate_limits(now).map(|limited| Fact::RateLimited {
            window: window(&limited.window),
            scope: limited.scope.map(|name| family(name)),
            until: Some(limited.span.until()),
        }));
        let counting = capped.iter().filter(|capped| capped.until.is_none_or(|until| now < until));
        facts.extend(counting.map(|capped| Fact::Capped {
            window: window(&capped.window),
            scope: capped.scope.map(|name| family(name)),
            until: capped.until,
        }));
        facts
    }
}

fn window(name: &str) -> Window {
    match BaseWindow::BOTH.into_iter().find(|which| which.name() == name) {
        Some(BaseWindow::FiveHour) => Window::FiveHour,
        Some(BaseWindow::Weekly) => Window::Weekly,
        None => Window::Named(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::availability::{RequestEnd, Scope, Source};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
    }

    fn family(name: &str) -> ModelFamily {
        ModelFamily { name: name.to_owned(), models: vec![format!("*{name}*")] }
    }

    #[test]
    fn everything_that_holds_is_listed_and_not_the_first_alone() {
        let mut facts = Facts::new(Source::Fixed, "");
        assert_eq!(facts.listed(at(0), &[], &family), []);
        assert!(facts.is_untroubled() && facts.has_good_token(at(0)));
        facts.on_poll_failed();
        facts.on_request_ended(&RequestEnd::Burst(Some(Duration::from_secs(5))), at(0));
        facts.on_rate_limited("5h", Scope::All, at(100), at(0));
        facts.on_rate_limited("7d_opus", Scope::ModelFamily("opus".into()), at(200), at(0));
        let capped = [
            CappedWindow { window: "weekly".into(), scope: Scope::All, until: Some(at(50)) },
            CappedWindow { window: "5h".into(), scope: Scope::All, until: Some(at(0)) },
        ];
        let until = |seconds| Some(at(seconds));
        let blocked = |reason, until| Fact::Blocked { reason, until };
        assert_eq!(
            facts.listed(at(0), &capped, &family),
            [
                blocked(BlockReason::PollFailed, None),
                Fact::Throttled { family: None, until: at(5), is_stated: true },
                Fact::RateLimited { window: Window::FiveHour, scope: Scope::All, until: until(100) },
                Fact::RateLimited {
                    window: Window::Named("7d_opus".to_owned()),
                    scope: Scope::ModelFamily(family("opus")),
                    until: until(200),
                },
                Fact::Capped { window: Window::Weekly, scope: Scope::All, until: until(50) },
            ]
        );
        assert!(!facts.is_untroubled());
        assert_eq!(facts.next_moment(at(0), &capped), until(5));
        assert_eq!(facts.next_moment(at(60), &capped), until(100));
        facts.on_refused("refused", at(0));
        assert_eq!(
            facts.listed(at(300), &capped, &family),
            [Fact::Unavailable { why: "refused".to_owned() }, blocked(BlockReason::PollFailed, None)]
        );
    }
}
