//! Against stand-ins for the real clients, which follow what was observed of them: whoever is second uses the token of
//! the first, and a spent token is never sent.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Answering as _, Format, Real, Scene, begin, login_text, tokens, write_private};
use trunkline_login_store::{BeginError, Begun, Committed, LockProtocol};

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It made a token call.
    Refreshed,
    /// It found the token of another.
    Used,
    /// It goes on with the old token.
    GaveUp,
}

/// Claude 2.1.197, under strace: both locks, token request, `.storage-write.lock` around the rename, `rmdir` in reverse.
/// Five tries, 1-2 s apart; a lock that was not touched for `stale` is taken over.
fn claude(scene: &Scene, stale: Duration, call: Duration) -> Outcome {
    let config = scene.config();
    let locks = [config.join(".oauth_refresh.lock"), scene.root.join(".claude.lock")];
    let mut taken: Vec<PathBuf> = Vec::new();
    let release = |taken: &[PathBuf]| taken.iter().rev().for_each(|lock| fs::remove_dir(lock).unwrap());
    for lock in &locks {
        if !mkdir(lock, stale, 5, Duration::from_millis(1_300)) {
            release(&taken);
            return Outcome::GaveUp;
        }
        taken.push(lock.clone());
    }
    let (refresh, access) = scene.tokens();
    if access != "a0" {
        release(&taken);
        return Outcome::Used;
    }
    thread::sleep(call);
    let Some(raw) = scene.call(&refresh) else { panic!("the client sent a spent token") };
    let new: serde_json::Value = serde_json::from_slice(&raw).unwrap();
    let write_lock = config.join(".storage-write.lock");
    assert!(mkdir(&write_lock, Duration::from_secs(15), 5, Duration::from_millis(100)));
    let temporary = config.join(".credentials.json.tmp.0a1b2c3d");
    write_private(
        &temporary,
        login_text(new["refresh_token"].as_str().unwrap(), new["access_token"].as_str().unwrap())
            .replace("\"expiresAt\":1,", "\"expiresAt\":9999999999999,")
            .as_bytes(),
    );
    fs::rename(temporary, scene.file()).unwrap();
    fs::remove_dir(write_lock).unwrap();
    release(&taken);
    Outcome::Refreshed
}

fn mkdir(lock: &Path, stale: Duration, tries: u32, apart: Duration) -> bool {
    for tried in 1..=tries {
        match fs::create_dir(lock) {
            Ok(()) => return true,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists),
        }
        let age = fs::metadata(lock).and_then(|found| found.modified()).map(|at| at.elapsed());
        if matches!(age, Ok(Ok(age)) if age > stale) {
            let _ = fs::remove_dir(lock);
            continue;
        }
        if tried < tries {
            thread::sleep(apart);
        }
    }
    false
}

/// Codex, under strace: `flock` on `auth.lock`, look again, token request, `flock` on `auth.json.lock`, rename.
fn codex(scene: &Scene, call: Duration) -> Outcome {
    let open = |name: &str| {
        File::options().write(true).create(true).truncate(false).open(scene.config().join(name)).unwrap()
    };
    let lock = open("auth.lock");
    lock.lock().unwrap();
    let (refresh, access) = scene.tokens();
    if access != "a0" {
        return Outcome::Used;
    }
    thread::sleep(call);
    let Some(raw) = scene.call(&refresh) else { panic!("the client sent a spent token") };
    let new: serde_json::Value = serde_json::from_slice(&raw).unwrap();
    let write_lock = open("auth.json.lock");
    write_lock.lock().unwrap();
    let temporary = scene.config().join(".auth-AbCdEf");
    write_private(
        &temporary,
        login_text(new["refresh_token"].as_str().unwrap(), new["access_token"].as_str().unwrap())
            .replace("\"expiresAt\":1,", "\"expiresAt\":9999999999999,")
            .as_bytes(),
    );
    fs::rename(temporary, scene.file()).unwrap();
    Outcome::Refreshed
}

fn ours(scene: &Scene, protocol: LockProtocol, call: Duration) -> Outcome {
    let pending = match begin(&scene.store(protocol), &Real) {
        Ok(Begun::Pending(pending)) => pending,
        Ok(Begun::Fresh(text)) => {
            assert_ne!(tokens(text.as_bytes()).1, "a0");
            return Outcome::Used;
        }
        Err(BeginError::Lock(_)) => return Outcome::GaveUp,
        other => panic!("{other:?}"),
    };
    let sent = pending.sending().unwrap();
    thread::sleep(call);
    let raw = scene.call(&tokens(sent.text().as_bytes()).0).expect("we sent a spent token");
    let committed = sent.answered_at(&raw, SystemTime::now(), &Format).commit(&Format, &Real).unwrap();
    assert!(matches!(committed, Committed::Written(_)));
    Outcome::Refreshed
}

/// Both at once, many times: each pair makes one token call, and the other uses its token.
fn race(
    rounds: usize,
    client: impl Fn(&Scene) -> Outcome + Send + Sync + 'static + Clone,
    protocol: &LockProtocol,
) {
    for round in 0..rounds {
        let scene = Arc::new(Scene::new());
        let barrier = Arc::new(Barrier::new(2));
        let theirs = {
            let (scene, barrier, client) = (Arc::clone(&scene), Arc::clone(&barrier), client.clone());
            thread::spawn(move || {
                barrier.wait();
                client(&scene)
            })
        };
        barrier.wait();
        // Now one is a little earlier, now the other.
        thread::sleep(Duration::from_micros(fastrand::u64(0..400)));
        let mine = ours(&scene, protocol.clone(), Duration::from_millis(5));
        let theirs = theirs.join().unwrap();
        assert_eq!(scene.provider().1, 1, "round {round}: {mine:?} {theirs:?}");
        assert_eq!(scene.tokens(), ("r1".to_owned(), "a1".to_owned()));
        assert!(
            matches!(
                (mine, theirs),
                (Outcome::Refreshed, Outcome::Used) | (Outcome::Used, Outcome::Refreshed)
            ),
            "round {round}"
        );
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    }
}

#[test]
fn claude_of_today() {
    let call = Duration::from_millis(5);
    race(
        3,
        move |scene| claude(scene, Duration::from_secs(10), call),
        &LockProtocol::Claude { config_directory: None },
    );
}

#[test]
fn claude_with_the_newer_staleness() {
    let call = Duration::from_millis(5);
    race(
        3,
        move |scene| claude(scene, Duration::from_secs(60), call),
        &LockProtocol::Claude { config_directory: None },
    );
}

#[test]
fn codex_itself() {
    race(6, |scene| codex(scene, Duration::from_millis(5)), &LockProtocol::Codex);
}

#[test]
fn a_client_that_holds_the_locks_for_a_while_is_waited_for() {
    let scene = Arc::new(Scene::new());
    let theirs = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || claude(&scene, Duration::from_secs(10), Duration::from_millis(1_500)))
    };
    while !scene.root.join(".claude.lock").exists() {
        thread::yield_now();
    }
    let mine = ours(&scene, LockProtocol::Claude { config_directory: None }, Duration::ZERO);
    assert_eq!((mine, theirs.join().unwrap()), (Outcome::Used, Outcome::Refreshed));
}

#[test]
fn a_client_does_not_take_over_a_lock_that_is_touched() {
    let scene = Arc::new(Scene::new());
    let store = scene.claude();
    let pending = common::pending(&store, &Real);
    let heartbeat = pending.heartbeat();
    // As if it had been held for long: untouched, a client with this threshold would take it.
    let old = SystemTime::now() - Duration::from_secs(7_200);
    assert!(heartbeat.touch(old));
    assert!(heartbeat.touch(SystemTime::now()));
    let lock = scene.config().join(".oauth_refresh.lock");
    assert!(!mkdir(&lock, Duration::from_secs(3_600), 2, Duration::from_millis(50)));
    assert!(pending.sending().is_ok());
}
