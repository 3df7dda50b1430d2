//! The record that a client keeps beside its refresh lock: one of a dead process frees its locks at once, and ours is in its form.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use common::{Scene, Virtual, begin, pending};
use serde_json::{Value, json};
use trunkline_login_store::{BeginError, Begun, LockProblem};

fn lock(scene: &Scene) -> PathBuf {
    scene.config().join(".oauth_refresh.lock")
}

fn sibling(scene: &Scene) -> PathBuf {
    scene.root.join(".claude.lock")
}

fn record(scene: &Scene) -> PathBuf {
    scene.config().join(".oauth_refresh.lock.owner")
}

fn birth(path: &PathBuf) -> f64 {
    let born = fs::metadata(path).unwrap().created().unwrap();
    let since = born.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "exact for as long as there are clocks")]
    let seconds = since.as_secs() as f64;
    seconds * 1e3 + f64::from(since.subsec_nanos()) / 1e6
}

/// What is written about this process: names of machine and namespace are right in it.
fn ours() -> Value {
    let scene = Scene::new();
    let _pending = pending(&scene.claude(), &Virtual::new());
    serde_json::from_slice(&fs::read(record(&scene)).unwrap()).unwrap()
}

/// Both locks of somebody else's, and a record of them.
fn hold(scene: &Scene, over: &Value) {
    for lock in [lock(scene), sibling(scene)] {
        fs::create_dir(lock).unwrap();
    }
    let mut text = ours();
    text["lockBirthtimeMs"] = json!(birth(&lock(scene)));
    text["legacyLockBirthtimeMs"] = json!(birth(&sibling(scene)));
    for (name, value) in over.as_object().unwrap() {
        text[name] = value.clone();
    }
    fs::write(record(scene), text.to_string()).unwrap();
}

/// A process that has ended.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn ours_is_true_and_goes_with_the_locks() {
    let scene = Scene::new();
    let pending = pending(&scene.claude(), &Virtual::new());
    let found: Value = serde_json::from_slice(&fs::read(record(&scene)).unwrap()).unwrap();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let started = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
    assert_eq!((&found["pid"], &found["procStart"]), (&json!(std::process::id()), &json!(started)));
    let domain = found["pidDomain"].as_str().unwrap();
    assert!(domain.starts_with("linux:") && domain.ends_with(&format!(":{namespace}")), "{domain}");
    assert!(found["pidSpace"].as_str().unwrap().ends_with(&format!("#{namespace}")), "{found}");
    for (name, lock) in [("lockBirthtimeMs", lock(&scene)), ("legacyLockBirthtimeMs", sibling(&scene))] {
        assert!((found[name].as_f64().unwrap() - birth(&lock)).abs() < 0.001, "{found}");
    }
    assert_eq!(fs::metadata(record(&scene)).unwrap().permissions().mode() & 0o7777, 0o600);
    pending.abandon();
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn the_locks_of_a_process_that_is_gone_are_taken_at_once() {
    let mut alive = Command::new("sleep").arg("600").spawn().unwrap();
    for over in [
        json!({ "pid": dead() }),
        // Its number is another process's by now.
        json!({ "pid": alive.id(), "procStart": "1" }),
    ] {
        for has_sibling in [true, false] {
            let scene = Scene::new();
            hold(&scene, &over);
            if !has_sibling {
                fs::remove_dir(sibling(&scene)).unwrap();
            }
            let waiter = Virtual::new();
            let begun = begin(&scene.claude(), &waiter).unwrap();
            assert!(matches!(begun, Begun::Pending(_)), "{over} {begun:?}");
            assert!(waiter.waited.borrow().is_empty(), "{over}");
            drop(begun);
            assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
        }
    }
    alive.kill().unwrap();
    alive.wait().unwrap();
}

#[test]
fn nothing_is_taken_from_a_process_that_may_live() {
    let dead = dead();
    for over in [
        json!({}),
        json!({ "procStart": null }),
        json!({ "pid": 1 }),
        json!({ "pid": -5 }),
        json!({ "pid": dead, "pidDomain": "linux:other:pid:[1]" }),
        json!({ "pid": dead, "pidSpace": "other" }),
        json!({ "pid": dead, "lockBirthtimeMs": 1.0 }),
        json!({ "pid": dead, "legacyLockBirthtimeMs": 1.0 }),
        json!({ "pid": dead, "lockBirthtimeMs": "x" }),
    ] {
        let scene = Scene::new();
        hold(&scene, &over);
        let before = fs::read(record(&scene)).unwrap();
        match begin(&scene.claude(), &Virtual::new()) {
            Err(BeginError::Lock(LockProblem::Busy { .. })) => {}
            other => panic!("{over}: {other:?}"),
        }
        assert!(lock(&scene).is_dir() && sibling(&scene).is_dir(), "{over}");
        assert_eq!(fs::read(record(&scene)).unwrap(), before, "{over}");
    }
    let scene = Scene::new();
    hold(&scene, &json!({}));
    for rubbish in ["", "{", "[]", "{}", &" ".repeat(10_000)] {
        fs::write(record(&scene), rubbish).unwrap();
        assert!(begin(&scene.claude(), &Virtual::new()).is_err());
    }
}
