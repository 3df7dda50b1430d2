//! Locks that lie beside a login: somebody's, left over, or in the way.

use std::path::Path;
use std::time::SystemTime;

use trunkline_login_store::{FoundLock, LockState};

use super::finding::Finding;
use super::flock::Flock;
use super::words;

const CHECK: &str = "login.locks";

/// A finding for each lock that is held, left over or in the way; one in all where there is none. `flock`: who has a file
/// locked.
pub(super) fn findings(locks: &[FoundLock], flock: impl Fn(&Path) -> Flock, now: SystemTime) -> Vec<Finding> {
    let found: Vec<_> = locks.iter().filter_map(|lock| of_lock(lock, &flock, now)).collect();
    if found.is_empty() { vec![Finding::ok(CHECK, "no lock is held or left over")] } else { found }
}

fn of_lock(lock: &FoundLock, flock: impl Fn(&Path) -> Flock, now: SystemTime) -> Option<Finding> {
    let path = lock.path.display();
    Some(match lock.state {
        LockState::Obstacle => Finding::problem(
            CHECK,
            format!("{path} is no lock, but stands in the place of one: nobody can refresh the login"),
            "remove it, if no client is running",
        ),
        // A lock file stays when it is let go.
        LockState::File => match flock(&lock.path) {
            Flock::Held(process) => Finding::ok(CHECK, format!("process {process} holds {path}")),
            Flock::Free | Flock::Unknown => return None,
        },
        LockState::Directory { touched, stale_after } => match now.duration_since(touched) {
            Ok(age) if age <= stale_after => Finding::ok(
                CHECK,
                format!("somebody holds {path}, and touched it {}", words::ago(touched, now)),
            ),
            Ok(_) => Finding::warning(
                CHECK,
                format!("{path} is left over: it was last touched {}", words::ago(touched, now)),
                format!("nothing has to be done, the next refresh takes it over; or rmdir {path}"),
            ),
            Err(_) => Finding::warning(
                CHECK,
                format!("{path} was touched {}, so it never counts as left over", words::ago(touched, now)),
                format!("check the clock; if no client is running, rmdir {path}"),
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn age_and_kind_tell() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let stale_after = Duration::from_secs(60);
        let directory = |touched| LockState::Directory { touched, stale_after };
        let of = |state, flock| {
            let lock = FoundLock { path: "/x.lock".into(), state };
            let findings = findings(&[lock], |_| flock, now);
            let [finding] = findings.as_slice() else { panic!("{findings:?}") };
            (finding.level, finding.found.clone())
        };
        for (state, flock, level, words) in [
            (directory(now), Flock::Unknown, Level::Ok, "somebody holds /x.lock, and touched it 0 s ago"),
            (directory(now - Duration::from_secs(60)), Flock::Unknown, Level::Ok, "1 m 0 s ago"),
            (
                directory(now - Duration::from_secs(61)),
                Flock::Unknown,
                Level::Warning,
                "left over: it was last touched 1 m 1 s ago",
            ),
            (directory(now + Duration::from_secs(3_600)), Flock::Unknown, Level::Warning, "1 h 0 m ahead"),
            (LockState::Obstacle, Flock::Unknown, Level::Problem, "stands in the place"),
            (LockState::File, Flock::Held(7), Level::Ok, "process 7 holds /x.lock"),
            (LockState::File, Flock::Free, Level::Ok, "no lock is held"),
            (LockState::File, Flock::Unknown, Level::Ok, "no lock is held"),
        ] {
            let (found, text) = of(state, flock);
            assert!(found == level && text.contains(words), "{state:?}: {text}");
        }
        assert_eq!(findings(&[], |_| Flock::Free, now).len(), 1);
    }
}
