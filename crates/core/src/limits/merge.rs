//! How what is reported of one window is merged with what is known of it.

use std::time::{Duration, SystemTime};

use crate::limits::readings::{Reading, ReportedWindow};
use crate::limits::window::Window;
use crate::limits::windows::Source;

/// Resets that differ by no more than this are of one window: providers compute them anew for every answer.
const SAME_WINDOW: Duration = Duration::from_secs(60);

/// Merges a reading into what is known. Says whether the reading's value was taken or confirmed.
pub(super) fn merge(known: &mut Option<Window>, reading: &Reading, source: Source, now: SystemTime) -> bool {
    let reported = match reading {
        Reading::Absent => return false,
        Reading::Unknown => {
            // Only a poll is authoritative enough to forget.
            if matches!(source, Source::Poll) {
                *known = None;
            }
            return false;
        }
        Reading::Value(reported) => reported,
    };
    let merged = match (source, *known) {
        (Source::External, Some(earlier)) if earlier.observed_at > now => None,
        (Source::Poll | Source::External, earlier) => Some(anew(reported, earlier, now)),
        (Source::InBand, None) => Some(anew(reported, None, now)),
        (Source::InBand, Some(earlier)) => in_band(reported, earlier, now),
    };
    if merged.is_some() {
        *known = merged;
    }
    merged.is_some()
}

/// The value as it is; a length that is not stated again stays.
fn anew(reported: &ReportedWindow, earlier: Option<Window>, now: SystemTime) -> Window {
    Window {
        utilization: reported.utilization,
        resets_at: reported.resets_at,
        length: reported.length.or(earlier.and_then(|earlier| earlier.length)),
        observed_at: now,
    }
}

/// Answers arrive out of order, so within a window the value only rises and the newest reset stays. `None` if what
/// was reported belongs to a window that is over.
fn in_band(reported: &ReportedWindow, earlier: Window, now: SystemTime) -> Option<Window> {
    let same = |resets_at| Window {
        utilization: reported.utilization.max(earlier.utilization),
        resets_at,
        length: reported.length.or(earlier.length),
        observed_at: now.max(earlier.observed_at),
    };
    match (reported.resets_at, earlier.resets_at) {
        (Some(new), Some(old)) if is_later(new, old) => Some(anew(reported, Some(earlier), now)),
        (Some(new), Some(old)) if is_later(old, new) => None,
        (Some(new), Some(old)) => Some(same(Some(new.max(old)))),
        (Some(new), None) => Some(same(Some(new))),
        // The known window has ended: this is of the one that followed, whose reset nobody has said yet.
        (None, Some(old)) if old <= now => Some(anew(reported, Some(earlier), now)),
        (None, old) => Some(same(old)),
    }
}

/// Whether these are resets of one window.
pub(super) fn is_near(a: SystemTime, b: SystemTime) -> bool {
    a.duration_since(b).or_else(|_| b.duration_since(a)).is_ok_and(|apart| apart <= SAME_WINDOW)
}

/// Whether `a` is later than `b` by more than [`SAME_WINDOW`].
fn is_later(a: SystemTime, b: SystemTime) -> bool {
    a.duration_since(b).is_ok_and(|by| by > SAME_WINDOW)
}
