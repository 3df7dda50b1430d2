//! A login in a keychain: the same refresh as in a file, and everything that a keychain does otherwise.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{
    Answering as _, Format, Scene, Virtual, answer, begin, keychain_item, login_text, pending, tokens,
};
use trunkline_login_store::fault::set_hook;
use trunkline_login_store::{
    Answered, BadItem, BeginError, Begun, Cancelled, Committed, Finished, KEYCHAIN_POLL, KEYCHAIN_RETRY,
    KEYCHAIN_UNAVAILABLE_POLL, KeychainItem, KeychainProblem, LockProblem, LockProtocol, LoginStore,
    MAX_LOGIN_FILE, NoProof, ReadError, SecurityTool, SetAsideReason, UNAVAILABLE_POLL, Waiter, WriteProblem,
};

fn answered(store: &LoginStore, waiter: &dyn Waiter) -> Answered {
    let sent = pending(store, waiter).sending().unwrap();
    sent.answered_at(&answer("r1", "a1"), SystemTime::now(), &Format)
}

fn r0() -> String {
    login_text("r0", "a0")
}

#[test]
fn a_refresh_from_end_to_end() {
    let scene = Scene::with_item();
    let (_, store) = scene.keychain();
    let waiter = Virtual::new();
    let pending = pending(&store, &waiter);
    assert_eq!(tokens(pending.text().as_bytes()), ("r0".into(), "a0".into()));
    // The journal lies in the data directory, and the locks are those of the configuration directory.
    let mut names: Vec<_> = fs::read_dir(scene.data())
        .unwrap()
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let [name, note] = names.as_slice() else { panic!("{names:?}") };
    assert!(name.starts_with("login-") && name.ends_with(".trunkline-refresh"), "{name}");
    assert_eq!(*note, format!("{name}.locks"));
    assert!(scene.config().join(".oauth_refresh.lock").is_dir());
    assert!(scene.root.join(".claude.lock").is_dir());
    assert!(!scene.config().join(".storage-write.lock").exists(), "only around a write");
    assert_eq!(fs::read_to_string(scene.item()).unwrap(), r0(), "the proof changes nothing");
    // No second one meanwhile.
    assert!(matches!(
        begin(&store, &Virtual::new()),
        Err(BeginError::Lock(LockProblem::Busy { lock: ".oauth_refresh.lock" }))
    ));
    let sent = pending.sending().unwrap();
    let raw = scene.call(&tokens(sent.text().as_bytes()).0).unwrap();
    let answered = sent.answered_at(&raw, SystemTime::now(), &Format);
    answered.journalled().unwrap();
    let Ok(Committed::Written(text)) = answered.commit(&Format, &waiter) else { panic!("not written") };
    assert_eq!(fs::read(scene.item()).unwrap(), text.as_bytes());
    assert_eq!(tokens(text.as_bytes()), ("r1".into(), "a1".into()));
    assert_eq!(store.read().unwrap(), text);
    assert!(!scene.file().exists() && scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    assert!(matches!(begin(&store, &waiter), Ok(Begun::Fresh(_))));
}

#[test]
fn the_keychain_wins_and_the_file_follows() {
    let scene = Scene::with_item();
    let (_, store) = scene.keychain();
    let waiter = Virtual::new();
    scene.log_in("r7", "a7");
    assert_eq!(tokens(store.read().unwrap().as_bytes()).0, "r0");
    assert!(matches!(answered(&store, &waiter).commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(fs::read_to_string(scene.file()).unwrap(), login_text("r7", "a7"));
    // Logged out in the keychain is logged out: the client looks no further either.
    scene.set_item(login_text("", "").as_bytes());
    assert!(matches!(begin(&store, &waiter), Ok(Begun::NoRefreshToken(_))));
    // Without an item it is the file, as if there were no keychain.
    fs::remove_file(scene.item()).unwrap();
    let pending = pending(&store, &waiter);
    assert!(scene.journal().exists());
    let raw = answer("r8", "a8");
    let answered = pending.sending().unwrap().answered_at(&raw, SystemTime::now(), &Format);
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(tokens(&fs::read(scene.file()).unwrap()).0, "r8");
    assert!(!scene.item().exists() && scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    fs::remove_file(scene.file()).unwrap();
    assert_eq!(store.read(), Err(ReadError::Missing));
    assert!(matches!(begin(&store, &waiter), Err(BeginError::Read(ReadError::Missing))));
}

#[test]
fn an_item_is_looked_for_twice_before_an_old_file_counts() {
    let scene = Scene::with_item();
    scene.log_in("r7", "a7");
    let (_, store) = scene.keychain();
    fs::rename(scene.item(), scene.root.join("away")).unwrap();
    let waiter = Virtual::new();
    let root = scene.root.clone();
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |_| {
        let _ = fs::rename(root.join("away"), root.join("item"));
    }));
    assert_eq!(tokens(pending(&store, &waiter).text().as_bytes()).0, "r0");
    assert_eq!(waiter.total(), Duration::from_millis(200));
}

#[test]
fn a_keychain_that_does_not_tell_leads_nowhere() {
    let scene = Scene::with_item();
    // What lies in the file may be older than what cannot be read.
    scene.log_in("r7", "a7");
    let (keychain, store) = scene.keychain();
    for problem in [
        KeychainProblem::Locked,
        KeychainProblem::Denied,
        KeychainProblem::TimedOut,
        KeychainProblem::TooLarge,
        KeychainProblem::Failed(1),
        KeychainProblem::Unreachable(io::ErrorKind::NotFound),
    ] {
        let waiter = Virtual::new();
        keychain.before(move |_, _| Err(problem));
        let expected = ReadError::Keychain(problem);
        assert!(matches!(begin(&store, &waiter), Err(BeginError::Read(error)) if error == expected));
        assert_eq!(store.read(), Err(expected));
        assert_eq!(store.read_patiently(&Format, &waiter), Err(expected));
        // A dialogue is put on the screen once, not twice.
        assert_eq!(keychain.take_calls(), ["read"; 3]);
        assert_eq!(waiter.total(), Duration::ZERO);
        assert!(store.finish(&Format, &waiter).is_empty());
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
        // At any later read, too: nothing is sent, and nothing stays.
        keychain.before(move |_, before| if before >= 2 { Err(problem) } else { Ok(()) });
        assert!(begin(&store, &waiter).is_err());
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
        keychain.take_calls();
    }
    keychain.works_again();
    assert_eq!(tokens(pending(&store, &Virtual::new()).text().as_bytes()).0, "r0");
}

#[test]
fn nothing_is_sent_without_a_proof() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    for problem in [KeychainProblem::Locked, KeychainProblem::TimedOut, KeychainProblem::Failed(45)] {
        keychain.before(move |name, _| if name == "write" { Err(problem) } else { Ok(()) });
        let begun = begin(&store, &Virtual::new());
        assert!(matches!(begun, Err(BeginError::NoProof(NoProof::Keychain(found))) if found == problem));
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    }
    // What comes back is not what was written: another program's.
    let (item, has_written) = (scene.item(), AtomicBool::new(false));
    keychain.before(move |name, _| {
        if name == "read" && has_written.swap(name == "write", Ordering::SeqCst) {
            fs::write(&item, login_text("r5", "a5")).unwrap();
        }
        has_written.fetch_or(name == "write", Ordering::SeqCst);
        Ok(())
    });
    let begun = begin(&store, &Virtual::new());
    assert!(
        matches!(begun, Err(BeginError::NoProof(NoProof::Keychain(KeychainProblem::NotKept)))),
        "{begun:?}"
    );
    assert_eq!(scene.tokens().0, "r5", "what another has written stays");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    keychain.works_again();

    let bare = scene.store_with(Arc::clone(&keychain) as _, None);
    keychain.take_calls();
    let begun = begin(&bare, &Virtual::new());
    assert!(matches!(begun, Err(BeginError::NoProof(NoProof::KeychainWithoutDataDirectory))));
    set_hook(Some(Box::new(|point| match point {
        "journal.created" => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    })));
    let begun = begin(&store, &Virtual::new());
    set_hook(None);
    assert!(matches!(begun, Err(BeginError::NoProof(NoProof::NoJournalInData(io::ErrorKind::StorageFull)))));
    assert!(!keychain.take_calls().contains(&"write"), "no proof of one half without the other");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn an_item_is_written_only_under_the_lock_around_a_write() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    let lock = scene.config().join(".storage-write.lock");
    let seen = lock.clone();
    keychain.before(move |name, _| {
        assert!(name != "write" || seen.is_dir());
        Ok(())
    });
    let waiter = Virtual::new();
    let answered = answered(&store, &waiter);
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    keychain.works_again();
    // The client has it: the proof waits, and the token stays.
    scene.set_item(r0().as_bytes());
    fs::create_dir(&lock).unwrap();
    keychain.take_calls();
    let begun = begin(&store, &waiter);
    assert!(matches!(begun, Err(BeginError::Lock(LockProblem::Busy { lock: ".storage-write.lock" }))));
    assert!(!keychain.take_calls().contains(&"write"));
    fs::remove_dir(&lock).unwrap();
    // Taken over while the keychain took its time: what was read may be old.
    let stolen = lock.clone();
    keychain.before(move |name, _| {
        if name == "read" && stolen.is_dir() {
            fs::rename(&stolen, stolen.with_extension("before")).unwrap();
            fs::create_dir(&stolen).unwrap();
        }
        Ok(())
    });
    let begun = begin(&store, &waiter);
    assert!(matches!(begun, Err(BeginError::Lock(LockProblem::Busy { lock: ".storage-write.lock" }))));
    assert!(!keychain.take_calls().contains(&"write"));
    keychain.works_again();
    fs::remove_dir(lock.with_extension("before")).unwrap();
    fs::remove_dir(&lock).unwrap();
    // A token that was received does not wait for it.
    let answered = self::answered(&store, &waiter);
    fs::create_dir(&lock).unwrap();
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(scene.leftovers(), [".storage-write.lock"], "the client's own");
    assert_eq!(scene.tokens().0, "r1");
}

/// A clock on which every look takes a second.
struct Slow(Cell<u64>, SystemTime);

impl Waiter for Slow {
    fn now(&self) -> SystemTime {
        self.0.set(self.0.get() + 1);
        self.1 + Duration::from_secs(self.0.get())
    }

    fn wait(&self, _: Duration) -> Result<(), Cancelled> {
        Ok(())
    }

    fn jitter(&self, _: Duration) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn the_lock_around_a_write_does_not_age_while_the_item_is_read() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    let lock = scene.config().join(".storage-write.lock");
    let (writes, read_at) = (Arc::new(AtomicUsize::new(0)), Mutex::new(None));
    let counted = Arc::clone(&writes);
    keychain.before(move |name, _| {
        let Ok(lock) = fs::metadata(&lock) else { return Ok(()) };
        let mut read_at = read_at.lock().unwrap();
        if name == "read" {
            *read_at = Some(lock.modified().unwrap());
        } else {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(read_at.unwrap() < lock.modified().unwrap());
        }
        Ok(())
    });
    let waiter = Slow(Cell::new(0), SystemTime::now());
    let answered = answered(&store, &waiter);
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(writes.load(Ordering::SeqCst), 2, "of the proof, and of the token");
}

#[test]
fn what_is_no_login_is_not_refreshed() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    let long = " ".repeat(usize::try_from(MAX_LOGIN_FILE).unwrap()) + &r0();
    for (data, expected) in [
        (b"".as_slice(), Err(ReadError::Empty)),
        (b"\xff\xfe{}", Err(ReadError::NotText)),
        (long.as_bytes(), Err(ReadError::TooLarge)),
        (b"{\"claudeAiOauth\":", Ok(())),
        (b"password", Ok(())),
    ] {
        scene.set_item(data);
        let waiter = Virtual::new();
        assert_eq!(store.read_patiently(&Format, &waiter).map(|_| ()), expected);
        assert_eq!(waiter.total(), Duration::from_millis(200), "a second look");
        match (begin(&store, &waiter), expected) {
            (Err(BeginError::Read(error)), Err(expected)) => assert_eq!(error, expected),
            (Err(BeginError::NotALogin(_)), Ok(())) => {}
            other => panic!("{other:?}"),
        }
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    }
    assert!(!keychain.take_calls().contains(&"write"));
}

#[test]
fn a_login_without_room_for_a_longer_token_is_not_refreshed() {
    let scene = Scene::with_item();
    for (room, is_enough) in [(r0().len() + 511, false), (r0().len() + 512, true)] {
        let mut keychain = common::FakeKeychain::at(scene.item());
        keychain.room = room;
        let keychain = Arc::new(keychain);
        let store = scene.store_with(Arc::clone(&keychain) as _, Some(scene.data()));
        match begin(&store, &Virtual::new()) {
            Ok(Begun::Pending(_)) => assert!(is_enough),
            Err(BeginError::NoProof(NoProof::Keychain(KeychainProblem::NoRoom))) => {
                assert!(!is_enough && !keychain.take_calls().contains(&"write"));
            }
            other => panic!("{other:?}"),
        }
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    }
    // It has grown meanwhile: kept in the journal and in memory, not cut.
    let mut keychain = common::FakeKeychain::at(scene.item());
    keychain.room = r0().len() + 512;
    let store = scene.store_with(Arc::new(keychain), Some(scene.data()));
    let waiter = Virtual::new();
    let answered = answered(&store, &waiter);
    let grown = r0().replace(r#"{"n":1e3}"#, &format!(r#"{{"n":1e3{}}}"#, " ".repeat(510)));
    scene.set_item(grown.as_bytes());
    let outstanding = answered.commit(&Format, &waiter).unwrap_err();
    assert_eq!(outstanding.problem, WriteProblem::Keychain(KeychainProblem::NoRoom));
    assert_eq!(tokens(outstanding.answered.login().unwrap().as_bytes()).0, "r1");
    scene.set_item(r0().as_bytes());
    assert!(matches!(outstanding.answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
}

#[test]
fn a_write_that_fails_is_made_again() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    let waiter = Virtual::new();
    let mut answered = answered(&store, &waiter);
    for (failing, expected) in [
        ("write", WriteProblem::Keychain(KeychainProblem::Locked)),
        ("read", WriteProblem::Read(ReadError::Keychain(KeychainProblem::Locked))),
    ] {
        keychain.before(move |name, _| if name == failing { Err(KeychainProblem::Locked) } else { Ok(()) });
        let outstanding = answered.commit(&Format, &waiter).unwrap_err();
        assert_eq!(outstanding.problem, expected);
        answered = outstanding.answered;
        assert_eq!(tokens(answered.login().unwrap().as_bytes()).0, "r1");
        assert_eq!(scene.tokens().0, "r0");
        assert!(answered.is_newer_than(&store_text(&r0()), &Format));
    }
    // It says that it failed, and has written: as when it was ended just then.
    let item = scene.item();
    keychain.before(move |name, _| match name {
        "write" => {
            let new = fs::read_to_string(&item).unwrap().replace("r0", "r1").replace("a0", "a1");
            fs::write(&item, new).unwrap();
            Err(KeychainProblem::TimedOut)
        }
        _ => Ok(()),
    });
    let outstanding = answered.commit(&Format, &waiter).unwrap_err();
    assert_eq!(outstanding.problem, WriteProblem::Keychain(KeychainProblem::TimedOut));
    keychain.works_again();
    let committed = outstanding.answered.commit(&Format, &waiter);
    assert!(matches!(committed, Ok(Committed::AlreadyWritten(_))), "{committed:?}");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

fn store_text(text: &str) -> trunkline_login_store::LoginText {
    trunkline_login_store::LoginText::new(text.as_bytes().to_vec())
}

#[test]
fn an_item_that_changed_meanwhile_is_judged_like_a_file() {
    for (now, expected) in [
        (Some(login_text("r5", "a5").into_bytes()), Err(SetAsideReason::OtherLogin)),
        (None, Err(SetAsideReason::NoLogin)),
        (Some(login_text("", "").into_bytes()), Ok(())),
        (Some(login_text("r0", "a9").into_bytes()), Ok(())),
    ] {
        let scene = Scene::with_item();
        // Not what the answer is for, whatever becomes of the item.
        scene.log_in("r0", "a0");
        let (_, store) = scene.keychain();
        let waiter = Virtual::new();
        let answered = answered(&store, &waiter);
        match &now {
            Some(now) => scene.set_item(now),
            None => fs::remove_file(scene.item()).unwrap(),
        }
        match (answered.commit(&Format, &waiter), expected) {
            (Ok(Committed::SetAside(reason)), Err(expected)) => {
                assert_eq!(reason, expected);
                assert_eq!(fs::read(scene.item()).ok(), now);
                let leftovers = scene.leftovers();
                assert!(leftovers.len() == 1 && leftovers[0].ends_with(".superseded"), "{leftovers:?}");
            }
            (Ok(Committed::Written(text)), Ok(())) => {
                assert_eq!(tokens(text.as_bytes()), ("r1".into(), "a1".into()));
                assert_eq!(fs::read(scene.item()).unwrap(), text.as_bytes());
                assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_to_string(scene.file()).unwrap(), r0());
    }
}

#[test]
fn an_item_that_changes_behind_the_write_is_another_login() {
    let scene = Scene::with_item();
    let (keychain, store) = scene.keychain();
    let waiter = Virtual::new();
    let answered = answered(&store, &waiter);
    let item = scene.item();
    keychain.before(move |name, _| {
        if name == "read" && fs::read_to_string(&item).unwrap().contains("r1") {
            fs::write(&item, login_text("r5", "a5")).unwrap();
        }
        Ok(())
    });
    let outstanding = answered.commit(&Format, &waiter).unwrap_err();
    assert_eq!(outstanding.problem, WriteProblem::Keychain(KeychainProblem::NotKept));
    let committed = outstanding.answered.commit(&Format, &waiter);
    assert!(matches!(committed, Ok(Committed::SetAside(SetAsideReason::OtherLogin))), "{committed:?}");
    assert_eq!(scene.tokens().0, "r5");
}

#[test]
fn a_login_that_moves_meanwhile_is_begun_anew() {
    let scene = Scene::new();
    let (_, store) = scene.keychain();
    let (item, text) = (scene.item(), r0());
    // The client logs in, into the keychain, while the locks are taken.
    set_hook(Some(Box::new(move |point| {
        if point == "begin.locked" {
            fs::write(&item, &text)?;
        }
        Ok(())
    })));
    let begun = begin(&store, &Virtual::new());
    set_hook(None);
    assert!(matches!(begun, Err(BeginError::Moved)), "{begun:?}");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    drop(pending(&store, &Virtual::new()));
    // And out of it.
    let gone = scene.item();
    set_hook(Some(Box::new(move |point| {
        if point == "begin.locked" {
            fs::remove_file(&gone)?;
        }
        Ok(())
    })));
    let begun = begin(&store, &Virtual::new());
    set_hook(None);
    assert!(matches!(begun, Err(BeginError::Moved)), "{begun:?}");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

/// Leaves a journal with an answer, as a process that dies does.
fn leave_an_answer(store: &LoginStore, root: &std::path::Path) {
    let answered = answered(store, &Virtual::new());
    answered.journalled().unwrap();
    let copies: Vec<_> = [root.join("data"), root.join(".claude")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.to_str().unwrap().ends_with(".trunkline-refresh"))
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    assert_eq!(copies.len(), 1);
    drop(answered);
    for (bytes, path) in copies {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn each_journal_is_finished_where_it_belongs() {
    // Of the keychain, while the file holds the same old token.
    let scene = Scene::with_item();
    scene.log_in("r0", "a0");
    let (keychain, store) = scene.keychain();
    leave_an_answer(&store, &scene.root);
    // Locked: it stays, and no refresh begins.
    keychain.before(|_, _| Err(KeychainProblem::Locked));
    let finished = store.finish(&Format, &Virtual::new());
    assert!(matches!(&finished[..], [Finished::Outstanding(outstanding)]
        if outstanding.problem == WriteProblem::Read(ReadError::Keychain(KeychainProblem::Locked))));
    drop(finished);
    keychain.works_again();
    assert!(matches!(&store.finish(&Format, &Virtual::new())[..], [Finished::Written(_)]));
    assert_eq!(tokens(&fs::read(scene.item()).unwrap()).0, "r1");
    assert_eq!(fs::read_to_string(scene.file()).unwrap(), r0());
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());

    // Of the file, which the client has moved into the keychain since.
    let scene = Scene::new();
    leave_an_answer(&scene.claude(), &scene.root);
    let (_, store) = scene.keychain();
    scene.set_item(r0().as_bytes());
    let finished = store.finish(&Format, &Virtual::new());
    assert!(matches!(&finished[..], [Finished::Written(_)]));
    assert_eq!(tokens(&fs::read(scene.file()).unwrap()).0, "r1");
    assert_eq!(fs::read_to_string(scene.item()).unwrap(), r0());

    // One that knows of no keychain does not take the keychain's for its own.
    let scene = Scene::with_item();
    leave_an_answer(&scene.keychain().1, &scene.root);
    scene.log_in("r0", "a0");
    assert!(scene.claude().finish(&Format, &Virtual::new()).is_empty());
    assert_eq!(scene.leftovers().len(), 1);
}

#[test]
fn a_keychain_is_polled() {
    let scene = Scene::with_item();
    let (_, store) = scene.keychain();
    let locked = Some(ReadError::Keychain(KeychainProblem::Locked));
    assert_eq!(store.poll_after(None, true), Some(KEYCHAIN_POLL));
    assert_eq!(store.poll_after(None, false), Some(KEYCHAIN_UNAVAILABLE_POLL));
    assert_eq!(store.poll_after(Some(ReadError::Missing), false), Some(KEYCHAIN_UNAVAILABLE_POLL));
    // Each look may put a dialogue on somebody's screen.
    assert_eq!(store.poll_after(locked, false), Some(KEYCHAIN_RETRY));
    assert_eq!(store.poll_after(locked, true), Some(KEYCHAIN_RETRY));
    let file = scene.claude();
    assert_eq!(file.poll_after(None, true), None);
    assert_eq!(file.poll_after(Some(ReadError::Missing), false), Some(UNAVAILABLE_POLL));
}

#[test]
fn names_are_checked() {
    let long = "x".repeat(256);
    for (service, account, what) in [("", "a", "service"), ("s", "a\nb", "account"), ("s", &long, "account")]
    {
        assert_eq!(KeychainItem::new(service, account), Err(BadItem { what }));
    }
    let item = KeychainItem::new("s", "it's \"me\" \\ é").unwrap();
    assert_eq!((item.service(), item.account()), ("s", "it's \"me\" \\ é"));
}

/// A program that does what `security` does with the one item of `scene`, and notes its arguments. Other programs write it, so
/// that it is not open in this one, which starts programs in other threads.
fn security(scene: &Scene, limit: Duration) -> SecurityTool {
    let script = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/arguments"
[ ! -e "$here/exit" ] || exit "$(cat "$here/exit")"
[ ! -e "$here/hang" ] || exec sleep 60
case $1 in
find-generic-password)
    [ "$*" = "find-generic-password -a alice -s Claude Code-credentials -w" ] || exit 2
    [ -e "$here/item" ] || exit 44
    cat "$here/item"
    echo
    ;;
-i)
    IFS= read -r line || exit 1
    eval "set -- $line"
    [ "$1 $2 $3 $5 $6 $7 $8" = "add-generic-password -U -w -s Claude Code-credentials -a alice" ] || exit 2
    printf %s "$4" > "$here/item.new"
    mv "$here/item.new" "$here/item"
    echo "$line" >&2
    ;;
*) exit 2 ;;
esac
"#;
    let path = scene.root.join("security");
    let mut child = Command::new("/bin/sh")
        .args(["-c", r#"cat > "$0" && chmod 700 "$0""#])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    SecurityTool::at(path, limit)
}

#[test]
fn a_refresh_by_way_of_the_program() {
    let scene = Scene::with_item();
    let tool = security(&scene, Duration::from_secs(10));
    let store = scene.store_with(Arc::new(tool), Some(scene.data()));
    let waiter = Virtual::new();
    let answered = answered(&store, &waiter);
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(scene.tokens(), ("r1".into(), "a1".into()));
    // No secret is an argument.
    let arguments = fs::read_to_string(scene.root.join("arguments")).unwrap();
    assert!(arguments.lines().filter(|line| *line == "-i").count() == 2, "{arguments}");
    for secret in ["r0", "r1", "a1", "claudeAiOauth"] {
        assert!(!arguments.contains(secret), "{arguments}");
    }
    // Digits, as it prints what it cannot print otherwise.
    let digits: Vec<String> = login_text("r2", "ü").bytes().map(|byte| format!("{byte:02X}")).collect();
    fs::write(scene.item(), digits.concat()).unwrap();
    assert_eq!(tokens(store.read().unwrap().as_bytes()), ("r2".into(), "ü".into()));
}

#[test]
fn what_the_program_says_by_its_exit() {
    let scene = Scene::with_item();
    let store = |tool| scene.store_with(Arc::new(tool), Some(scene.data()));
    let read = |store: &LoginStore| store.read().map(|_| ());
    let usual = store(security(&scene, Duration::from_secs(10)));
    for (exit, problem) in [
        (36, KeychainProblem::Locked),
        (51, KeychainProblem::Denied),
        (128, KeychainProblem::Denied),
        (45, KeychainProblem::Failed(45)),
        (1, KeychainProblem::Failed(1)),
    ] {
        fs::write(scene.root.join("exit"), exit.to_string()).unwrap();
        assert_eq!(read(&usual), Err(ReadError::Keychain(problem)));
    }
    // No item, and no keychain, for certain: the file.
    for exit in [44, 37, 50] {
        fs::write(scene.root.join("exit"), exit.to_string()).unwrap();
        assert_eq!(read(&usual), Err(ReadError::Missing));
        scene.log_in("r7", "a7");
        assert_eq!(tokens(usual.read().unwrap().as_bytes()).0, "r7");
        fs::remove_file(scene.file()).unwrap();
    }
    fs::remove_file(scene.root.join("exit")).unwrap();
    assert_eq!(read(&usual), Ok(()));
    fs::write(scene.root.join("hang"), "").unwrap();
    let hasty = store(SecurityTool::at(scene.root.join("security"), Duration::from_millis(200)));
    assert_eq!(read(&hasty), Err(ReadError::Keychain(KeychainProblem::TimedOut)));
    fs::remove_file(scene.root.join("hang")).unwrap();
    let huge = fs::File::create(scene.item()).unwrap();
    huge.set_len(5 * MAX_LOGIN_FILE).unwrap();
    assert_eq!(read(&usual), Err(ReadError::Keychain(KeychainProblem::TooLarge)));
    let nowhere = store(SecurityTool::at(PathBuf::from("/nonexistent/security"), Duration::from_secs(1)));
    let expected = KeychainProblem::Unreachable(io::ErrorKind::NotFound);
    assert_eq!(read(&nowhere), Err(ReadError::Keychain(expected)));
}

#[test]
fn no_token_is_shown() {
    let scene = Scene::with_item();
    let secrets = ["r0-secret", "a0-secret", "r1-secret"];
    scene.set_item(login_text(secrets[0], secrets[1]).as_bytes());
    let tool = security(&scene, Duration::from_secs(10));
    let store = scene.store_with(Arc::new(tool), Some(scene.data()));
    let waiter = Virtual::new();
    let sent = pending(&store, &waiter).sending().unwrap();
    let shown = format!("{store:?} {sent:?} {:?}", store.read());
    let answered = sent.answered_at(&answer(secrets[2], "a1-secret"), SystemTime::now(), &Format);
    fs::write(scene.root.join("exit"), "36").unwrap();
    let outstanding = answered.commit(&Format, &waiter).unwrap_err();
    let shown = format!("{shown} {outstanding:?} {}", outstanding.problem);
    assert!(shown.contains("LoginText("), "{shown}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_locks_are_those_of_the_configuration_directory() {
    let scene = Scene::with_item();
    let other = scene.root.join("elsewhere");
    fs::create_dir(&other).unwrap();
    let (keychain, _) = scene.keychain();
    let store = LoginStore::with_keychain(
        keychain,
        keychain_item(),
        scene.file(),
        LockProtocol::Claude { config_directory: Some(other.clone()) },
        Some(scene.data()),
    );
    let pending = pending(&store, &Virtual::new());
    assert!(other.join(".oauth_refresh.lock").is_dir() && scene.root.join("elsewhere.lock").is_dir());
    assert!(!scene.config().join(".oauth_refresh.lock").exists());
    drop(pending);
    // Where no lock can be made, nothing is sent: in a keychain there is no writing in place.
    fs::remove_dir(&other).unwrap();
    assert!(matches!(begin(&store, &Virtual::new()), Err(BeginError::Lock(_))));
}
