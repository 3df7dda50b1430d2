//! The base windows of one class: one as a rule, two where an account has, for instance, 30 days beside 7.

use std::time::{Duration, SystemTime};

use crate::limits::merge::{is_near, merge};
use crate::limits::readings::{Reading, ReportedWindow};
use crate::limits::window::Window;
use crate::limits::windows::Source;

/// Windows of one class that are kept. An answer of Codex's has two windows in all.
const MOST: usize = 2;

/// The windows of a class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Class([Option<Window>; MOST]);

impl Class {
    /// The windows that are known.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.iter().flatten()
    }

    /// Merges what one source said of this class; `says_any`: whether it said anything of any base window. Says whether a value
    /// was taken or confirmed.
    pub(super) fn observe(
        &mut self,
        said: [&Reading; MOST],
        says_any: bool,
        source: Source,
        now: SystemTime,
    ) -> bool {
        let reported = said.iter().any(|reading| matches!(reading, Reading::Value(_)));
        match source {
            // It tells of all windows that there are: what it does not name is not there.
            Source::Poll if !reported => {
                if says_any || said.contains(&&Reading::Unknown) {
                    *self = Self::default();
                }
                return false;
            }
            // One that has ended, and that an answer with others does not name, has not begun again.
            Source::InBand if !reported && says_any => {
                self.forget(|window| window.is_over(now));
                return false;
            }
            _ => {}
        }
        let mut taken = [false; MOST];
        let mut is_fresh = false;
        for reading in said {
            let Reading::Value(value) = reading else { continue };
            let place = self.place_of(value, taken, now);
            if let (Some(slot), Some(is_taken)) = (self.0.get_mut(place), taken.get_mut(place)) {
                is_fresh |= merge(slot, reading, source, now);
                *is_taken = true;
            }
        }
        if reported && matches!(source, Source::Poll | Source::External) {
            for (slot, is_taken) in self.0.iter_mut().zip(taken) {
                if !is_taken {
                    *slot = None;
                }
            }
        }
        is_fresh
    }

    /// Where a window is, or goes: the one of its length; else, where a length is not known, the first that is left; else a
    /// place that is free; else that of the one that ends first.
    fn place_of(&self, value: &ReportedWindow, taken: [bool; MOST], now: SystemTime) -> usize {
        let left = || self.0.iter().zip(taken).enumerate().filter(|(_, (_, is_taken))| !is_taken);
        let find = |holds: &dyn Fn(&Option<Window>) -> bool| {
            left().find(|(_, (window, _))| holds(window)).map(|(place, _)| place)
        };
        let length = |window: &Option<Window>| window.and_then(|window| window.length);
        let is_same = |window: &Option<Window>| {
            length(window).zip(value.length).is_some_and(|(known, own)| is_same_length(known, own))
        };
        let is_unclear = |window: &Option<Window>| {
            window.is_some() && (length(window).is_none() || value.length.is_none())
        };
        find(&is_same)
            .or_else(|| find(&is_unclear))
            .or_else(|| find(&Option::is_none))
            .or_else(|| {
                let ends = |window: &Option<Window>| window.and_then(|window| window.reset_ahead(now));
                left().min_by_key(|(_, (window, _))| ends(window)).map(|(place, _)| place)
            })
            .unwrap_or(0)
    }

    /// The window that refused, by its reset; else the fullest; else the place of the first.
    pub(super) fn refusing(&mut self, resets_at: Option<SystemTime>, now: SystemTime) -> &mut Option<Window> {
        let ends_then = |window: &Option<Window>| {
            window.and_then(|window| window.resets_at).zip(resets_at).is_some_and(|(a, b)| is_near(a, b))
        };
        let [first, second] = &mut self.0;
        let used = |window: &Option<Window>| window.map(|window| window.effective(now));
        let is_second = !ends_then(first) && (ends_then(second) || used(second) > used(first));
        if is_second { second } else { first }
    }

    fn forget(&mut self, is_gone: impl Fn(&Window) -> bool) {
        for slot in &mut self.0 {
            if slot.as_ref().is_some_and(&is_gone) {
                *slot = None;
            }
        }
    }
}

/// Whether two stated lengths are of one window: they are told in minutes here and in seconds there, and need not agree to the
/// last of them.
fn is_same_length(a: Duration, b: Duration) -> bool {
    let (shorter, longer) = (a.min(b), a.max(b));
    longer <= shorter.saturating_add(shorter / 4)
}
