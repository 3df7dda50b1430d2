//! The unified rate-limit headers (fact sheet, 4), as they came and as readings.

use std::time::SystemTime;

use http::HeaderMap;

use crate::limits::provider::field;
use crate::limits::readings::{self, Field, Reading, Readings, ReportedWindow, ScopedReading, Unit};
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{Claim, LimitScope, timestamp};

const UNIFIED: &str = "anthropic-ratelimit-unified-";

/// Windows that are read from one answer: the two base ones and 16 buckets.
const MAX_WINDOWS: usize = 18;

/// One window as its headers have it.
#[derive(Debug)]
pub(super) struct UnifiedWindow {
    pub(super) claim: Claim,
    pub(super) status: Field,
    pub(super) utilization: Field,
    pub(super) reset: Field,
}

impl UnifiedWindow {
    /// Its reset, if it can be one and is ahead.
    pub(super) fn reset_ahead(&self, now: SystemTime) -> Option<SystemTime> {
        ahead(&self.reset, now)
    }
}

/// What the headers of one answer say.
#[derive(Debug)]
pub(super) struct Unified {
    pub(super) status: Field,
    pub(super) claim: Option<Claim>,
    pub(super) reset: Field,
    pub(super) overage_disabled_reason: Field,
    pub(super) windows: Vec<UnifiedWindow>,
    plan_weight: Field,
    surplus: u32,
}

impl Unified {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut unified = Self {
            status: Field::Absent,
            claim: None,
            reset: Field::Absent,
            overage_disabled_reason: Field::Absent,
            windows: Vec::new(),
            plan_weight: Field::Absent,
            surplus: 0,
        };
        for name in headers.keys() {
            if name.as_str() == super::PLAN_WEIGHT {
                unified.plan_weight = field(headers, name);
                continue;
            }
            let Some(rest) = name.as_str().strip_prefix(UNIFIED) else { continue };
            let value = field(headers, name);
            match rest {
                "status" => unified.status = value,
                "reset" => unified.reset = value,
                "overage-disabled-reason" => unified.overage_disabled_reason = value,
                "representative-claim" => {
                    if let Field::Text(text) = value {
                        unified.claim = claim(&text);
                    }
                }
                _ => unified.add(rest, value),
            }
        }
        unified
    }

    /// The window of a claim.
    pub(super) fn window(&self, claim: &Claim) -> Option<&UnifiedWindow> {
        self.windows.iter().find(|window| window.claim == *claim)
    }

    /// The reset of the claimed window, if it can be one and is ahead.
    pub(super) fn reset_ahead(&self, now: SystemTime) -> Option<SystemTime> {
        ahead(&self.reset, now)
    }

    fn add(&mut self, rest: &str, value: Field) {
        let Some((name, kind)) = rest.rsplit_once('-') else { return };
        let name = match name {
            "5h" => Claim::Base(BaseWindow::FiveHour),
            "7d" => Claim::Base(BaseWindow::Weekly),
            _ => match name.strip_prefix("7d_").and_then(LimitScope::family) {
                Some(scope) => Claim::Scope(scope),
                // `overage-`, `grace-` and what is yet to come.
                None => return,
            },
        };
        if !matches!(kind, "status" | "utilization" | "reset") {
            return;
        }
        let index = self.windows.iter().position(|window| window.claim == name).unwrap_or(self.windows.len());
        if index == MAX_WINDOWS {
            self.surplus = self.surplus.saturating_add(1);
            return;
        }
        if index == self.windows.len() {
            self.windows.push(UnifiedWindow {
                claim: name,
                status: Field::Absent,
                utilization: Field::Absent,
                reset: Field::Absent,
            });
        }
        let Some(window) = self.windows.get_mut(index) else { return };
        match kind {
            "status" => window.status = value,
            "utilization" => window.utilization = value,
            _ => window.reset = value,
        }
    }

    pub(super) fn readings(&self, now: SystemTime) -> Readings {
        let mut out = Readings { ignored: self.surplus, ..Readings::default() };
        for window in &self.windows {
            let read = readings::utilization(&window.utilization, Unit::Fraction)
                .and_then(|utilization| Ok(utilization.zip(Some(readings::reset(&window.reset, now)?))));
            let reading = match read {
                Ok(Some((utilization, resets_at))) => {
                    Reading::Value(ReportedWindow { utilization, resets_at, length: None })
                }
                Ok(None) => continue,
                Err(_) => {
                    out.ignore();
                    continue;
                }
            };
            match &window.claim {
                Claim::Base(which) => *out.base.get_mut(*which) = reading,
                Claim::Scope(scope) => out.add_scoped(ScopedReading {
                    scope: scope.clone(),
                    windows: WindowPair { five_hour: Reading::Absent, weekly: reading },
                }),
            }
        }
        match &self.plan_weight {
            Field::Text(text) => out.note_weight(text),
            Field::Bad => out.ignore(),
            Field::Absent | Field::Null => {}
        }
        out
    }
}

/// A window by the name that `representative-claim` has for it; `5h` and `7d…` are sing-box's spelling.
fn claim(text: &str) -> Option<Claim> {
    match text {
        "five_hour" | "5h" => Some(Claim::Base(BaseWindow::FiveHour)),
        "seven_day" | "7d" => Some(Claim::Base(BaseWindow::Weekly)),
        _ => {
            let bucket = text.strip_prefix("seven_day_").or_else(|| text.strip_prefix("7d_"))?;
            super::usage::family(bucket).map(Claim::Scope)
        }
    }
}

fn ahead(field: &Field, now: SystemTime) -> Option<SystemTime> {
    let Field::Text(text) = field else { return None };
    timestamp::reset(text, now).ok().flatten().filter(|reset| *reset > now)
}
