//! The words of a refusal.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::seconds;
use crate::civil_time;
use crate::selection::{NoCandidate, WhyNone};

/// How much of a model's name is repeated to the client, in characters. The client wrote it.
const MAX_MODEL: usize = 100;

pub(super) fn message(
    none: &NoCandidate,
    user: Option<&str>,
    model: Option<&str>,
    now: SystemTime,
) -> String {
    let whose = user.map(|user| format!(" for {user}")).unwrap_or_default();
    let model: Option<String> =
        model.map(|model| model.chars().take(MAX_MODEL).filter(|c| !c.is_control()).collect());
    let total = none.counts.total();
    let limited = none.counts.limited;
    match none.why {
        WhyNone::NotForUser => match user {
            Some(user) => format!("No credential of this pool may be used by {user}."),
            None => "This service has no credential that may be used.".to_owned(),
        },
        WhyNone::NotForModel => {
            format!("No credential{whose} serves the model {}.", model.as_deref().unwrap_or("asked for"))
        }
        WhyNone::NoApiKey => {
            format!("Such requests are for API keys alone, and no credential{whose} is one.")
        }
        WhyNone::NotForTransport => format!("No credential{whose} can carry a WebSocket."),
        WhyNone::AllLimited | WhyNone::SomeLimited => {
            let what = match (&none.limited_family, model) {
                (Some(_), Some(model)) => format!(" for {model}"),
                (Some(family), None) => format!(" for {family} models"),
                (None, _) => String::new(),
            };
            let (one_is, several_are) = if none.counts.is_throttled() {
                ("is throttled by the provider", "are throttled by the provider")
            } else {
                ("is at its limit", "are at their limit")
            };
            let mut text = if none.why == WhyNone::SomeLimited {
                let other = total - limited;
                format!(
                    "{limited} of {total} credentials{whose} {}{what} and {other} {} unavailable; ",
                    if limited == 1 { one_is } else { several_are },
                    if other == 1 { "is" } else { "are" },
                )
            } else if total == 1 {
                format!("The credential{whose} {one_is}{what}; ")
            } else {
                format!("All {total} credentials{whose} {several_are}{what}; ")
            };
            let next = if total == 1 { "it" } else { "the next one" };
            match none.free_at {
                Some(free) => {
                    let _ = write!(text, "{next} is free {}.", moment(free, now));
                }
                None => text.push_str("when that changes is not known."),
            }
            text
        }
        WhyNone::AllUnavailable | WhyNone::AllTried => {
            let mut text = format!("No credential{whose} is usable: ");
            for (at, (tag, state)) in none.reasons.iter().enumerate() {
                let _ = write!(text, "{}{tag} ({state})", if at == 0 { "" } else { ", " });
            }
            if total > none.reasons.len() {
                let _ = write!(text, " and {} more", total - none.reasons.len());
            }
            text.push('.');
            text
        }
    }
}

/// `at 15:40 UTC (in 1 h 12 m)`, with the date if it is a day or more away. Rounded up to the minute: at the time named
/// it is so.
fn moment(at: SystemTime, now: SystemTime) -> String {
    let left = at.duration_since(now).unwrap_or_default();
    let since = seconds(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let whole = UNIX_EPOCH.checked_add(Duration::from_secs(since.div_ceil(60).saturating_mul(60)));
    let format = if left < Duration::from_secs(24 * 60 * 60) { "%H:%M UTC" } else { "%H:%M UTC on %-d %b" };
    let time = civil_time::utc(whole.unwrap_or(at)).strftime(format);
    format!("at {time} (in {})", span(seconds(left)))
}

fn span(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (seconds, minutes) {
        (..60, _) => format!("{seconds} s"),
        (_, ..60) => format!("{minutes} m"),
        (_, ..1_440) => format!("{} h {} m", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    }
}
