//! Requests that went on to another credential: how many, why, and the latest of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// How many of the latest are remembered.
const REMEMBERED: usize = 20;

/// One request that went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// When.
    pub at: SystemTime,
    /// The tag of the credential that failed it.
    pub from: Arc<str>,
    /// The tag of the credential that it was sent to instead. `None` as long as none was picked, and where the client comes
    /// again by itself.
    pub to: Option<Arc<str>>,
    /// The line of the table of failures, or `interrupted`.
    pub reason: &'static str,
    /// The request's id.
    pub request: Arc<str>,
}

/// Those of a service.
#[derive(Debug, Default)]
pub struct Failovers(Mutex<(u64, VecDeque<Failover>)>);

impl Failovers {
    pub(crate) fn note(&self, failover: Failover) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0 = known.0.saturating_add(1);
        if known.1.len() >= REMEMBERED {
            known.1.pop_front();
        }
        known.1.push_back(failover);
    }

    /// Another credential was picked for a request.
    pub(crate) fn went_to(&self, request: &str, to: &Arc<str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latest) = known.1.iter_mut().rev().find(|known| &*known.request == request) {
            latest.to.get_or_insert_with(|| Arc::clone(to));
        }
    }

    /// How many there were since the start, and the latest of them, the last one first.
    pub fn latest(&self) -> (u64, Vec<Failover>) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.0, known.1.iter().rev().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_all_are_counted() {
        let failovers = Failovers::default();
        for nth in 0..REMEMBERED + 5 {
            failovers.note(Failover {
                at: SystemTime::UNIX_EPOCH,
                from: "a".into(),
                to: None,
                reason: "burst",
                request: nth.to_string().into(),
            });
        }
        let (count, latest) = failovers.latest();
        assert_eq!((count, latest.len()), (REMEMBERED as u64 + 5, REMEMBERED));
        assert_eq!((&*latest[0].request, &*latest[REMEMBERED - 1].request), ("24", "5"));
    }

    #[test]
    fn each_step_of_a_request_is_told_where_it_went() {
        let failovers = Failovers::default();
        let note = |request: &str, from: &str| {
            failovers.note(Failover {
                at: SystemTime::UNIX_EPOCH,
                from: from.into(),
                to: None,
                reason: "burst",
                request: request.into(),
            });
        };
        note("one", "a");
        note("two", "a");
        failovers.went_to("one", &"b".into());
        note("one", "b");
        failovers.went_to("one", &"c".into());
        failovers.went_to("none", &"d".into());
        let (_, latest) = failovers.latest();
        let steps: Vec<_> =
            latest.iter().map(|step| (&*step.request, &*step.from, step.to.as_deref())).collect();
        assert_eq!(steps, [("one", "b", Some("c")), ("two", "a", None), ("one", "a", Some("b"))]);
    }
}
