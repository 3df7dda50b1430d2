//! File systems as containers have them: a file mounted by itself, a directory that may only be read, a disk that is full;
//! and users who are not root. Needs a mount namespace or root, and says so where there is none.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "what was left out, or how often, is to be seen")]

mod common;

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use common::{Answering as _, Format, Scene, Virtual, begin, pending, tokens};
use trunkline_login_store::{
    BeginError, Begun, Committed, Finished, FoundLock, LockProblem, LockProtocol, LockState, LoginStore,
    NoProof, ReadError, WhyInPlace, Writing,
};

const ROLE: &str = "TRUNKLINE_CHILD";
const ROOT: &str = "TRUNKLINE_CHILD_ROOT";

/// Some user who is not root.
const NOBODY: u32 = 65_534;

/// Runs a role of [`as_a_child`] behind a script that has `$ROOT` and goes on with `"$@"`. `false`: not possible here.
fn inside(scene: &Scene, role: &str, script: &str) -> bool {
    let possible = Command::new("unshare").args(["-m", "true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("left out: no mount namespace can be made here");
        return false;
    }
    run(Command::new("unshare").args(["-m", "sh", "-ec", &format!("{script}\n\"$@\""), "sh"]), scene, role);
    true
}

/// Runs a role as a user who is not root.
fn as_nobody(scene: &Scene, role: &str) -> bool {
    let user = NOBODY.to_string();
    let args = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    let possible = Command::new("setpriv").args(args).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("left out: the user cannot be changed here");
        return false;
    }
    // The test binary must be within that user's reach.
    let binary = scene.root.join("child");
    fs::copy(env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    run_binary(Command::new("setpriv").args(args), &binary, scene, role);
    true
}

fn run(command: &mut Command, scene: &Scene, role: &str) {
    run_binary(command, &env::current_exe().unwrap(), scene, role);
}

fn run_binary(command: &mut Command, binary: &Path, scene: &Scene, role: &str) {
    let output = command
        .arg(binary)
        .args(["--exact", "as_a_child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, &scene.root)
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn refresh(store: &LoginStore, scene: &Scene) -> Committed {
    let waiter = Virtual::new();
    let sent = pending(store, &waiter).sending().unwrap();
    let raw = scene.call(&tokens(sent.text().as_bytes()).0).unwrap();
    sent.answered_at(&raw, SystemTime::now(), &Format).commit(&Format, &waiter).unwrap()
}

#[test]
fn as_a_child() {
    let Ok(role) = env::var(ROLE) else { return };
    let scene = Scene::at(&PathBuf::from(env::var_os(ROOT).unwrap()));
    let store = scene.claude();
    let without_data = LoginStore::new(scene.file(), LockProtocol::Claude { config_directory: None }, None);
    let waiter = Virtual::new();
    match role.as_str() {
        "mounted file" => {
            assert_eq!(store.inspect().writing, Some(Writing::InPlace(WhyInPlace::Mounted)));
            let inode = fs::metadata(scene.file()).unwrap().ino();
            assert!(matches!(
                begin(&without_data, &waiter),
                Err(BeginError::NoProof(NoProof::NoDataDirectory(io::ErrorKind::ResourceBusy)))
            ));
            let held = pending(&store, &waiter);
            assert!(
                scene.leftovers().iter().any(|left| left.starts_with("login-")),
                "the journal is in data"
            );
            assert!(!scene.journal().exists());
            drop(held);
            assert!(matches!(refresh(&store, &scene), Committed::Written(_)));
            assert_eq!(fs::metadata(scene.file()).unwrap().ino(), inode);
            assert_eq!(scene.tokens().0, "r1");
        }
        "read-only directory" => {
            let found = store.inspect();
            assert_eq!(found.writing, Some(Writing::InPlace(WhyInPlace::Mounted)));
            assert!(matches!(found.locks[..], [FoundLock { state: LockState::Directory { .. }, .. }]));
            // Locks in it cannot be made and are left out.
            assert!(matches!(
                begin(&without_data, &waiter),
                Err(BeginError::NoProof(NoProof::NoDataDirectory(io::ErrorKind::ResourceBusy)))
            ));
            assert!(matches!(refresh(&store, &scene), Committed::Written(_)));
            assert_eq!(scene.tokens().0, "r1");
            assert_eq!(scene.leftovers(), Vec::<String>::new());
        }
        "read-only file" => {
            assert_eq!(store.inspect().writing, Some(Writing::No(io::ErrorKind::ReadOnlyFilesystem)));
            assert!(matches!(
                begin(&store, &waiter),
                Err(BeginError::NoProof(NoProof::NotWritable(io::ErrorKind::ReadOnlyFilesystem)))
            ));
        }
        "read-only parent" => {
            // The directory can be written and so locks; the lock beside it cannot be made.
            assert!(matches!(
                begin(&store, &waiter),
                Err(BeginError::Lock(LockProblem::Unmakable { kind: io::ErrorKind::ReadOnlyFilesystem, .. }))
            ));
            assert!(!scene.journal().exists() && !scene.config().join(".oauth_refresh.lock").exists());
        }
        "full before" => {
            fill(&scene);
            match begin(&store, &waiter) {
                // A directory may find no room for a lock either.
                Err(
                    BeginError::NoProof(NoProof::NoJournal(io::ErrorKind::StorageFull))
                    | BeginError::Lock(LockProblem::Failed { kind: io::ErrorKind::StorageFull, .. }),
                ) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(scene.tokens().0, "r0");
        }
        "full after" => {
            let sent = pending(&store, &waiter).sending().unwrap();
            fill(&scene);
            let raw = common::answer("r1", &"a".repeat(20_000));
            let answered = sent.answered_at(&raw, SystemTime::now(), &Format);
            assert_eq!(answered.journalled(), Ok(()), "the room was taken before");
            let outstanding = answered.commit(&Format, &waiter).unwrap_err();
            assert_eq!(tokens(outstanding.answered.login().unwrap().as_bytes()).0, "r1");
            // As after a crash, with the disk still full.
            drop(outstanding);
            match begin(&store, &waiter) {
                Ok(Begun::Outstanding(outstanding)) => {
                    assert_eq!(tokens(outstanding.answered.login().unwrap().as_bytes()).0, "r1");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(scene.tokens().0, "r0");
            fs::remove_file(scene.config().join("filler")).unwrap();
            assert!(matches!(store.finish(&Format, &waiter)[..], [Finished::Written(_)]));
            assert_eq!(scene.tokens().0, "r1");
        }
        "another's file" => {
            // It may be written, but a new one would not be its owner's.
            assert_eq!(store.inspect().writing, Some(Writing::InPlace(WhyInPlace::Owner)));
            let owner = fs::metadata(scene.file()).unwrap();
            assert!(matches!(refresh(&store, &scene), Committed::Written(_)));
            let after = fs::metadata(scene.file()).unwrap();
            assert_eq!((after.ino(), after.uid(), after.mode()), (owner.ino(), owner.uid(), owner.mode()));
            assert_eq!(scene.tokens().0, "r1");
        }
        "closed directory" => {
            let why = WhyInPlace::Directory(io::ErrorKind::PermissionDenied);
            assert_eq!(store.inspect().writing, Some(Writing::InPlace(why)));
            assert!(matches!(
                begin(&without_data, &waiter),
                Err(BeginError::NoProof(NoProof::NoDataDirectory(io::ErrorKind::PermissionDenied)))
            ));
            assert!(matches!(refresh(&store, &scene), Committed::Written(_)));
            assert_eq!(scene.tokens().0, "r1");
        }
        "unreadable file" => {
            assert_eq!(store.read().unwrap_err(), ReadError::NoPermission);
            assert!(matches!(begin(&store, &waiter), Err(BeginError::Read(ReadError::NoPermission))));
        }
        "unwritable file" => {
            assert_eq!(store.inspect().writing, Some(Writing::No(io::ErrorKind::PermissionDenied)));
            assert!(matches!(
                begin(&store, &waiter),
                Err(BeginError::NoProof(NoProof::NotWritable(io::ErrorKind::PermissionDenied)))
            ));
        }
        other => panic!("{other}"),
    }
}

/// Takes all the room that is left.
fn fill(scene: &Scene) {
    let mut file = fs::File::create(scene.config().join("filler")).unwrap();
    while io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
}

#[test]
fn a_file_that_is_mounted_by_itself() {
    let scene = Scene::new();
    if inside(
        &scene,
        "mounted file",
        "f=\"$TRUNKLINE_CHILD_ROOT/.claude/.credentials.json\"; mount --bind \"$f\" \"$f\"",
    ) {
        assert_eq!(scene.tokens().0, "r1");
        assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
    }
}

#[test]
fn a_writable_file_in_a_directory_that_is_not() {
    let scene = Scene::new();
    // The file is mounted from elsewhere into a read-only mount, and the stale lock beside it can be taken.
    let script =
        "r=\"$TRUNKLINE_CHILD_ROOT\"; f=.credentials.json; o=\"$(mktemp)\"; cp -p \"$r/.claude/$f\" \"$o\"
        mount --bind \"$r/.claude\" \"$r/.claude\"; mount --bind \"$o\" \"$r/.claude/$f\"
        mkdir \"$r/.claude.lock\"; touch -d '1 hour ago' \"$r/.claude.lock\"
        mount -o remount,ro,bind \"$r/.claude\"; rm \"$o\"";
    inside(&scene, "read-only directory", script);
}

#[test]
fn a_file_that_may_only_be_read() {
    let scene = Scene::new();
    let script = "f=\"$TRUNKLINE_CHILD_ROOT/.claude/.credentials.json\"; mount --bind \"$f\" \"$f\"
        mount -o remount,ro,bind \"$f\"";
    inside(&scene, "read-only file", script);
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn a_directory_beside_which_nothing_can_be_made() {
    let scene = Scene::new();
    let script =
        "r=\"$TRUNKLINE_CHILD_ROOT\"; mount --bind \"$r\" \"$r\"; mount --bind \"$r/.claude\" \"$r/.claude\"
        mount -o remount,ro,bind \"$r\"";
    inside(&scene, "read-only parent", script);
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

#[test]
fn a_full_disk() {
    for role in ["full before", "full after"] {
        let scene = Scene::new();
        let script = "d=\"$TRUNKLINE_CHILD_ROOT/.claude\"; cp -p \"$d/.credentials.json\" \"$TRUNKLINE_CHILD_ROOT/data\"
            mount -t tmpfs -o size=200k,mode=700 none \"$d\"
            mv \"$TRUNKLINE_CHILD_ROOT/data/.credentials.json\" \"$d\"";
        inside(&scene, role, script);
    }
}

#[test]
fn as_a_user_who_is_not_root() {
    let own = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY)).is_ok();
    let open = |mode: u32, owns_file: bool| {
        let scene = Scene::new();
        for path in [scene.root.clone(), scene.config(), scene.data(), scene.root.join("provider.json")] {
            if !own(&path) {
                println!("left out: not root");
                return None;
            }
        }
        fs::set_permissions(scene.file(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(!owns_file || own(&scene.file()));
        Some(scene)
    };
    for (role, mode, owns_file) in [
        ("another's file", 0o666, false),
        ("unreadable file", 0o600, false),
        ("unwritable file", 0o444, false),
        ("unwritable file", 0o400, true),
    ] {
        let Some(scene) = open(mode, owns_file) else { return };
        as_nobody(&scene, role);
    }
    let Some(scene) = open(0o666, false) else { return };
    chown(scene.config(), Some(0), Some(0)).unwrap();
    fs::set_permissions(scene.config(), fs::Permissions::from_mode(0o755)).unwrap();
    as_nobody(&scene, "closed directory");
}

#[test]
fn root_keeps_the_owner_of_a_users_file() {
    let scene = Scene::new();
    let all = [scene.config(), scene.file()];
    if !all.iter().all(|path| chown(path, Some(NOBODY), Some(NOBODY)).is_ok()) {
        println!("left out: not root");
        return;
    }
    let waiter = Virtual::new();
    let store = scene.store(LockProtocol::Codex);
    let held = pending(&store, &waiter);
    // A user's own client and Trunkline can deal with what root leaves.
    for path in [scene.journal(), scene.config().join("auth.lock")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), NOBODY);
    }
    drop(held);
    assert!(matches!(refresh(&store, &scene), Committed::Written(_)));
    let after = fs::metadata(scene.file()).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (NOBODY, NOBODY, 0o600));
}
