//! Whatever is made on the disk is for this user alone, whatever the umask is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use trunkline_testkit::Signal;

use crate::refresh::Scene;
use crate::support::codex::{self, CodexPool};
use crate::support::{trunkline, with};

/// The mode of everything below a directory.
fn modes(directory: &Path) -> BTreeMap<PathBuf, (&'static str, u32)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => "directory",
            kind if kind.is_socket() => "socket",
            _ => "file",
        };
        found.insert(path.clone(), (kind, metadata.permissions().mode() & 0o7777));
        if kind == "directory" {
            found.extend(modes(&path));
        }
    }
    found
}

/// That everything that was not there before is private. The names of it.
fn assert_private(
    before: &BTreeMap<PathBuf, (&'static str, u32)>,
    directory: &Path,
    umask: &str,
) -> Vec<String> {
    let mut names = Vec::new();
    for (path, (kind, mode)) in modes(directory) {
        if before.contains_key(&path) {
            continue;
        }
        let expected = if kind == "directory" { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "umask {umask}: {kind} {}: {mode:o}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names
}

#[tokio::test]
async fn what_a_claude_service_makes_is_private() {
    for umask in ["000", "077", "002"] {
        let scene = Scene::new(-60).await;
        let mut config = scene.config();
        config["data_directory"] = json!(scene.home.join("data"));
        config["log"] = json!({ "output": scene.home.join("log") });
        let before = modes(scene.home.path());
        let go_on = Signal::new();
        scene.api.hold_refresh(&go_on);
        let builder = trunkline().config(&config).umask(umask);
        let mut process = builder.spawn().unwrap();
        scene.token_called().await;
        let names = assert_private(&before, scene.home.path(), umask);
        for expected in [
            "log",
            "data",
            ".oauth_refresh.lock",
            ".claude.lock",
            ".credentials.json.trunkline-refresh",
            ".credentials.json.trunkline-refresh.locks",
        ] {
            assert!(names.iter().any(|name| name == expected), "{expected}: {names:?}");
        }
        assert!(names.iter().any(|name| name.contains("sqlite") || name.contains(".db")), "{names:?}");
        go_on.set();
        process.signal("TERM").await.unwrap();
        process.wait_exit().await.unwrap();
        assert_private(&before, scene.home.path(), umask);
        assert_eq!(modes(scene.home.path())[&scene.login], ("file", 0o600), "the login keeps its mode");
        scene.assert_written();
    }
}

#[tokio::test]
async fn what_a_codex_service_makes_is_private() {
    for umask in ["000", "077"] {
        let mut pool = CodexPool::new(&["a"]).await;
        pool.service(json!({}));
        let config = with(pool.config(), json!({ "data_directory": pool.home.join("data") }));
        let before = modes(pool.home.path());
        let mut instance = trunkline().config(&config).umask(umask).start().await.unwrap();
        pool.api.revoke_access("a");
        // Refused, so the login is refreshed.
        let response = codex::send(&instance, &codex::turn(codex::body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        let names = assert_private(&before, pool.home.path(), umask);
        assert!(names.iter().any(|name| name == "auth.lock"), "{names:?}");
        instance.stop().await.unwrap();
    }
}
