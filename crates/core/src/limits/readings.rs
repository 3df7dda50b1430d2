//! What one answer, event or poll said of the windows, before it is merged with what was known.

use std::time::{Duration, SystemTime};

use crate::limits::json::Scalar;
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{LimitScope, Utilization, number, timestamp};
use crate::plan::MAX_REPORTED_WEIGHT;

/// Scoped limits that are read from one source; providers have a handful.
pub const MAX_SCOPED_READINGS: usize = 16;

/// Longest plan name that is one, in bytes.
pub const MAX_PLAN: usize = 64;

/// What was said of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// Nothing.
    #[default]
    Absent,
    /// That nothing is known of it (`null`): neither 0 % nor an error.
    Unknown,
    /// A value.
    Value(ReportedWindow),
}

/// A window as it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedWindow {
    /// Percent used.
    pub utilization: Utilization,
    /// Its reset, if stated.
    pub resets_at: Option<SystemTime>,
    /// Its length, if stated.
    pub length: Option<Duration>,
}

/// What was said of a scoped limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedReading {
    /// Of which.
    pub scope: LimitScope,
    /// Its windows. Claude's have the weekly one only.
    pub windows: WindowPair<Reading>,
}

/// What one source said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readings {
    /// Of the base windows.
    pub base: WindowPair<Reading>,
    /// Of a second window of the same class as one in `base`, such as one of 30 days beside one of 7.
    pub second: WindowPair<Reading>,
    /// Of scoped limits, at most [`MAX_SCOPED_READINGS`].
    pub scoped: Vec<ScopedReading>,
    /// Whether `scoped` lists every limit by id that there is, so that others are no longer known.
    pub lists_all_limits: bool,
    /// Values that were ignored: negative, not finite, unparsable, contradictory, or with a reset too far ahead
    /// (`trunkline_ignored_observations_total`).
    pub ignored: u32,
    /// The account's plan, if stated (Codex).
    pub plan_type: Option<String>,
    /// The weight that another instance states of its pool, above zero and at most
    /// [`MAX_REPORTED_WEIGHT`].
    pub plan_weight: Option<f64>,
}

impl Readings {
    /// Whether any window has a value. Only then an observation counts as fresh.
    pub fn carries_data(&self) -> bool {
        let has_value = |pair: &WindowPair<Reading>| {
            BaseWindow::BOTH.iter().any(|which| matches!(pair.get(*which), Reading::Value(_)))
        };
        has_value(&self.base)
            || has_value(&self.second)
            || self.scoped.iter().any(|scoped| has_value(&scoped.windows))
    }

    /// Whether it says anything that whoever keeps a credential is to be told.
    pub fn is_worth_telling(&self) -> bool {
        self.carries_data() || self.ignored > 0 || self.plan_type.is_some()
    }

    /// Counts one more ignored value.
    pub(crate) fn ignore(&mut self) {
        self.ignored = self.ignored.saturating_add(1);
    }

    /// Adds what was said of a scoped limit; beyond the bound it is ignored and counted.
    pub(crate) fn add_scoped(&mut self, reading: ScopedReading) {
        let is_new = !self.scoped.iter().any(|known| known.scope == reading.scope);
        if is_new && self.scoped.len() < MAX_SCOPED_READINGS {
            self.scoped.push(reading);
        } else {
            self.ignore();
        }
    }

    /// Notes the plan's name, if it is fit to be one. Who does not know it says `unknown`.
    pub(crate) fn note_plan(&mut self, plan: &str) {
        let fits = (1..=MAX_PLAN).contains(&plan.len()) && plan.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && plan != "unknown" {
            self.plan_type = Some(plan.to_owned());
        }
    }

    /// Notes another instance's weight.
    pub(crate) fn note_weight(&mut self, text: &str) {
        match number::parse(text) {
            Some(weight) if weight > 0.0 => {
                self.plan_weight = Some(weight.min(MAX_REPORTED_WEIGHT));
            }
            // A pool without anything usable says 0, which is no weight and no error.
            Some(weight) if weight >= 0.0 => {}
            _ => self.ignore(),
        }
    }
}

/// One field of a window, as text from a header or a scalar of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// Not there, or empty.
    Absent,
    /// `null`.
    Null,
    /// There.
    Text(String),
    /// There, and of no use: not text, or contradicting itself.
    Bad,
}

impl From<Scalar<'_>> for Field {
    fn from(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Absent => Self::Absent,
            Scalar::Null => Self::Null,
            Scalar::Text { text, .. } if text.trim().is_empty() => Self::Absent,
            Scalar::Text { text, .. } => Self::Text(text.into_owned()),
            Scalar::Other => Self::Bad,
        }
    }
}

/// How a source writes how much is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 0 to 100.
    Percent,
    /// 0 to 1.
    Fraction,
}

/// A field that was there and is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ignored;

/// The utilization in a field.
pub(crate) fn utilization(field: &Field, unit: Unit) -> Result<Option<Utilization>, Ignored> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Bad => Err(Ignored),
        Field::Text(text) => {
            let number = number::parse(text).ok_or(Ignored)?;
            let read = match unit {
                Unit::Percent => Utilization::from_percent(number),
                Unit::Fraction => Utilization::from_fraction(number),
            };
            read.map(Some).ok_or(Ignored)
        }
    }
}

/// The reset in a field.
pub(crate) fn reset(field: &Field, now: SystemTime) -> Result<Option<SystemTime>, Ignored> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Bad => Err(Ignored),
        Field::Text(text) => timestamp::reset(text, now).map_err(|_| Ignored),
    }
}

/// The length in a field, in units of `unit`; 0 is none.
pub(crate) fn length(field: &Field, unit: Duration) -> Result<Option<Duration>, Ignored> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Bad => Err(Ignored),
        Field::Text(text) => {
            let seconds = number::parse(text).ok_or(Ignored)? * unit.as_secs_f64();
            let length = Duration::try_from_secs_f64(seconds).map_err(|_| Ignored)?;
            if length > timestamp::MAX_RESET_AHEAD {
                Err(Ignored)
            } else {
                Ok(Some(length).filter(|l| !l.is_zero()))
            }
        }
    }
}
