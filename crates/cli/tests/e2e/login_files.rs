//! What becomes of a login file: whatever stands in its place is told, and a good one is used again without a restart.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_testkit::process::Builder;
use trunkline_testkit::tmp::{ClaudeLogin, read_claude_tokens};
use trunkline_testkit::{Signal, Trunkline};

use crate::pool::polled;
use crate::refresh::{Scene, call};
use crate::support::{Protocol, body, final_refusal, trunkline, with};

const HOURS: i64 = 8 * 3_600;

/// Some user who is not root.
const NOBODY: u32 = 65_534;

/// Puts a login in place as a client does that renames.
fn log_in(scene: &Scene, tokens: (Option<String>, Option<String>)) {
    let made =
        ClaudeLogin::new(tokens.0.unwrap(), tokens.1.unwrap()).write_to(&scene.home.join("made")).unwrap();
    fs::create_dir_all(scene.login.parent().unwrap()).unwrap();
    fs::rename(made, &scene.login).unwrap();
}

/// The scene's configuration, with a log of everything.
fn told_all(scene: &Scene) -> serde_json::Value {
    with(scene.config(), json!({ "log": { "level": "debug" } }))
}

async fn status(trunkline: &Trunkline) -> u16 {
    Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status()
}

async fn reason(trunkline: &Trunkline) -> String {
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    final_refusal(&response, 503, "api_error")
}

/// Something that stands in the file's place, and what is said about it.
type Wrong = (fn(&Path), &'static str);

const WRONG: [Wrong; 9] = [
    (|file| fs::remove_file(file).unwrap(), "no login file"),
    (
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
        "not a file",
    ),
    (|file| fs::write(file, "").unwrap(), "the login file is empty"),
    (
        |file| fs::File::options().write(true).open(file).unwrap().set_len(100 * 1024 * 1024).unwrap(),
        "larger than 1 MiB",
    ),
    (|file| fs::write(file, b"{\"claudeAiOauth\":\"\xff\xfe\"}").unwrap(), "not text"),
    (|file| fs::write(file, "{\"claudeAiOauth\":{\"accessToken\":").unwrap(), "claude /login"),
    (|file| fs::write(file, "[]").unwrap(), "claude /login"),
    (
        |file| {
            fs::remove_file(file).unwrap();
            symlink("nowhere", file).unwrap();
        },
        "no login file",
    ),
    (
        |file| {
            fs::remove_file(file).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
        },
        "not a file",
    ),
];

fn clear(file: &Path) {
    if file.is_dir() {
        fs::remove_dir(file).unwrap();
    }
}

#[tokio::test]
async fn what_stands_in_a_logins_place_is_told_and_a_login_is_used_again() {
    for (spoil, told) in WRONG {
        let scene = Scene::new(HOURS).await;
        let trunkline = scene.start().await;
        assert_eq!(status(&trunkline).await, 200);
        spoil(&scene.login);
        trunkline
            .stderr_line(|line| line.contains("usable \u{2192} unavailable") && line.contains(told))
            .await
            .unwrap();
        let text = reason(&trunkline).await;
        assert!(text.contains(told) && !text.contains("sk-ant"), "{text}");
        clear(&scene.login);
        log_in(&scene, scene.api.tokens("a"));
        trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
        assert_eq!(status(&trunkline).await, 200);
    }
}

#[tokio::test]
async fn the_same_at_the_start() {
    for (spoil, told) in WRONG {
        let scene = Scene::new(HOURS).await;
        spoil(&scene.login);
        let trunkline = scene.start().await;
        let text = reason(&trunkline).await;
        assert!(text.contains(told), "{text}");
        clear(&scene.login);
        log_in(&scene, scene.api.tokens("a"));
        trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
        assert_eq!(status(&trunkline).await, 200);
    }
}

#[tokio::test]
async fn a_login_that_is_written_in_two_halves_is_not_missed_meanwhile() {
    // A torn file is looked at again 200 ms after the first look. An attempt in which this machine took longer for the second half
    // tells nothing.
    const SECOND_LOOK: Duration = Duration::from_millis(200);
    for _ in 0..50 {
        let scene = Scene::new(HOURS).await;
        let trunkline = trunkline().config(&told_all(&scene)).start().await.unwrap();
        let (access, refresh) = scene.api.tokens("a");
        let mut login = ClaudeLogin::new(access.unwrap(), refresh.unwrap()).to_json();
        login["written"] = json!("in place");
        login["claudeAiOauth"]["expiresAt"] = json!(9_999_999_999_999_u64);
        let text = login.to_string();
        let (half, rest) = text.split_at(text.len() / 2);
        let began = Instant::now();
        fs::write(&scene.login, half).unwrap();
        // It has looked, and looks again in a moment.
        trunkline.stderr_line(|line| line.contains("waiting for a login file")).await.unwrap();
        let mut file = fs::File::options().append(true).open(&scene.login).unwrap();
        std::io::Write::write_all(&mut file, rest.as_bytes()).unwrap();
        if began.elapsed() >= SECOND_LOOK {
            continue;
        }
        trunkline.stderr_line(|line| line.contains("login file changed, read again")).await.unwrap();
        assert_eq!(status(&trunkline).await, 200);
        let lines = trunkline.stderr();
        assert!(!lines.iter().any(|line| line.contains("unavailable")), "{lines:#?}");
        return;
    }
    panic!("this machine never wrote both halves within {SECOND_LOOK:?}");
}

#[tokio::test]
async fn a_login_in_directories_that_are_not_there_yet_is_found_and_refreshed() {
    let mut scene = Scene::new(-60).await;
    let before = std::mem::replace(&mut scene.login, scene.home.join("a/b/.credentials.json"));
    let trunkline = scene.start().await;
    assert!(reason(&trunkline).await.contains("no login file"));
    fs::create_dir_all(scene.home.join("a/b")).unwrap();
    fs::rename(before, &scene.login).unwrap();
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
    assert_eq!(status(&trunkline).await, 200);
    scene.assert_written();
}

#[tokio::test]
async fn links_to_the_file_and_to_its_directory_are_followed_and_stay() {
    for links_directory in [false, true] {
        let scene = Scene::new(-60).await;
        let real = scene.home.join("accounts/one");
        fs::create_dir_all(real.parent().unwrap()).unwrap();
        let directory = scene.login.parent().unwrap().to_owned();
        let link = if links_directory { directory } else { scene.login.clone() };
        fs::rename(&link, &real).unwrap();
        symlink(&real, &link).unwrap();
        let mut trunkline = scene.start().await;
        assert_eq!(status(&trunkline).await, 200);
        trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
        scene.assert_written();
        assert!(link.is_symlink());

        // Switched to another account.
        let other = ClaudeLogin::new("sk-ant-oat01-other", "sk-ant-ort01-other")
            .write_to(&scene.home.join("accounts/two"))
            .unwrap();
        let target = if links_directory { scene.home.join("accounts/two") } else { other };
        symlink(target, scene.home.join("fresh")).unwrap();
        fs::rename(scene.home.join("fresh"), &link).unwrap();
        trunkline.nth_stderr_line(1, |line| line.contains("login file changed, read again")).await.unwrap();
        trunkline.stop().await.unwrap();
        for directory in ["", "accounts", "accounts/one"] {
            let Ok(entries) = fs::read_dir(scene.home.join(directory)) else { continue };
            for entry in entries {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.contains("lock") && !name.contains("trunkline-refresh"), "{directory}/{name}");
            }
        }
    }
}

/// A scene whose files a user who is not root reaches; `None`, with a word, where there is only one user.
async fn scene_of_nobody(expires_in: i64) -> Option<(Scene, Builder)> {
    let scene = Scene::new(expires_in).await;
    if chown(scene.home.path(), Some(NOBODY), Some(NOBODY)).is_err() {
        println!("left out: running as another user needs root");
        return None;
    }
    for path in [scene.home.path(), scene.login.parent().unwrap()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let builder = trunkline().config(&scene.config()).user(NOBODY);
    Some((scene, builder))
}

#[tokio::test]
async fn a_login_that_may_not_be_read_is_told_and_used_once_it_may() {
    let Some((scene, builder)) = scene_of_nobody(HOURS).await else { return };
    let trunkline = builder.start().await.unwrap();
    assert!(reason(&trunkline).await.contains("may not be read"));
    chown(&scene.login, Some(NOBODY), Some(NOBODY)).unwrap();
    trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
    assert_eq!(status(&trunkline).await, 200);
}

#[tokio::test]
async fn a_login_in_a_read_only_directory_is_refreshed_in_place() {
    let Some((scene, builder)) = scene_of_nobody(-60).await else { return };
    chown(&scene.login, Some(NOBODY), Some(NOBODY)).unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&scene.login);
    let mut trunkline = builder.start().await.unwrap();
    assert_eq!(status(&trunkline).await, 200);
    trunkline.stop().await.unwrap();
    assert_eq!(scene.token_calls(), 1);
    assert_eq!(inode(&scene.login), before);
    scene.assert_written();
    scene.assert_clean();
}

#[tokio::test]
async fn a_login_that_cannot_be_written_is_used_while_it_lasts_and_not_refreshed() {
    for (expires_in, is_good) in [(120, true), (-60, false)] {
        let Some((scene, builder)) = scene_of_nobody(expires_in).await else { return };
        fs::set_permissions(&scene.login, fs::Permissions::from_mode(0o644)).unwrap();
        let trunkline = builder.start().await.unwrap();
        trunkline
            .stderr_line(|line| line.contains("the login is not refreshed") && line.contains("written"))
            .await
            .unwrap();
        if is_good {
            assert_eq!(status(&trunkline).await, 200);
        } else {
            let text = reason(&trunkline).await;
            assert!(text.contains("written"), "{text}");
        }
        assert_eq!(scene.token_calls(), 0, "the server would spend the token");
        scene.assert_clean();
        // Another login counts at once.
        fs::remove_file(&scene.login).unwrap();
        log_in(&scene, scene.api.tokens("a"));
        chown(&scene.login, Some(NOBODY), Some(NOBODY)).unwrap();
        if !is_good {
            trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
        }
        assert_eq!(status(&trunkline).await, 200);
    }
}

/// Runs it with a small disk of its own in place of the login's directory: seen through the second path. `None`, with a word,
/// where nothing can be mounted.
async fn on_a_small_disk(scene: &Scene) -> Option<(Trunkline, PathBuf)> {
    let script =
        "mount -t tmpfs -o size=256k,mode=0755 tmpfs \"$DISK\"; cp -p \"$LOGIN\" \"$DISK/.credentials.json\"";
    let possible = std::process::Command::new("unshare")
        .args(["-m", "sh", "-ec", "mount -t tmpfs -o size=64k tmpfs /mnt"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("left out: nothing can be mounted here");
        return None;
    }
    let disk = scene.login.parent().unwrap();
    let aside = scene.home.join("aside.json");
    fs::copy(&scene.login, &aside).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
    let trunkline = Trunkline::builder("unshare")
        .args([
            "-m",
            "sh",
            "-ec",
            &format!("{script}; exec \"$@\""),
            "sh",
            env!("CARGO_BIN_EXE_trunkline"),
            "serve",
        ])
        .env("DISK", disk)
        .env("LOGIN", &aside)
        .config(&told_all(scene))
        .start()
        .await
        .unwrap();
    // It became the program that it began as.
    let root = PathBuf::from(format!("/proc/{}/root", trunkline.pid().unwrap()));
    Some((trunkline, root.join(disk.strip_prefix("/").unwrap())))
}

/// Fills a disk to the last byte.
fn fill(disk: &Path) {
    use std::io::Write as _;
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    for size in [4096, 512, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

fn names(disk: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_disk_that_is_full_when_the_answer_comes_loses_nothing() {
    let scene = Scene::new(-60).await;
    let go_on = Signal::new();
    scene.api.hold_refresh(&go_on);
    let Some((mut trunkline, disk)) = on_a_small_disk(&scene).await else { return };
    scene.token_called().await;
    fill(&disk);
    go_on.set();
    trunkline.stderr_line(|line| line.contains("a new token is not written yet")).await.unwrap();
    assert_eq!(status(&trunkline).await, 200, "the new token serves from memory");
    assert!(names(&disk).contains(&".credentials.json.trunkline-refresh".to_owned()), "{:?}", names(&disk));
    // Whatever the file looks like meanwhile, the token in memory is the good one.
    let before = fs::read(disk.join(".credentials.json")).unwrap();
    fs::File::options().write(true).open(disk.join(".credentials.json")).unwrap().set_len(0).unwrap();
    trunkline.stderr_line(|line| line.contains("what stands in the login file is not used")).await.unwrap();
    assert_eq!(status(&trunkline).await, 200, "{:#?}", trunkline.stderr());
    fs::remove_file(disk.join("filler")).unwrap();
    fs::write(disk.join(".credentials.json"), before).unwrap();
    trunkline.stderr_line(|line| line.contains("the new token is in the login file now")).await.unwrap();
    assert_eq!(names(&disk), [".credentials.json"]);
    let (access, refresh) = scene.api.tokens("a");
    let stored = read_claude_tokens(&disk.join(".credentials.json")).unwrap();
    assert_eq!(stored, (access.unwrap(), refresh.unwrap()));
    assert_eq!(scene.token_calls(), 1);
    trunkline.stop().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_full_beforehand_keeps_the_old_token_in_use() {
    let scene = Scene::new(HOURS).await;
    let Some((trunkline, disk)) = on_a_small_disk(&scene).await else { return };
    polled(&trunkline).await;
    fill(&disk);
    scene.api.revoke_access("a");
    // Nothing is sent that could not be kept; the refusal passes.
    assert_eq!(status(&trunkline).await, 401);
    trunkline
        .stderr_line(|line| line.contains("the login is not refreshed") && line.contains("journal"))
        .await
        .unwrap();
    let text = reason(&trunkline).await;
    assert!(text.contains("journal"), "{text}");
    assert_eq!(scene.token_calls(), 0);
    assert_eq!(names(&disk), [".credentials.json", "filler"]);
    drop(trunkline);
}
