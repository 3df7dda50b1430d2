//! The process dies, at every fault point and at any time, and nothing that the provider issued and that reached the
//! journal is lost. The dying is done by this test binary, run again as a child.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{Answering as _, Format, Real, Scene, Virtual, tokens};
use trunkline_core::secret::Secret;
use trunkline_login_store::fault::{abort_at, set_hook};
use trunkline_login_store::{
    BeginError, Begun, Finished, FoundJournal, JournalState, LockProblem, LockProtocol, Reason, Waiter,
};

const ROLE: &str = "TRUNKLINE_CHILD";
const ROOT: &str = "TRUNKLINE_CHILD_ROOT";
const PROTOCOL: &str = "TRUNKLINE_CHILD_PROTOCOL";
const IN_PLACE: &str = "TRUNKLINE_CHILD_IN_PLACE";
const IN_KEYCHAIN: &str = "TRUNKLINE_CHILD_IN_KEYCHAIN";
/// The number of the point, counted from 1, at which the child dies.
const ABORT_AT: &str = "TRUNKLINE_CHILD_ABORT_AT";
const LOG_POINTS: &str = "TRUNKLINE_CHILD_POINTS";
/// How often the random test kills; a few hundred are for every day.
const KILLS: &str = "TRUNKLINE_KILLS";

/// A child: what to do, and where.
#[derive(Clone)]
struct Act {
    role: &'static str,
    root: PathBuf,
    protocol: &'static str,
    in_place: bool,
    in_keychain: bool,
}

impl Act {
    fn new(scene: &Scene, role: &'static str) -> Self {
        Self {
            role,
            root: scene.root.clone(),
            protocol: "claude",
            in_place: false,
            in_keychain: scene.item().exists(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "as_a_child", "--nocapture", "--test-threads=1"])
            .env(ROLE, self.role)
            .env(ROOT, &self.root)
            .env(PROTOCOL, self.protocol)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if self.in_place {
            command.env(IN_PLACE, "1");
        }
        if self.in_keychain {
            command.env(IN_KEYCHAIN, "1");
        }
        command
    }

    fn spawn(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// Runs to the end, which must be a good one.
    fn run(&self) {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs and dies at the `at`th point. `false`: there is none, and it came to its end.
    fn dies_at(&self, at: u64) -> bool {
        let output = self.command().env(ABORT_AT, at.to_string()).output().unwrap();
        assert!(
            output.status.success() || is_abort(output.status),
            "at {at}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        !output.status.success()
    }

    /// The names of the points on its way.
    fn points(&self) -> Vec<String> {
        let output = self.command().env(LOG_POINTS, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = fs::read_to_string(self.root.join("points")).unwrap();
        fs::remove_file(self.root.join("points")).unwrap();
        names.lines().map(str::to_owned).collect()
    }
}

/// What the journal held when its owner was dead.
fn held(scene: &Scene) -> &'static str {
    let store = if scene.item().exists() { scene.keychain().1 } else { scene.claude() };
    match store.inspect().journals.as_slice() {
        [] => "no journal",
        [FoundJournal { state: JournalState::Unanswered, .. }] => "a request without an answer",
        [FoundJournal { state: JournalState::Answered, .. }] => "an answer",
        [FoundJournal { state: JournalState::Damaged, .. }] => "half an answer",
        other => panic!("{other:?}"),
    }
}

fn is_abort(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(6)
}

#[test]
fn as_a_child() {
    let Ok(role) = env::var(ROLE) else { return };
    let scene = Scene::at(&PathBuf::from(env::var_os(ROOT).unwrap()));
    let protocol = match env::var(PROTOCOL).unwrap().as_str() {
        "claude" => LockProtocol::Claude { config_directory: None },
        _ => LockProtocol::Codex,
    };
    let (in_place, log) = (env::var_os(IN_PLACE).is_some(), env::var_os(LOG_POINTS).is_some());
    if let Ok(at) = env::var(ABORT_AT) {
        abort_at(at.parse().unwrap());
    }
    let is_first = Cell::new(true);
    let root = scene.root.clone();
    set_hook(Some(Box::new(move |point| {
        if log {
            let mut file = File::options().append(true).create(true).open(root.join("points"))?;
            writeln!(file, "{point}")?;
        }
        // As if the directory admitted no new file.
        if in_place && point == "journal.created" && is_first.replace(false) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    })));
    let in_keychain = env::var_os(IN_KEYCHAIN).is_some();
    let store = if in_keychain { scene.keychain().1 } else { scene.store(protocol) };
    let waiter = Virtual::new();
    match role.as_str() {
        "finish" => {
            for finished in store.finish(&Format, &waiter) {
                assert!(
                    !matches!(
                        finished,
                        Finished::OwnerLives | Finished::Outstanding(_) | Finished::Failed(_)
                    ),
                    "{finished:?}"
                );
            }
        }
        "refresh" => refresh(&scene, &store, &waiter, Duration::ZERO),
        "race" => {
            while !scene.root.join("go").exists() {
                thread::yield_now();
            }
            refresh(&scene, &store, &Real, Duration::from_millis(40));
        }
        other => panic!("{other}"),
    }
}

/// A forced refresh of the token that is in the file now; in a race, of the first.
fn refresh(scene: &Scene, store: &trunkline_login_store::LoginStore, waiter: &dyn Waiter, call: Duration) {
    let failed = if call.is_zero() { scene.tokens().1 } else { "a0".to_owned() };
    let reason = Reason::Forced { failed: Secret::new(failed) };
    let begun = loop {
        match store.begin(&Format, &reason, waiter, &mut |_| {}) {
            // What a caller does: tried again later.
            Err(BeginError::Lock(LockProblem::Busy { .. }) | BeginError::OwnerLives) => {}
            begun => break begun.unwrap(),
        }
    };
    let pending = match begun {
        Begun::Fresh(_) => return,
        Begun::Pending(pending) => pending,
        other => panic!("{other:?}"),
    };
    let sent = pending.sending().unwrap();
    thread::sleep(call);
    let raw = scene.call(&tokens(sent.text().as_bytes()).0).expect("the token that was sent is good");
    let answered = sent.answered_at(&raw, SystemTime::now(), &Format);
    answered.journalled().unwrap();
    fs::write(scene.root.join("answered"), tokens(answered.login().unwrap().as_bytes()).0).unwrap();
    answered.commit(&Format, waiter).unwrap();
}

/// Points between the provider's answer and its safe place in the journal: what is lost here is lost to anybody.
const BEFORE_THE_ANSWER_IS_SAFE: [&str; 2] = ["answer.received", "answer.half_written"];

fn refresh_dies_everywhere(new_scene: fn() -> Scene, protocol: &'static str, in_place: bool) {
    let scene = new_scene();
    let names = Act { protocol, in_place, ..Act::new(&scene, "refresh") }.points();
    let must_have: &[&str] = if scene.item().exists() {
        &["journal.directory_synced", "answer.synced", "try.synced", "keychain.written", "journal.removed"]
    } else if in_place {
        &["answer.synced", "try.synced", "login.half_overwritten", "login.cut", "journal.removed"]
    } else {
        &[
            "journal.directory_synced",
            "answer.synced",
            "login.half_written",
            "login.renamed",
            "journal.removed",
        ]
    };
    let order: Vec<_> =
        must_have.iter().map(|wanted| names.iter().rposition(|name| name == wanted)).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{names:?}");
    assert_eq!(scene.provider().1, 1);

    for (at, name) in (1..).zip(&names) {
        let scene = new_scene();
        let act = Act { protocol, in_place, ..Act::new(&scene, "refresh") };
        assert!(act.dies_at(at), "{name}");
        let finish = Act { role: "finish", in_place: false, ..act.clone() };
        finish.run();
        let (current, _) = scene.provider();
        if BEFORE_THE_ANSWER_IS_SAFE.contains(&name.as_str()) {
            assert_eq!((current.as_str(), scene.tokens().0.as_str()), ("r1", "r0"));
            // Half an answer is kept aside, none at all leaves nothing.
            let aside = scene.leftovers().iter().any(|left| left.ends_with(".superseded"));
            assert_eq!(aside, name == "answer.half_written", "{name}: {:?}", scene.leftovers());
            let is_free = scene.leftovers().iter().all(|left| left.ends_with(".superseded"));
            assert!(is_free, "its locks are known in any case: {:?}", scene.leftovers());
            continue;
        }
        assert_eq!(scene.tokens().0, current, "{name}");
        // Every lock is noted before it is there, and as long as it is: nobody waits for a dead process's.
        assert!(scene.leftovers().is_empty(), "{name}: {:?}", scene.leftovers());
        Act { role: "refresh", ..finish }.run();
        assert_eq!(scene.tokens().0, scene.provider().0, "{name}");
        assert!(scene.leftovers().is_empty(), "{name}: {:?}", scene.leftovers());
    }
}

#[test]
fn a_refresh_dies_at_every_point() {
    refresh_dies_everywhere(Scene::new, "claude", false);
}

#[test]
fn a_refresh_with_locks_on_files_dies_at_every_point() {
    refresh_dies_everywhere(Scene::new, "codex", false);
}

#[test]
fn a_refresh_in_place_dies_at_every_point() {
    refresh_dies_everywhere(Scene::new, "claude", true);
}

#[test]
fn a_refresh_in_the_keychain_dies_at_every_point() {
    refresh_dies_everywhere(Scene::with_item, "claude", false);
}

/// Dies while it refreshes, and again and again while what that left is finished.
fn finishing_dies_everywhere(new_scene: fn() -> Scene, in_place: bool) {
    let scene = new_scene();
    let names = Act { in_place, ..Act::new(&scene, "refresh") }.points();
    let safe = names.iter().position(|name| name == "answer.synced").unwrap();
    for (first, name) in (1..).zip(&names).skip(safe) {
        for second in 1.. {
            let scene = new_scene();
            let act = Act { in_place, ..Act::new(&scene, "refresh") };
            assert!(act.dies_at(first));
            let finish = Act { role: "finish", in_place: false, ..act };
            let died = finish.dies_at(second);
            // And once more a little later.
            let _ = finish.dies_at(second + 3);
            finish.run();
            assert_eq!(scene.tokens().0, "r1", "{name}, then {second}");
            assert!(scene.leftovers().is_empty(), "{name}, then {second}: {:?}", scene.leftovers());
            if !died {
                break;
            }
            assert!(second < 100);
        }
    }
}

#[test]
fn finishing_dies_at_every_point() {
    finishing_dies_everywhere(Scene::new, false);
}

#[test]
fn finishing_in_place_dies_at_every_point() {
    finishing_dies_everywhere(Scene::new, true);
}

#[test]
fn finishing_in_the_keychain_dies_at_every_point() {
    finishing_dies_everywhere(Scene::with_item, false);
}

fn kills() -> u32 {
    env::var(KILLS).map_or(300, |kills| kills.parse().unwrap())
}

#[test]
fn killed_at_any_time() {
    killed(kills(), &Scene::new());
}

#[test]
fn killed_at_any_time_in_the_keychain() {
    killed(kills() / 3, &Scene::with_item());
}

#[expect(clippy::print_stdout, reason = "says what chance did")]
fn killed(kills: u32, scene: &Scene) {
    let begun = Instant::now();
    for _ in 0..5 {
        Act::new(scene, "refresh").run();
    }
    let usual = begun.elapsed() / 5;
    let (mut died, mut finished) = (0, 0);
    let mut lost: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..kills {
        let _ = fs::remove_file(scene.root.join("answered"));
        let mut act = Act::new(scene, "refresh");
        act.in_place = round % 3 == 0 && !act.in_keychain;
        let mut child = act.spawn();
        thread::sleep(usual.mul_f64(fastrand::f64() * 1.1));
        let _ = child.kill();
        let status = child.wait().unwrap();
        died += u32::from(!status.success());
        act.role = "finish";
        act.in_place = false;
        let held = held(scene);
        if fastrand::bool() {
            // Killed while it finishes, too.
            let mut child = act.spawn();
            thread::sleep(usual.mul_f64(fastrand::f64() * 0.7));
            let _ = child.kill();
            finished += u32::from(!child.wait().unwrap().success());
        }
        act.run();
        let (current, stored) = (scene.provider().0, scene.tokens().0);
        if current != stored {
            // Only if the answer had not come to us.
            assert!(!scene.root.join("answered").exists(), "round {round}: lost {current}, have {stored}");
            assert_ne!(held, "an answer", "round {round}: lost {current}, have {stored}");
            *lost.entry(held).or_default() += 1;
            let text = common::login_text(&current, "again");
            let place = if scene.item().exists() { scene.item() } else { scene.file() };
            common::write_private(&place, text.as_bytes());
        }
        let leftovers = scene.leftovers();
        let ours = leftovers.iter().filter(|left| !left.contains(".superseded"));
        // The provider's own, if it was killed itself.
        let ours: Vec<_> = ours.filter(|left| *left != "provider.json.new").collect();
        assert!(ours.is_empty(), "round {round}: {leftovers:?}");
    }
    println!(
        "{kills} rounds, each within {usual:?}: {died} died, {finished} while finishing; lost by what the journal held: {lost:?}"
    );
    assert!(died > kills / 10, "the kills came too late: {died}");
    Act::new(scene, "refresh").run();
    assert_eq!(scene.tokens().0, scene.provider().0);
}

fn processes_at_once(new_scene: fn() -> Scene, count: usize, protocol: &'static str) {
    let scene = new_scene();
    let act = Act { protocol, ..Act::new(&scene, "race") };
    let children: Vec<_> = (0..count).map(|_| act.spawn()).collect();
    fs::write(scene.root.join("go"), "").unwrap();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scene.provider(), ("r1".to_owned(), 1), "one token call");
    assert_eq!(scene.tokens(), ("r1".to_owned(), "a1".to_owned()));
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn two_and_four_processes_at_once() {
    for count in [2, 4] {
        processes_at_once(Scene::new, count, "claude");
        processes_at_once(Scene::new, count, "codex");
        processes_at_once(Scene::with_item, count, "claude");
    }
}
