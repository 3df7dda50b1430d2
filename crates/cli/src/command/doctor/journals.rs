//! Journals of refreshes that lie beside a login or in the data directory.

use std::path::Path;

use std::time::SystemTime;

use trunkline_login_store::{Inspection, JournalState, UnreadJournal};

use super::finding::Finding;
use super::flock::Flock;
use super::words;

const CHECK: &str = "login.journal";

/// A finding for each journal. `flock`: who has a file locked, as whoever refreshes has its journal.
pub(super) fn findings(disk: &Inspection, flock: impl Fn(&Path) -> Flock, now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<_> = disk
        .journals
        .iter()
        .map(|journal| of_journal(&journal.path, journal.state, flock(&journal.path)))
        .collect();
    findings.extend(disk.set_aside.iter().map(|path| {
        Finding::warning(
            CHECK,
            format!(
                "{} holds the answer to a refresh that was not written, since the login had changed meanwhile",
                path.display()
            ),
            "if the login works, remove it: it holds tokens",
        )
    }));
    findings.extend(disk.unread.iter().map(|unread| of_unread(unread, now)));
    findings
}

/// An answer that no token could be read from. A later version may read it, and so may a person.
fn of_unread(unread: &UnreadJournal, now: SystemTime) -> Finding {
    let path = unread.path.display();
    let Some((received, [before, length])) = unread.answer else {
        return Finding::warning(
            CHECK,
            format!("{path} should hold an answer of the token endpoint, and cannot be read"),
            "if the login works, remove it",
        );
    };
    let coding = match unread.encoding.as_str() {
        "" => "named no compression".to_owned(),
        coding => format!("named the compression \"{coding}\""),
    };
    Finding::warning(
        CHECK,
        format!(
            "{path} holds an answer of the token endpoint of {}, from which no token could be read; it {coding}",
            words::ago(received, now)
        ),
        format!(
            "if the login works, remove the file: it may hold tokens; if it does not, log in again, or start a newer trunkline, which reads the answer if it can; by hand, its bytes are what this prints: tail -c +{} {path} | head -c {length}",
            before.saturating_add(1)
        ),
    )
}

fn of_journal(path: &Path, state: JournalState, flock: Flock) -> Finding {
    let path = path.display();
    if let Flock::Held(process) = flock {
        return Finding::ok(
            CHECK,
            format!("process {process} is refreshing the login, with its journal at {path}"),
        );
    }
    // Where the system does not show who has it, a refresh may be under way.
    let left = match flock {
        Flock::Unknown => "unless a refresh is under way, a process that died left",
        _ => "a process that died left",
    };
    match state {
        JournalState::Unanswered => Finding::warning(
            CHECK,
            format!("{left} {path}: it had asked for new tokens, and no answer had come"),
            "start trunkline, which removes it; if the login is refused then, log in again",
        ),
        JournalState::Answered => Finding::warning(
            CHECK,
            format!("{left} {path}, with new tokens that may not be in the login file yet"),
            "start trunkline, which writes them; do not remove it, and do not start the client before",
        ),
        JournalState::Damaged => Finding::warning(
            CHECK,
            format!("{path} is no journal that could be read"),
            "start trunkline, which keeps it aside; if the login is refused then, log in again",
        ),
        JournalState::Unreadable(why) => Finding::problem(
            CHECK,
            format!(
                "{path} cannot be read ({}), and no refresh begins before it is dealt with",
                words::failure(why)
            ),
            "check its permissions and its disk",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn an_unread_answer_is_found_by_hand() {
        let unread = |answer| UnreadJournal { path: "/x/j.unread".into(), answer, encoding: "br".to_owned() };
        let at = SystemTime::UNIX_EPOCH;
        let finding = of_unread(&unread(Some((at, [120, 55]))), at);
        let remedy = finding.remedy.unwrap();
        assert!(finding.level == Level::Warning && finding.found.contains("\"br\""), "{}", finding.found);
        assert!(remedy.ends_with("tail -c +121 /x/j.unread | head -c 55"), "{remedy}");
        assert_eq!(of_unread(&unread(None), at).level, Level::Warning);
    }

    #[test]
    fn what_is_in_it_and_whose_it_is_tell() {
        let path = Path::new("/x/.credentials.json.trunkline-refresh");
        for state in [
            JournalState::Unanswered,
            JournalState::Answered,
            JournalState::Damaged,
            JournalState::Unreadable(io::ErrorKind::PermissionDenied),
        ] {
            assert_eq!(of_journal(path, state, Flock::Held(7)).level, Level::Ok);
            for flock in [Flock::Free, Flock::Unknown] {
                let finding = of_journal(path, state, flock);
                assert!(finding.level > Level::Ok && finding.remedy.is_some(), "{finding:?}");
            }
        }
        let kept = of_journal(path, JournalState::Answered, Flock::Free).remedy.unwrap();
        assert!(kept.contains("do not remove it"), "{kept}");
    }
}
