//! Looking at a login: everything that belongs to it is seen, and nothing is changed.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use common::{Answering as _, Format, Scene, Virtual, answer, pending};
use trunkline_login_store::{JournalState, LockProtocol, LockState, LoginStore, Writing};

fn journals(store: &LoginStore) -> Vec<JournalState> {
    store.inspect().journals.into_iter().map(|journal| journal.state).collect()
}

#[test]
fn a_login_at_rest() {
    let scene = Scene::new();
    let found = scene.claude().inspect();
    assert_eq!((&found.real, found.is_link, found.writing), (&scene.file(), false, Some(Writing::Replace)));
    assert!(found.locks.is_empty() && found.journals.is_empty() && found.set_aside.is_empty(), "{found:?}");
    fs::remove_file(scene.file()).unwrap();
    assert_eq!(scene.claude().inspect().writing, None);
    fs::create_dir(scene.file()).unwrap();
    assert_eq!(scene.claude().inspect().writing, None);
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn a_refresh_under_way_is_seen_and_not_disturbed() {
    let scene = Scene::new();
    let (store, waiter) = (scene.claude(), Virtual::new());
    let sent = pending(&store, &waiter).sending().unwrap();
    let found = store.inspect();
    assert_eq!(found.journals.len(), 1);
    assert_eq!(
        (&found.journals[0].path, found.journals[0].state),
        (&scene.journal(), JournalState::Unanswered)
    );
    let is_directory =
        |state| matches!(state, LockState::Directory { stale_after, .. } if stale_after.as_secs() == 60);
    assert_eq!(found.locks.iter().filter(|lock| is_directory(lock.state)).count(), 2);
    let answered = sent.answered_at(&answer("r1", "a1"), SystemTime::now(), &Format);
    assert_eq!(journals(&store), [JournalState::Answered]);
    answered.commit(&Format, &waiter).unwrap();
    assert!(store.inspect().journals.is_empty());
    assert_eq!(scene.tokens().0, "r1");
}

#[test]
fn what_lies_about_is_seen() {
    let scene = Scene::new();
    let beside = |name: &str| scene.config().join(format!(".credentials.json.trunkline-refresh{name}"));
    fs::write(beside(""), "nonsense").unwrap();
    fs::write(beside(".superseded"), "").unwrap();
    fs::write(beside(".superseded-3"), "").unwrap();
    let old = SystemTime::now() - Duration::from_secs(3_600);
    fs::create_dir(scene.config().join(".oauth_refresh.lock")).unwrap();
    File::open(scene.config().join(".oauth_refresh.lock")).unwrap().set_modified(old).unwrap();
    fs::create_dir_all(scene.root.join(".claude.lock/in it")).unwrap();
    fs::write(scene.config().join(".storage-write.lock"), "").unwrap();
    let found = scene.claude().inspect();
    assert_eq!(found.set_aside, [beside(".superseded"), beside(".superseded-3")]);
    assert_eq!(journals(&scene.claude()), [JournalState::Damaged]);
    let states: Vec<_> = found.locks.iter().map(|lock| lock.state).collect();
    let [LockState::Directory { touched, .. }, LockState::Obstacle, LockState::Obstacle] = states[..] else {
        panic!("{states:?}")
    };
    assert!(touched <= old + Duration::from_secs(1));

    fs::write(scene.config().join("auth.lock"), "").unwrap();
    fs::create_dir(scene.config().join("auth.json.lock")).unwrap();
    let states: Vec<_> =
        scene.store(LockProtocol::Codex).inspect().locks.iter().map(|lock| lock.state).collect();
    assert_eq!(states, [LockState::File, LockState::Obstacle]);
}

#[test]
fn links_are_followed() {
    let scene = Scene::new();
    let real = scene.data().join("real.json");
    fs::rename(scene.file(), &real).unwrap();
    symlink(&real, scene.file()).unwrap();
    let found = scene.claude().inspect();
    assert_eq!((found.is_link, &found.real, found.writing), (true, &real, Some(Writing::Replace)));
    // A journal that is a link is none of ours.
    symlink("/etc/passwd", scene.data().join("real.json.trunkline-refresh")).unwrap();
    assert!(matches!(journals(&scene.claude())[..], [JournalState::Unreadable(_)]));
    fs::remove_file(&real).unwrap();
    let found = scene.claude().inspect();
    assert_eq!((found.is_link, &found.real, found.writing), (true, &real, None));
}
