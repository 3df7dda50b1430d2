//! A refresh from its beginning to its end, and every way in which the disk can refuse.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use common::{
    Answering as _, Format, Scene, Virtual, answer, begin, login_text, pending, tokens, write_private,
};
use trunkline_core::refresh::Unread;
use trunkline_core::secret::Secret;
use trunkline_login_store::fault::set_hook;
use trunkline_login_store::{
    Answered, BeginError, Begun, Committed, Finished, LockProtocol, NoProof, ReadError, Reason,
    SetAsideReason, WriteProblem,
};

fn answered(scene: &Scene, waiter: &Virtual) -> Answered {
    let sent = pending(&scene.claude(), waiter).sending().unwrap();
    let raw = scene.call(&tokens(sent.text().as_bytes()).0).unwrap();
    sent.answered_at(&raw, SystemTime::now(), &Format)
}

fn committed(answered: Answered, waiter: &Virtual) -> Committed {
    answered.commit(&Format, waiter).unwrap_or_else(|outstanding| panic!("{outstanding:?}"))
}

/// Fails the points of this name, from now on or until the guard is dropped.
fn failing(name: &'static str, kind: io::ErrorKind) -> impl Drop {
    set_hook(Some(Box::new(move |point| if point == name { Err(kind.into()) } else { Ok(()) })));
    Unhook
}

struct Unhook;

impl Drop for Unhook {
    fn drop(&mut self) {
        set_hook(None);
    }
}

#[test]
fn the_whole_way() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let pending = pending(&scene.claude(), &waiter);
    assert_eq!(
        scene.leftovers(),
        [
            ".claude.lock",
            ".credentials.json.trunkline-refresh",
            ".credentials.json.trunkline-refresh.locks",
            ".oauth_refresh.lock",
            ".oauth_refresh.lock.owner"
        ]
    );
    let journal = fs::metadata(scene.journal()).unwrap();
    assert_eq!((journal.len(), journal.mode() & 0o777), (65_536, 0o600));
    let sent = pending.sending().unwrap();
    sent.again().unwrap();
    let raw = scene.call("r0").unwrap();
    let answered = sent.answered_at(&raw, SystemTime::UNIX_EPOCH, &Format);
    assert_eq!(answered.journalled(), Ok(()));
    let expected = login_text("r1", "a1").replace("\"expiresAt\":1,", "\"expiresAt\":28800000,");
    assert_eq!(answered.login().unwrap().as_bytes(), expected.as_bytes());
    assert_eq!(scene.tokens(), ("r0".to_owned(), "a0".to_owned()));
    match committed(answered, &waiter) {
        Committed::Written(text) => assert_eq!(text.as_bytes(), expected.as_bytes()),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(scene.file()).unwrap(), expected);
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    assert!(waiter.waited.borrow().is_empty());
}

#[test]
fn no_refresh_that_is_not_needed() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let forced = |failed: &str| Reason::Forced { failed: Secret::new(failed) };
    let begun = |reason: &Reason| scene.claude().begin(&Format, reason, &waiter, &mut |_| {}).unwrap();
    assert!(matches!(begun(&forced("another")), Begun::Fresh(_)));
    assert!(matches!(begun(&forced("a0")), Begun::Pending(_)));
    drop(committed(answered(&scene, &waiter), &waiter));
    assert!(matches!(begun(&Reason::Proactive), Begun::Fresh(_)));
    scene.log_in("", "");
    assert!(matches!(begun(&Reason::Proactive), Begun::NoRefreshToken(_)));
    assert!(scene.leftovers().is_empty());
}

#[test]
fn each_phase_may_be_dropped() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    pending(&scene.claude(), &waiter).abandon();
    assert!(scene.leftovers().is_empty());
    pending(&scene.claude(), &waiter).sending().map(drop).unwrap();
    assert!(scene.leftovers().is_empty());
    drop(answered(&scene, &waiter));
    assert_eq!(scene.leftovers(), [".credentials.json.trunkline-refresh"]);
    assert!(matches!(scene.claude().finish(&Format, &waiter)[..], [Finished::Written(_)]));
    assert_eq!(scene.tokens().0, "r1");
    assert!(scene.leftovers().is_empty());
    assert!(scene.claude().finish(&Format, &waiter).is_empty());
}

#[test]
fn mode_and_link_are_kept() {
    let scene = Scene::new();
    let elsewhere = scene.data().join("login.json");
    fs::rename(scene.file(), &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../data/login.json", scene.file()).unwrap();
    let waiter = Virtual::new();
    let held = pending(&scene.claude(), &waiter);
    assert_eq!(
        scene.leftovers(),
        [
            ".claude.lock",
            ".oauth_refresh.lock",
            ".oauth_refresh.lock",
            ".oauth_refresh.lock.owner",
            ".oauth_refresh.lock.owner",
            "data.lock",
            "login.json",
            "login.json.trunkline-refresh",
            "login.json.trunkline-refresh.locks"
        ]
    );
    drop(held);
    committed(answered(&scene, &waiter), &waiter);
    assert!(fs::symlink_metadata(scene.file()).unwrap().is_symlink());
    assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(scene.tokens().0, "r1");
    assert_eq!(scene.leftovers(), ["login.json"]);
}

#[test]
fn a_switched_link_does_not_lose_the_token_nor_touch_the_other_login() {
    let scene = Scene::new();
    let (one, two) = (scene.data().join("one.json"), scene.data().join("two.json"));
    fs::rename(scene.file(), &one).unwrap();
    write_private(&two, login_text("other", "other").as_bytes());
    symlink(&one, scene.file()).unwrap();
    let waiter = Virtual::new();
    let answered = answered(&scene, &waiter);
    fs::remove_file(scene.file()).unwrap();
    symlink(&two, scene.file()).unwrap();
    committed(answered, &waiter);
    assert_eq!(tokens(&fs::read(&one).unwrap()).0, "r1");
    assert_eq!(tokens(&fs::read(&two).unwrap()).0, "other");
}

#[test]
fn a_login_made_meanwhile_is_not_overwritten() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let late = answered(&scene, &waiter);
    scene.log_in("new login", "a");
    assert!(!late.is_newer_than(&scene.claude().read().unwrap(), &Format));
    assert!(matches!(committed(late, &waiter), Committed::SetAside(SetAsideReason::OtherLogin)));
    assert_eq!(scene.tokens().0, "new login");
    assert_eq!(scene.leftovers(), [".credentials.json.trunkline-refresh.superseded"]);
    assert_eq!(
        fs::metadata(scene.config().join(".credentials.json.trunkline-refresh.superseded")).unwrap().mode()
            & 0o777,
        0o600
    );
}

#[test]
fn a_file_that_is_gone_is_not_made_again_and_one_that_was_emptied_is_filled() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let late = answered(&scene, &waiter);
    fs::remove_file(scene.file()).unwrap();
    assert!(matches!(committed(late, &waiter), Committed::SetAside(SetAsideReason::NoLogin)));
    assert!(!scene.file().exists());

    let scene = Scene::new();
    let late = answered(&scene, &waiter);
    // This is what the Claude client does after `invalid_grant`.
    scene.log_in("", "");
    assert!(late.is_newer_than(&scene.claude().read().unwrap(), &Format));
    assert!(matches!(committed(late, &waiter), Committed::Written(_)));
    assert_eq!(scene.tokens().0, "r1");
}

#[test]
fn an_answer_without_a_token_is_kept_aside() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    let answered = sent.answered_at(b"<html>", SystemTime::now(), &Format);
    assert!(answered.login().is_none());
    assert!(matches!(
        committed(answered, &waiter),
        Committed::SetAside(SetAsideReason::Unread(Unread::NotAnObject))
    ));
    assert_eq!(scene.tokens().0, "r0");
}

#[test]
fn a_torn_file_is_waited_for() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    fs::write(scene.file(), r#"{"claudeAiOauth":{"#).unwrap();
    let file = scene.file();
    *waiter.meanwhile.borrow_mut() =
        Some(Box::new(move |_| write_private(&file, login_text("r0", "a0").as_bytes())));
    pending(&scene.claude(), &waiter).abandon();
    assert_eq!(waiter.waited.borrow()[0].as_millis(), 200);

    let late = answered(&scene, &Virtual::new());
    fs::write(scene.file(), "{").unwrap();
    let outstanding = late.commit(&Format, &Virtual::new()).unwrap_err();
    assert_eq!(outstanding.problem, WriteProblem::NotALogin);
    assert!(scene.journal().exists());
    scene.log_in("r0", "a0");
    committed(outstanding.answered, &waiter);
    assert_eq!(scene.tokens().0, "r1");
}

#[test]
fn what_is_no_login_file() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let refused = |expected: ReadError| {
        assert_eq!(scene.claude().read().unwrap_err(), expected);
        match begin(&scene.claude(), &waiter) {
            Err(BeginError::Read(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
        assert!(scene.leftovers().is_empty());
    };
    fs::write(scene.file(), "").unwrap();
    refused(ReadError::Empty);
    fs::write(scene.file(), b"{\"\xff\":1}").unwrap();
    refused(ReadError::NotText);
    fs::File::create(scene.file()).unwrap().set_len(100_000_000).unwrap();
    refused(ReadError::TooLarge);
    fs::remove_file(scene.file()).unwrap();
    refused(ReadError::Missing);
    fs::create_dir(scene.file()).unwrap();
    refused(ReadError::NotAFile);
    fs::remove_dir(scene.file()).unwrap();
    symlink(scene.file(), scene.file()).unwrap();
    assert!(matches!(scene.claude().read(), Err(ReadError::Io(_))));
    fs::remove_file(scene.file()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(scene.file()).status().unwrap().success());
    refused(ReadError::NotAFile);
    fs::remove_file(scene.file()).unwrap();
    fs::write(scene.file(), "[]").unwrap();
    assert!(matches!(begin(&scene.claude(), &waiter), Err(BeginError::NotALogin(_))));
}

#[test]
fn without_a_journal_nothing_is_sent() {
    for (point, kind) in [
        ("journal.created", io::ErrorKind::StorageFull),
        ("journal.half_written", io::ErrorKind::StorageFull),
        ("journal.written", io::ErrorKind::Other),
        ("journal.synced", io::ErrorKind::QuotaExceeded),
        ("journal.named", io::ErrorKind::Other),
        ("journal.directory_synced", io::ErrorKind::Other),
    ] {
        let scene = Scene::new();
        let _hook = failing(point, kind);
        match begin(&scene.claude(), &Virtual::new()) {
            Err(BeginError::NoProof(NoProof::NoJournal(found))) => assert_eq!(found, kind),
            other => panic!("{point}: {other:?}"),
        }
        assert!(scene.leftovers().is_empty(), "{point}: {:?}", scene.leftovers());
    }
    let scene = Scene::new();
    let _hook = failing("journal.created", io::ErrorKind::PermissionDenied);
    assert!(matches!(
        begin(&scene.claude(), &Virtual::new()),
        Err(BeginError::NoProof(NoProof::NoJournalInData(io::ErrorKind::PermissionDenied)))
    ));
    let store = trunkline_login_store::LoginStore::new(
        scene.file(),
        LockProtocol::Claude { config_directory: None },
        None,
    );
    assert!(matches!(
        begin(&store, &Virtual::new()),
        Err(BeginError::NoProof(NoProof::NoDataDirectory(io::ErrorKind::PermissionDenied)))
    ));
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_write_that_fails_is_repeated_and_the_token_is_there_meanwhile() {
    for point in [
        "login.created",
        "login.half_written",
        "login.written",
        "login.synced",
        "login.renamed",
        "login.directory_synced",
    ] {
        let scene = Scene::new();
        let waiter = Virtual::new();
        let answered = answered(&scene, &waiter);
        let hook = failing(point, io::ErrorKind::StorageFull);
        let outstanding = answered.commit(&Format, &waiter).unwrap_err();
        assert_eq!(outstanding.problem, WriteProblem::Write(io::ErrorKind::StorageFull), "{point}");
        let outstanding = match outstanding.answered.commit(&Format, &waiter) {
            Err(outstanding) => outstanding,
            // The rename had been made.
            Ok(Committed::AlreadyWritten(_))
                if matches!(point, "login.renamed" | "login.directory_synced") =>
            {
                continue;
            }
            Ok(other) => panic!("{point}: {other:?}"),
        };
        assert_eq!(tokens(outstanding.answered.login().unwrap().as_bytes()).0, "r1");
        assert!(scene.journal().exists() && scene.config().join(".oauth_refresh.lock").exists());
        assert_eq!(scene.tokens().0, "r0");
        // Another process waits for the locks; it does not send the token that is spent.
        assert!(matches!(begin(&scene.claude(), &Virtual::new()), Err(BeginError::Lock(_))));
        drop(hook);
        committed(outstanding.answered, &waiter);
        assert_eq!(scene.tokens().0, "r1");
        assert!(scene.leftovers().is_empty(), "{point}: {:?}", scene.leftovers());
    }
}

#[test]
fn an_answer_that_the_journal_does_not_take_is_written_all_the_same() {
    for point in ["answer.received", "answer.half_written", "answer.synced"] {
        let scene = Scene::new();
        let waiter = Virtual::new();
        let hook = failing(point, io::ErrorKind::Other);
        let answered = answered(&scene, &waiter);
        assert!(answered.journalled().is_err());
        drop(hook);
        committed(answered, &waiter);
        assert_eq!(scene.tokens().0, "r1");
        assert!(scene.leftovers().is_empty());
    }
    let scene = Scene::new();
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    fs::remove_file(scene.journal()).unwrap();
    let answered = sent.answered_at(&scene.call("r0").unwrap(), SystemTime::now(), &Format);
    assert!(answered.journalled().is_err());
    committed(answered, &waiter);
    assert_eq!(scene.tokens().0, "r1");
}

#[test]
fn an_answer_larger_than_the_journal_is_kept_too() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    scene.call("r0").unwrap();
    let raw = answer("r1", &"a".repeat(200_000));
    drop(sent.answered_at(&raw, SystemTime::now(), &Format));
    assert!(matches!(scene.claude().finish(&Format, &waiter)[..], [Finished::Written(_)]));
    assert_eq!(scene.tokens(), ("r1".to_owned(), "a".repeat(200_000)));
}

/// The first journal, beside the login file, is refused: as in a directory that admits no new files.
fn in_place() -> impl Drop {
    let is_first = Rc::new(Cell::new(true));
    set_hook(Some(Box::new(move |point| {
        if point == "journal.created" && is_first.replace(false) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    })));
    Unhook
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn in_place_the_file_stays_and_a_torn_one_is_mended() {
    for point in
        ["login.opened", "login.half_overwritten", "login.overwritten", "login.cut", "login.rewritten"]
    {
        for longer in ["a1", "a-token-that-is-longer-than-the-one-before", ""] {
            let scene = Scene::new();
            let before = inode(&scene.file());
            let waiter = Virtual::new();
            let hook = in_place();
            let sent = pending(&scene.claude(), &waiter).sending().unwrap();
            drop(hook);
            assert!(!scene.journal().exists());
            scene.call("r0").unwrap();
            let answered = sent.answered_at(&answer("r1", longer), SystemTime::UNIX_EPOCH, &Format);
            let hook = failing(point, io::ErrorKind::Other);
            let outstanding = answered.commit(&Format, &waiter).unwrap_err();
            assert_eq!(outstanding.problem, WriteProblem::Write(io::ErrorKind::Other));
            drop(hook);
            let torn = fs::read(scene.file()).unwrap();
            // By this process.
            let again = outstanding.answered.commit(&Format, &waiter).unwrap();
            assert!(matches!(again, Committed::Written(_) | Committed::AlreadyWritten(_)));
            assert_eq!(scene.tokens(), ("r1".to_owned(), longer.to_owned()), "{point}");
            assert_eq!(inode(&scene.file()), before);
            assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());

            // And by another after a crash.
            let scene = Scene::new();
            let hook = in_place();
            let sent = pending(&scene.claude(), &waiter).sending().unwrap();
            drop(hook);
            scene.call("r0").unwrap();
            let answered = sent.answered_at(&answer("r1", longer), SystemTime::UNIX_EPOCH, &Format);
            let hook = failing(point, io::ErrorKind::Other);
            drop(answered.commit(&Format, &waiter).unwrap_err());
            drop(hook);
            assert_eq!(fs::read(scene.file()).unwrap(), torn);
            let finished = scene.claude().finish(&Format, &waiter);
            assert!(
                matches!(finished[..], [Finished::Written(_) | Finished::AlreadyWritten]),
                "{finished:?}"
            );
            assert_eq!(scene.tokens(), ("r1".to_owned(), longer.to_owned()), "{point}");
            assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
        }
    }
}

#[test]
fn a_directory_that_closes_after_the_proof_leaves_the_file_itself() {
    let scene = Scene::new();
    let before = inode(&scene.file());
    let waiter = Virtual::new();
    let answered = answered(&scene, &waiter);
    let hook = failing("login.created", io::ErrorKind::ResourceBusy);
    committed(answered, &waiter);
    drop(hook);
    assert_eq!((scene.tokens().0.as_str(), inode(&scene.file())), ("r1", before));
    assert!(scene.leftovers().is_empty());
}

#[test]
fn nothing_that_is_shown_holds_a_token() {
    const CANARY: &str = "Qz7Xk2Vw9Lp4Tn6Rb8Hs3Jd5Gf1Mc0Ya";
    let scene = Scene::new();
    let waiter = Virtual::new();
    let mut shown = Vec::new();
    let file = login_text(CANARY, CANARY);
    write_private(&scene.file(), file.as_bytes());
    let held = pending(&scene.claude(), &waiter);
    shown.push(format!("{held:?}"));
    let sent = held.sending().unwrap();
    shown.push(format!("{sent:?}"));
    let answered = sent.answered_at(&answer(CANARY, CANARY), SystemTime::now(), &Format);
    shown.push(format!("{answered:?}"));
    write_private(&scene.file(), CANARY.as_bytes());
    let outstanding = answered.commit(&Format, &waiter).unwrap_err();
    shown.push(format!("{outstanding:?} {}", outstanding.problem));
    shown.push(format!("{:?}", begin(&scene.claude(), &waiter)));
    write_private(&scene.file(), file.as_bytes());
    let committed = outstanding.answered.commit(&Format, &waiter).unwrap();
    shown.push(format!("{committed:?} {:?}", begin(&scene.claude(), &waiter)));
    for text in shown {
        assert!(!(0..24).any(|at| text.contains(&CANARY[at..at + 8])), "{text}");
        let bytes: Vec<String> = CANARY.bytes().take(8).map(|byte| byte.to_string()).collect();
        assert!(!text.contains(&bytes.join(", ")), "{text}");
    }
}

#[test]
fn each_phase_can_be_handed_to_another_thread() {
    fn handed<T: Send + 'static>() {}
    fn shared<T: Send + Sync + 'static>() {}
    handed::<trunkline_login_store::Pending>();
    handed::<trunkline_login_store::Sent>();
    handed::<Answered>();
    shared::<trunkline_login_store::Heartbeat>();
    shared::<trunkline_login_store::LoginStore>();
}
