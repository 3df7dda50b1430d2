//! Header families: every `x-<id>-primary-used-percent` names one (fact sheet, 5).

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::BASE_LIMIT;
use crate::limits::provider::field;
use crate::limits::readings::{self, Field, Ignored, Reading, Readings, ReportedWindow, ScopedReading, Unit};
use crate::limits::refusal::later;
use crate::limits::timestamp;
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{LimitScope, Utilization};

/// Families that are read from one answer; the base one and a few more are sent.
const MAX_FAMILIES: usize = 17;

const MINUTE: Duration = Duration::from_secs(60);

/// One window's fields, as they came.
#[derive(Debug)]
pub(super) struct WindowFields {
    pub(super) used: Field,
    pub(super) length: Field,
    pub(super) length_unit: Duration,
    pub(super) reset_at: Field,
    pub(super) reset_after: Field,
}

impl Default for WindowFields {
    fn default() -> Self {
        Self {
            used: Field::Absent,
            length: Field::Absent,
            length_unit: MINUTE,
            reset_at: Field::Absent,
            reset_after: Field::Absent,
        }
    }
}

impl WindowFields {
    /// The window. One with nothing used, no length and no reset is none (fact sheet, 5).
    pub(super) fn read(&self, now: SystemTime) -> Result<Reading, Ignored> {
        let Some(utilization) = readings::utilization(&self.used, Unit::Percent)? else {
            return Ok(if self.used == Field::Null { Reading::Unknown } else { Reading::Absent });
        };
        let length = readings::length(&self.length, self.length_unit)?;
        let resets_at = match readings::reset(&self.reset_at, now)? {
            Some(reset) => Some(reset),
            None => self.after(now)?,
        };
        if utilization == Utilization::ZERO && length.is_none() && resets_at.is_none() {
            return Ok(Reading::Absent);
        }
        Ok(Reading::Value(ReportedWindow { utilization, resets_at, length }))
    }

    fn after(&self, now: SystemTime) -> Result<Option<SystemTime>, Ignored> {
        let seconds = readings::length(&self.reset_after, Duration::from_secs(1))?;
        seconds.map(|wait| timestamp::plausible_reset(later(now, wait), now).map_err(|_| Ignored)).transpose()
    }
}

/// A limit's windows by class, and a second one of the class that has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Classed {
    pub(super) first: WindowPair<Reading>,
    pub(super) second: WindowPair<Reading>,
}

impl Classed {
    /// One window for each class: of two, the fuller one.
    fn fuller(&self) -> WindowPair<Reading> {
        WindowPair::from_fn(|which| match (self.first.get(which), self.second.get(which)) {
            (Reading::Value(first), second @ Reading::Value(other))
                if other.utilization > first.utilization =>
            {
                *second
            }
            (first, _) => *first,
        })
    }
}

/// Which of a limit's windows is which: by stated length, else by position (limits.md, *Windows*). Two of one class are two
/// windows.
pub(super) fn pair(
    primary: Result<Reading, Ignored>,
    secondary: Result<Reading, Ignored>,
    out: &mut Readings,
) -> Classed {
    let mut pair = Classed::default();
    let read =
        [(BaseWindow::FiveHour, primary), (BaseWindow::Weekly, secondary)].map(|(position, reading)| {
            let reading = reading.unwrap_or_else(|_| {
                out.ignore();
                Reading::Absent
            });
            (position, reading)
        });
    for (position, reading) in read {
        let Reading::Value(window) = reading else { continue };
        let class = window.length.map_or(position, BaseWindow::of_length);
        let first = pair.first.get_mut(class);
        if matches!(first, Reading::Value(_)) {
            *pair.second.get_mut(class) = reading;
        } else {
            *first = reading;
        }
    }
    // What is unknown stands for what no value stands for, at its own position first.
    for (position, reading) in read {
        if reading != Reading::Unknown {
            continue;
        }
        let free = [position, BaseWindow::FiveHour, BaseWindow::Weekly]
            .into_iter()
            .find(|which| *pair.first.get(*which) == Reading::Absent);
        if let Some(which) = free {
            *pair.first.get_mut(which) = Reading::Unknown;
        }
    }
    pair
}

/// Adds a limit's windows under its id.
pub(super) fn add(out: &mut Readings, id: &str, windows: Classed) {
    match scope(id) {
        Ok(None) => (out.base, out.second) = (windows.first, windows.second),
        Ok(Some(scope)) => out.add_scoped(ScopedReading { scope, windows: windows.fuller() }),
        Err(Ignored) => out.ignore(),
    }
}

/// The scope of a limit's id; `None` for the base one.
pub(super) fn scope(id: &str) -> Result<Option<LimitScope>, Ignored> {
    if id.eq_ignore_ascii_case(BASE_LIMIT) {
        return Ok(None);
    }
    LimitScope::limit(id).map(Some).ok_or(Ignored)
}

#[derive(Debug, Default)]
struct Family<'a> {
    id: &'a str,
    primary: WindowFields,
    secondary: WindowFields,
}

pub(super) fn read(headers: &HeaderMap, now: SystemTime) -> Readings {
    let mut out = Readings::default();
    let mut families: Vec<Family<'_>> = Vec::new();
    for name in headers.keys() {
        match name.as_str() {
            super::PLAN_TYPE => {
                if let Field::Text(plan) = field(headers, name) {
                    out.note_plan(&plan);
                }
            }
            super::PLAN_WEIGHT => match field(headers, name) {
                Field::Text(weight) => out.note_weight(&weight),
                Field::Bad => out.ignore(),
                Field::Absent | Field::Null => {}
            },
            text => {
                let Some((id, is_primary, kind)) = parts(text) else { continue };
                let index = families.iter().position(|family| family.id == id).unwrap_or(families.len());
                if index == MAX_FAMILIES {
                    out.ignore();
                    continue;
                }
                if index == families.len() {
                    families.push(Family { id, ..Family::default() });
                }
                let Some(family) = families.get_mut(index) else { continue };
                let window = if is_primary { &mut family.primary } else { &mut family.secondary };
                let value = field(headers, name);
                match kind {
                    Kind::Used => window.used = value,
                    Kind::Length => window.length = value,
                    Kind::ResetAt => window.reset_at = value,
                    Kind::ResetAfter => window.reset_after = value,
                }
            }
        }
    }
    for family in families {
        let windows = pair(family.primary.read(now), family.secondary.read(now), &mut out);
        if windows != Classed::default() {
            add(&mut out, family.id, windows);
        }
    }
    out
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Used,
    Length,
    ResetAt,
    ResetAfter,
}

/// Id, whether primary, and which field a header's name means.
fn parts(name: &str) -> Option<(&str, bool, Kind)> {
    let rest = name.strip_prefix("x-")?;
    let (rest, kind) = [
        ("-used-percent", Kind::Used),
        ("-window-minutes", Kind::Length),
        ("-reset-at", Kind::ResetAt),
        ("-reset-after-seconds", Kind::ResetAfter),
    ]
    .into_iter()
    .find_map(|(end, kind)| Some((rest.strip_suffix(end)?, kind)))?;
    let (id, is_primary) = match rest.strip_suffix("-primary") {
        Some(id) => (id, true),
        None => (rest.strip_suffix("-secondary")?, false),
    };
    (!id.is_empty()).then_some((id, is_primary, kind))
}
