//! The answer of `GET /api/oauth/usage` (fact sheet, 3): every field optional, unknown ones ignored.

use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::limits::LimitScope;
use crate::limits::json::{Object, Scalar, elements};
use crate::limits::readings::{self, Field, Reading, Readings, ReportedWindow, ScopedReading, Unit};
use crate::limits::window::{BaseWindow, WindowPair};

pub(super) fn read(body: &[u8], now: SystemTime) -> Option<Readings> {
    let usage = Object::parse(body)?;
    let mut out = Readings { ignored: usage.contradictions(), ..Readings::default() };
    for (name, value) in usage.members() {
        let place = match name {
            "five_hour" => Place::Base(BaseWindow::FiveHour),
            "seven_day" => Place::Base(BaseWindow::Weekly),
            _ => match name.strip_prefix("seven_day_").and_then(family) {
                Some(scope) => Place::Scope(scope),
                None => continue,
            },
        };
        match window(value, "utilization", now) {
            Ok(reading) => place.put(&mut out, reading),
            Err(_) => out.ignore(),
        }
    }
    // The newer form, for windows of which the older one says nothing.
    for entry in usage.get("limits").and_then(elements).unwrap_or_default() {
        let Some(limit) = Object::of(entry) else {
            out.ignore();
            continue;
        };
        let Some(place) = place_of(&limit) else { continue };
        if place.has_value(&out) {
            continue;
        }
        match window(entry, "percent", now) {
            Ok(reading @ Reading::Value(_)) => place.put(&mut out, reading),
            Ok(_) => {}
            Err(_) => out.ignore(),
        }
    }
    Some(out)
}

/// A family by the name that claims and this answer have for its bucket.
pub(super) fn family(bucket: &str) -> Option<LimitScope> {
    LimitScope::family(if bucket == "overage_included" { "oi" } else { bucket })
}

enum Place {
    Base(BaseWindow),
    Scope(LimitScope),
}

impl Place {
    fn put(self, out: &mut Readings, reading: Reading) {
        match self {
            Self::Base(which) => *out.base.get_mut(which) = reading,
            Self::Scope(scope) => {
                // What was said to be unknown gives way.
                out.scoped.retain(|known| known.scope != scope);
                out.add_scoped(ScopedReading {
                    scope,
                    windows: WindowPair { five_hour: Reading::Absent, weekly: reading },
                });
            }
        }
    }

    fn has_value(&self, out: &Readings) -> bool {
        let known = match self {
            Self::Base(which) => Some(out.base.get(*which)),
            Self::Scope(scope) => {
                out.scoped.iter().find(|known| known.scope == *scope).map(|known| &known.windows.weekly)
            }
        };
        matches!(known, Some(Reading::Value(_)))
    }
}

/// Which window an entry of `limits` is about: `session`, `weekly_all`, or `weekly_scoped` with the model's name.
fn place_of(limit: &Object<'_>) -> Option<Place> {
    match limit.string("kind")?.as_ref() {
        "session" => Some(Place::Base(BaseWindow::FiveHour)),
        "weekly_all" => Some(Place::Base(BaseWindow::Weekly)),
        "weekly_scoped" => {
            let model = limit.object("scope")?.object("model")?;
            let name = model.string("id").or_else(|| model.string("display_name"))?.to_ascii_lowercase();
            let bucket = [("opus", "opus"), ("sonnet", "sonnet"), ("fable", "oi")]
                .into_iter()
                .find(|(word, _)| name.contains(word))
                .map(|(_, bucket)| bucket)?;
            LimitScope::family(bucket).map(Place::Scope)
        }
        _ => None,
    }
}

fn window(value: &RawValue, percent: &str, now: SystemTime) -> Result<Reading, readings::Ignored> {
    if Scalar::of(value) == Scalar::Null {
        return Ok(Reading::Unknown);
    }
    let window = Object::of(value).ok_or(readings::Ignored)?;
    let used = Field::from(window.scalar(percent));
    let resets_at = readings::reset(&Field::from(window.scalar("resets_at")), now)?;
    Ok(match (readings::utilization(&used, Unit::Percent)?, used) {
        (Some(utilization), _) => Reading::Value(ReportedWindow { utilization, resets_at, length: None }),
        (None, Field::Null) => Reading::Unknown,
        (None, _) => Reading::Absent,
    })
}
