//! The answer of `GET …/wham/usage` (fact sheet, 6): every field optional, unknown ones ignored.

use std::time::{Duration, SystemTime};

use super::families::{Classed, WindowFields, add, pair};
use crate::limits::Utilization;
use crate::limits::json::{Object, Scalar, elements};
use crate::limits::readings::{Field, Ignored, Reading, Readings};
use crate::limits::window::WindowPair;

pub(super) fn read(body: &[u8], now: SystemTime) -> Option<Readings> {
    let usage = Object::parse(body)?;
    let mut out = Readings { ignored: usage.contradictions(), ..Readings::default() };
    if let Some(plan) = usage.string("plan_type") {
        out.note_plan(&plan);
    }
    match usage.scalar("rate_limit") {
        Scalar::Absent => {}
        Scalar::Null => {
            out.base = WindowPair { five_hour: Reading::Unknown, weekly: Reading::Unknown };
        }
        _ => match usage.object("rate_limit") {
            Some(limit) => {
                let windows = windows(&limit, now, &mut out);
                (out.base, out.second) = (windows.first, windows.second);
            }
            None => out.ignore(),
        },
    }
    if let Some(list) = usage.get("additional_rate_limits") {
        let entries = elements(list);
        // What is no list says nothing; none (`null`) says that there are none.
        out.lists_all_limits = entries.is_some() || Scalar::of(list) == Scalar::Null;
        if !out.lists_all_limits {
            out.ignore();
        }
        for entry in entries.unwrap_or_default() {
            add_limit(Object::of(entry).as_ref(), now, &mut out);
        }
    }
    Some(out)
}

fn add_limit(entry: Option<&Object<'_>>, now: SystemTime, out: &mut Readings) {
    let id = entry.and_then(|entry| entry.string("metered_feature").or_else(|| entry.string("limit_name")));
    let (Some(entry), Some(id)) = (entry, id) else {
        out.ignore();
        return;
    };
    let Some(limit) = entry.object("rate_limit") else { return };
    let windows = windows(&limit, now, out);
    add(out, &id, windows);
}

fn windows(limit: &Object<'_>, now: SystemTime, out: &mut Readings) -> Classed {
    let window = |name| match limit.scalar(name) {
        Scalar::Absent => Ok(Reading::Absent),
        Scalar::Null => Ok(Reading::Unknown),
        _ => {
            let window = limit.object(name).ok_or(Ignored)?;
            let fields = WindowFields {
                used: Field::from(window.scalar("used_percent")),
                length: Field::from(window.scalar("limit_window_seconds")),
                length_unit: Duration::from_secs(1),
                reset_at: Field::from(window.scalar("reset_at")),
                reset_after: Field::from(window.scalar("reset_after_seconds")),
            };
            fields.read(now)
        }
    };
    let (mut primary, mut secondary) = (window("primary_window"), window("secondary_window"));
    let is =
        |name, word| matches!(limit.scalar(name), Scalar::Text { text, is_string: false } if text == word);
    if is("limit_reached", "true") || is("allowed", "false") {
        refuse(&mut primary, &mut secondary);
    }
    pair(primary, secondary, out)
}

/// The limit is reached, whatever the percentages say (limits.md, *Windows*): the fuller window is used up.
fn refuse(primary: &mut Result<Reading, Ignored>, secondary: &mut Result<Reading, Ignored>) {
    let used = |window: &Result<Reading, Ignored>| match window {
        Ok(Reading::Value(value)) => Some(value.utilization),
        _ => None,
    };
    let fuller = if used(secondary) > used(primary) { secondary } else { primary };
    if let Ok(Reading::Value(value)) = fuller {
        value.utilization = value.utilization.max(Utilization::FULL);
    }
}
