//! The locks: their order, their age, and what happens when others have them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::{Answering as _, Format, Scene, Virtual, begin, pending, tokens};
use trunkline_login_store::fault::set_hook;
use trunkline_login_store::{
    BeginError, Begun, Committed, Finished, LockProblem, LockProtocol, LoginStore, Waiter as _,
};

const SECOND: Duration = Duration::from_secs(1);

fn refresh_lock(scene: &Scene) -> PathBuf {
    scene.config().join(".oauth_refresh.lock")
}

fn sibling(scene: &Scene) -> PathBuf {
    scene.root.join(".claude.lock")
}

fn write_lock(scene: &Scene) -> PathBuf {
    scene.config().join(".storage-write.lock")
}

/// A lock of another's that was touched this long ago.
fn held(path: &Path, age: Duration) {
    fs::create_dir(path).unwrap();
    touch(path, SystemTime::now() - age);
}

fn touch(path: &Path, at: SystemTime) {
    File::open(path).unwrap().set_modified(at).unwrap();
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn is_busy(scene: &Scene, waiter: &Virtual, expected: &str) {
    match begin(&scene.claude(), waiter) {
        Err(BeginError::Lock(LockProblem::Busy { lock })) => assert_eq!(lock, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_live_lock_is_tried_six_times_and_left_alone() {
    for path in [refresh_lock, sibling] {
        let scene = Scene::new();
        held(&path(&scene), 59 * SECOND);
        let inode = fs::metadata(path(&scene)).unwrap().ino();
        let waiter = Virtual::new();
        // Whoever holds it touches it.
        let lock = path(&scene);
        *waiter.meanwhile.borrow_mut() = Some(Box::new(move |_| touch(&lock, SystemTime::now())));
        let name = path(&scene).file_name().unwrap().to_owned();
        let expected = if name == ".claude.lock" {
            "the lock beside the configuration directory"
        } else {
            ".oauth_refresh.lock"
        };
        is_busy(&scene, &waiter, expected);
        assert_eq!(*waiter.waited.borrow(), [SECOND * 3 / 2; 5]);
        assert_eq!(fs::metadata(path(&scene)).unwrap().ino(), inode);
        assert_eq!(scene.leftovers(), [name.into_string().unwrap()]);
    }
}

#[test]
fn a_stale_lock_is_taken_and_looked_at_again() {
    let scene = Scene::new();
    held(&refresh_lock(&scene), 61 * SECOND);
    held(&sibling(&scene), 61 * SECOND);
    let waiter = Virtual::new();
    pending(&scene.claude(), &waiter).abandon();
    assert_eq!(*waiter.waited.borrow(), [Duration::from_millis(200); 2]);
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_stale_lock_that_two_take_belongs_to_the_later() {
    let scene = Scene::new();
    held(&refresh_lock(&scene), 61 * SECOND);
    let waiter = Virtual::new();
    let lock = refresh_lock(&scene);
    let mut is_first = true;
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |_| {
        if std::mem::replace(&mut is_first, false) {
            fs::remove_dir(&lock).unwrap();
            fs::create_dir(&lock).unwrap();
        }
    }));
    is_busy(&scene, &waiter, ".oauth_refresh.lock");
    assert_eq!(scene.leftovers(), [".oauth_refresh.lock"], "that of the other stays");
}

#[test]
fn a_lock_that_is_let_go_is_taken() {
    let scene = Scene::new();
    held(&refresh_lock(&scene), Duration::ZERO);
    let waiter = Virtual::new();
    let lock = refresh_lock(&scene);
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |total| {
        if total > 3 * SECOND {
            let _ = fs::remove_dir(&lock);
        }
    }));
    pending(&scene.claude(), &waiter).abandon();
    assert_eq!(waiter.waited.borrow().len(), 3);
}

#[test]
fn what_is_no_lock_is_not_removed() {
    let scene = Scene::new();
    fs::write(refresh_lock(&scene), "").unwrap();
    File::options()
        .write(true)
        .open(refresh_lock(&scene))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    is_busy(&scene, &Virtual::new(), ".oauth_refresh.lock");
    assert!(refresh_lock(&scene).is_file());
    fs::remove_file(refresh_lock(&scene)).unwrap();
    held(&refresh_lock(&scene), Duration::ZERO);
    fs::write(refresh_lock(&scene).join("x"), "").unwrap();
    touch(&refresh_lock(&scene), SystemTime::UNIX_EPOCH);
    is_busy(&scene, &Virtual::new(), ".oauth_refresh.lock");
    assert!(refresh_lock(&scene).join("x").exists());
}

#[test]
fn the_first_is_touched_while_the_second_is_waited_for() {
    let scene = Scene::new();
    held(&sibling(&scene), Duration::ZERO);
    let waiter = Virtual::new();
    let (first, begin_at) = (refresh_lock(&scene), waiter.now());
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |total| {
        let age = (begin_at + total).duration_since(modified(&first)).unwrap();
        assert!(age <= 3 * SECOND, "{age:?}");
    }));
    is_busy(&scene, &waiter, "the lock beside the configuration directory");
    assert_eq!(scene.leftovers(), [".claude.lock"]);
}

#[test]
fn a_wait_can_be_ended() {
    let scene = Scene::new();
    held(&sibling(&scene), Duration::ZERO);
    let waiter = Virtual::new();
    waiter.cancel_after.set(1);
    assert!(matches!(begin(&scene.claude(), &waiter), Err(BeginError::Lock(LockProblem::Cancelled))));
    assert_eq!(scene.leftovers(), [".claude.lock"]);
}

#[test]
fn the_heartbeat_touches_what_is_ours_and_outlives_it() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    let heartbeat = sent.heartbeat();
    let later = SystemTime::now() + 5 * SECOND;
    assert!(heartbeat.touch(later));
    assert_eq!((modified(&refresh_lock(&scene)), modified(&sibling(&scene))), (later, later));
    // Another took it over: it is neither touched nor removed.
    fs::remove_dir(sibling(&scene)).unwrap();
    fs::create_dir(sibling(&scene)).unwrap();
    assert!(!heartbeat.touch(later + 9 * SECOND));
    assert!(modified(&sibling(&scene)) < later);
    assert!(sent.again().is_err());
    drop(sent);
    assert_eq!(scene.leftovers(), [".claude.lock"]);
    assert!(heartbeat.touch(later), "there is nothing left to keep");
}

#[test]
fn nothing_is_sent_when_a_lock_was_taken_over() {
    for path in [refresh_lock, sibling] {
        for is_made_anew in [false, true] {
            let scene = Scene::new();
            let pending = pending(&scene.claude(), &Virtual::new());
            fs::remove_dir(path(&scene)).unwrap();
            if is_made_anew {
                fs::create_dir(path(&scene)).unwrap();
            }
            assert!(pending.sending().is_err());
            assert_eq!(scene.leftovers().len(), usize::from(is_made_anew), "{:?}", scene.leftovers());
        }
    }
}

#[test]
fn the_write_goes_on_without_its_lock_after_five_seconds() {
    let scene = Scene::new();
    held(&write_lock(&scene), Duration::ZERO);
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    let answered = sent.answered_at(&scene.call("r0").unwrap(), SystemTime::now(), &Format);
    let lock = write_lock(&scene);
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |_| touch(&lock, SystemTime::now() + 60 * SECOND)));
    assert!(matches!(answered.commit(&Format, &waiter), Ok(Committed::Written(_))));
    assert_eq!(waiter.total(), 5 * SECOND);
    assert_eq!(scene.tokens().0, "r1");
    assert_eq!(scene.leftovers(), [".storage-write.lock"], "another's is not removed");
}

#[test]
fn the_write_lock_is_stale_after_fifteen_seconds_and_let_go() {
    let scene = Scene::new();
    held(&write_lock(&scene), 16 * SECOND);
    let waiter = Virtual::new();
    let sent = pending(&scene.claude(), &waiter).sending().unwrap();
    let answered = sent.answered_at(&scene.call("r0").unwrap(), SystemTime::now(), &Format);
    answered.commit(&Format, &waiter).unwrap();
    assert_eq!(waiter.total(), Duration::from_millis(200));
    assert!(scene.leftovers().is_empty());
}

#[test]
fn the_locks_are_those_of_the_configuration_directory_under_its_real_name() {
    let scene = Scene::new();
    let link = scene.root.join("link");
    symlink(scene.config(), &link).unwrap();
    let store = LoginStore::new(
        link.join(".credentials.json"),
        LockProtocol::Claude { config_directory: Some(link.clone()) },
        None,
    );
    let held = pending(&store, &Virtual::new());
    fs::remove_file(&link).unwrap();
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
    drop(held);
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_dead_owners_locks_are_removed_and_those_of_others_are_not() {
    let waiter = Virtual::new();
    // They are named in the journal and in the note of the locks: either is enough.
    for is_noted in [false, true] {
        let scene = Scene::new();
        // Death: the locks and the files stay, and each `flock` goes.
        let (backup, journal) = (scene.root.join("provider.lock"), scene.journal());
        let note = scene.config().join(".credentials.json.trunkline-refresh.locks");
        let dead = pending(&scene.claude(), &waiter);
        let kept = if is_noted { [note.clone(), journal.clone()] } else { [journal.clone(), note.clone()] };
        for path in &kept {
            fs::copy(path, &backup).unwrap();
            fs::remove_file(path).unwrap();
            fs::rename(&backup, path).unwrap();
        }
        fs::remove_file(&kept[1]).unwrap();
        std::mem::forget(dead);
        fs::remove_dir(sibling(&scene)).unwrap();
        held(&sibling(&scene), Duration::ZERO);
        let finished = scene.claude().finish(&Format, &waiter);
        assert!(is_noted == finished.is_empty() && matches!(finished[..], [] | [Finished::Unanswered]));
        assert_eq!(scene.leftovers(), [".claude.lock"], "{is_noted}");
    }
}

#[test]
fn a_client_that_is_about_to_empty_the_file_is_waited_for() {
    let scene = Scene::new();
    let sent = pending(&scene.claude(), &Virtual::new()).sending().unwrap();
    let raw = scene.call("r0").unwrap();
    drop(sent.answered_at(&raw, SystemTime::now(), &Format));
    // The client took the locks of the dead and sent the token that is spent. After `invalid_grant` it empties the file.
    held(&refresh_lock(&scene), Duration::ZERO);
    let waiter = Virtual::new();
    let (config, mut is_done) = (scene.config(), false);
    *waiter.meanwhile.borrow_mut() = Some(Box::new(move |total| {
        if total > 2 * SECOND && !std::mem::replace(&mut is_done, true) {
            let scene = Scene::at(config.parent().unwrap());
            scene.log_in("", "");
            fs::remove_dir(refresh_lock(&scene)).unwrap();
        }
    }));
    assert!(matches!(scene.claude().finish(&Format, &waiter)[..], [Finished::Written(_)]));
    assert_eq!(scene.tokens().0, "r1");
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_living_owner_is_left_alone() {
    let scene = Scene::new();
    let waiter = Virtual::new();
    let owner = pending(&scene.claude(), &waiter);
    assert!(matches!(scene.claude().finish(&Format, &waiter)[..], [Finished::OwnerLives]));
    is_busy(&scene, &waiter, ".oauth_refresh.lock");
    let raw = scene.call("r0").unwrap();
    let answered = owner.sending().unwrap().answered_at(&raw, SystemTime::now(), &Format);
    assert!(matches!(scene.claude().finish(&Format, &waiter)[..], [Finished::OwnerLives]));
    answered.commit(&Format, &waiter).unwrap();
    assert!(matches!(begin(&scene.claude(), &waiter), Ok(Begun::Fresh(_))));
}

#[test]
fn a_failure_leaves_no_lock() {
    let scene = Scene::new();
    set_hook(Some(Box::new(|point| match point {
        "lock.made" => Err(io::ErrorKind::Other.into()),
        _ => Ok(()),
    })));
    assert!(matches!(
        begin(&scene.claude(), &Virtual::new()),
        Err(BeginError::Lock(LockProblem::Failed { .. }))
    ));
    set_hook(None);
    assert!(scene.leftovers().is_empty());
}

#[test]
fn codex_locks_files_and_leaves_them() {
    let scene = Scene::new();
    let store = scene.store(LockProtocol::Codex);
    let waiter = Virtual::new();
    let (refresh, write) = (scene.config().join("auth.lock"), scene.config().join("auth.json.lock"));
    let client = File::create(&refresh).unwrap();
    client.lock().unwrap();
    match begin(&store, &waiter) {
        Err(BeginError::Lock(LockProblem::Busy { lock: "auth.lock" })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(*waiter.waited.borrow(), [Duration::from_millis(250); 40]);
    drop(client);

    let waiter = Virtual::new();
    let sent = pending(&store, &waiter).sending().unwrap();
    assert!(File::open(&refresh).unwrap().try_lock().is_err());
    let answered = sent.answered_at(&scene.call("r0").unwrap(), SystemTime::now(), &Format);
    let client = File::create(&write).unwrap();
    client.lock().unwrap();
    answered.commit(&Format, &waiter).unwrap();
    assert_eq!(waiter.total(), 10 * SECOND, "and then it was written without");
    assert_eq!(scene.tokens().0, "r1");
    File::open(&refresh).unwrap().try_lock().unwrap();
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn a_lock_file_that_was_removed_excludes_nobody() {
    let scene = Scene::new();
    let store = scene.store(LockProtocol::Codex);
    let pending = pending(&store, &Virtual::new());
    assert!(pending.heartbeat().touch(SystemTime::now()));
    fs::remove_file(scene.config().join("auth.lock")).unwrap();
    assert!(!pending.heartbeat().touch(SystemTime::now()));
    assert!(pending.sending().is_err());
}

#[test]
fn both_directories_of_a_linked_codex_login() {
    let scene = Scene::new();
    fs::rename(scene.file(), scene.data().join("auth.json")).unwrap();
    symlink(scene.data().join("auth.json"), scene.file()).unwrap();
    let store = scene.store(LockProtocol::Codex);
    let waiter = Virtual::new();
    let sent = pending(&store, &waiter).sending().unwrap();
    for directory in [scene.config(), scene.data()] {
        assert!(File::open(directory.join("auth.lock")).unwrap().try_lock().is_err());
    }
    let answered = sent.answered_at(&scene.call("r0").unwrap(), SystemTime::now(), &Format);
    answered.commit(&Format, &waiter).unwrap();
    assert!(scene.data().join("auth.json.lock").exists() && !scene.config().join("auth.json.lock").exists());
    assert_eq!(tokens(&fs::read(scene.data().join("auth.json")).unwrap()).0, "r1");
}
