use std::io;
use std::time::Duration;

use trunkline_core::login::LoginKind;
use trunkline_login_store::{FoundJournal, FoundLock, JournalState, LockState};

use super::super::finding::Level;
use super::super::tokens::Scopes;
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn tokens() -> Tokens {
    Tokens {
        kind: LoginKind::OAuth,
        expires_at: Some(now() + HOUR),
        is_renewable: true,
        scopes: Scopes::Sufficient,
    }
}

fn facts(content: Content) -> Facts {
    Facts {
        provider: ProviderKind::Claude,
        content,
        file: Some(FileFacts { mode: 0o100_600, owner: 7, user: 7, is_exposed: false }),
        is_directory: false,
        disk: Inspection {
            real: "/home/me/.claude/.credentials.json".into(),
            is_link: false,
            locks: Vec::new(),
            journals: Vec::new(),
            set_aside: Vec::new(),
            unread: Vec::new(),
            writing: Some(Writing::Replace),
        },
        hint: "log in".to_owned(),
        keeps_journals: true,
        is_served: false,
        is_optional: false,
        now: now(),
    }
}

/// The check's level; `None`: it says nothing. What is not ok has a remedy, and what is ok has none.
fn level(facts: &Facts, check: &str) -> Option<Level> {
    let all = findings(facts);
    assert!(all.iter().all(|finding| finding.remedy.is_none() == (finding.level == Level::Ok)), "{all:?}");
    all.iter().filter(|finding| finding.check == check).map(|finding| finding.level).max()
}

#[test]
fn a_good_login_is_all_good() {
    let found = findings(&facts(Content::Login(tokens())));
    let told: Vec<_> = found.iter().map(|finding| (finding.level, finding.found.as_str())).collect();
    assert_eq!(
        told,
        [
            (Level::Ok, "present, and holds a login"),
            (Level::Ok, "mode 0600"),
            (Level::Ok, "the access token is good for 1 h 0 m, and can be refreshed"),
            (Level::Ok, "a refreshed login can be written"),
            (Level::Ok, "no lock is held or left over"),
        ]
    );
}

#[test]
fn what_is_no_login_is_a_problem() {
    for error in [
        ReadError::Missing,
        ReadError::NoPermission,
        ReadError::NotAFile,
        ReadError::TooLarge,
        ReadError::Empty,
        ReadError::NotText,
        ReadError::Io(io::ErrorKind::Other),
    ] {
        assert_eq!(level(&facts(Content::Unread(error)), "login.file"), Some(Level::Problem), "{error}");
    }
    for error in [LoginError::LoggedOut, LoginError::Invalid("x".to_owned())] {
        let facts = facts(Content::Refused(error));
        assert_eq!(level(&facts, "login.file"), Some(Level::Problem));
        assert_eq!(level(&facts, "login.expiry"), None);
    }
}

#[test]
fn modes_and_owners() {
    let of = |mode, user, is_exposed| {
        let file = FileFacts { mode, owner: 7, user, is_exposed };
        let facts = Facts { file: Some(file), ..facts(Content::Login(tokens())) };
        (level(&facts, "login.permissions"), level(&facts, "login.owner"))
    };
    assert_eq!(of(0o600, 7, false), (Some(Level::Ok), None));
    assert_eq!(of(0o400, 7, false), (Some(Level::Ok), None));
    assert_eq!(of(0o644, 7, true), (Some(Level::Warning), None));
    assert_eq!(of(0o640, 7, false), (Some(Level::Warning), None));
    assert_eq!(of(0o600, 0, false), (Some(Level::Ok), None));
    assert_eq!(of(0o600, 8, false), (Some(Level::Ok), Some(Level::Warning)));
}

#[test]
fn ends_and_what_renews() {
    let of = |expires_at: Option<SystemTime>, is_renewable, is_served| {
        let facts =
            Facts { is_served, ..facts(Content::Login(Tokens { expires_at, is_renewable, ..tokens() })) };
        level(&facts, "login.expiry")
    };
    let (ahead, past, just) = (now() + HOUR, now() - HOUR, now() - Duration::from_secs(5));
    assert_eq!(of(None, true, false), Some(Level::Ok));
    assert_eq!(of(None, false, false), Some(Level::Ok));
    assert_eq!(of(Some(ahead), true, true), Some(Level::Ok));
    assert_eq!(of(Some(ahead), false, true), Some(Level::Warning));
    assert_eq!(of(Some(past), true, false), Some(Level::Ok));
    assert_eq!(of(Some(past), true, true), Some(Level::Warning));
    assert_eq!(of(Some(just), true, true), Some(Level::Ok));
    assert_eq!(of(Some(past), false, false), Some(Level::Problem));
    let key = Tokens { kind: LoginKind::ApiKey, is_renewable: false, expires_at: None, ..tokens() };
    let facts = Facts { provider: ProviderKind::Codex, ..facts(Content::Login(key)) };
    assert_eq!((level(&facts, "login.expiry"), level(&facts, "login.writable")), (Some(Level::Ok), None));
}

#[test]
fn scopes_matter_to_claude() {
    let of = |provider, scopes, is_renewable| {
        let content = Content::Login(Tokens { is_renewable, scopes, ..tokens() });
        level(&Facts { provider, ..facts(content) }, "login.scopes")
    };
    assert_eq!(of(ProviderKind::Claude, Scopes::Sufficient, true), None);
    assert_eq!(of(ProviderKind::Claude, Scopes::Unsaid, true), Some(Level::Warning));
    assert_eq!(of(ProviderKind::Claude, Scopes::Unsaid, false), None);
    assert_eq!(of(ProviderKind::Claude, Scopes::Insufficient, true), Some(Level::Problem));
    assert_eq!(of(ProviderKind::Codex, Scopes::Unsaid, true), None);
}

#[test]
fn ways_to_write() {
    let of = |writing, keeps_journals| {
        let mut facts = Facts { keeps_journals, ..facts(Content::Login(tokens())) };
        facts.disk.writing = Some(writing);
        level(&facts, "login.writable")
    };
    let denied = io::ErrorKind::PermissionDenied;
    assert_eq!(of(Writing::Replace, false), Some(Level::Ok));
    assert_eq!(of(Writing::No(io::ErrorKind::ReadOnlyFilesystem), true), Some(Level::Problem));
    for why in [WhyInPlace::Mounted, WhyInPlace::Directory(denied), WhyInPlace::Owner] {
        assert_eq!(of(Writing::InPlace(why), true), Some(Level::Warning));
        assert_eq!(of(Writing::InPlace(why), false), Some(Level::Problem));
    }
}

#[test]
fn what_lies_about() {
    let mut facts = facts(Content::Unread(ReadError::Missing));
    facts.disk.is_link = true;
    facts.disk.locks = vec![FoundLock { path: "/x".into(), state: LockState::Obstacle }];
    facts.disk.journals = vec![FoundJournal { path: "/nowhere/j".into(), state: JournalState::Answered }];
    facts.disk.set_aside = vec!["/nowhere/j.superseded".into()];
    assert_eq!(level(&facts, "login.link"), Some(Level::Ok));
    assert_eq!(level(&facts, "login.locks"), Some(Level::Problem));
    let journals = findings(&facts).into_iter().filter(|finding| finding.check == "login.journal").count();
    assert_eq!(journals, 2);
}

#[test]
fn one_of_two_logins_that_nobody_named_may_be_missing() {
    for provider in [ProviderKind::Claude, ProviderKind::Codex] {
        let missing = || Facts { provider, file: None, ..facts(Content::Unread(ReadError::Missing)) };
        let finding = of_content(&missing());
        assert_eq!(finding.level, Level::Problem);
        let remedy = finding.remedy.unwrap_or_default();
        assert_eq!(remedy.contains("keyring"), provider == ProviderKind::Codex, "{remedy}");
        assert_eq!(of_content(&Facts { is_optional: true, ..missing() }).level, Level::Ok);
    }
}
