//! A stand-in for the provider's own client when it refreshes: its locks in its order and with its patience, as observed (fact
//! sheet `claude-code.md`, section 3).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use trunkline_testkit::client::{Request, send};

/// Tries of a lock, and the waits between.
const TRIES: u32 = 5;

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct ClaudeClient {
    directory: PathBuf,
    api: SocketAddr,
    /// After what time without a touch a lock is anybody's: 10 s for 2.1.197, 60 s for newer ones.
    stale_after: Duration,
}

impl ClaudeClient {
    pub(crate) fn new(directory: &Path, api: SocketAddr, stale_after: Duration) -> Self {
        Self { directory: directory.to_owned(), api, stale_after }
    }

    /// Refreshes the login until it is good: a client that gives up on a lock goes on with its old token, and tries again when that
    /// is refused. The access token that it goes on with.
    pub(crate) async fn refreshed(&self) -> String {
        while self.read().2 {
            self.refresh().await;
        }
        self.read().0
    }

    /// Refreshes the login if it has expired. The access token that the client goes on with.
    async fn refresh(&self) -> String {
        let (access, _, is_expired) = self.read();
        if !is_expired {
            return access;
        }
        let sibling = self.directory.with_file_name(".claude.lock");
        let Some(outer) = self.lock(self.directory.join(".oauth_refresh.lock")).await else {
            // As observed: it goes on without refreshing.
            return self.read().0;
        };
        let Some(inner) = self.lock(sibling).await else {
            outer.release();
            return self.read().0;
        };
        let (access, refresh, is_expired) = self.read();
        let access = if is_expired { self.call(&refresh).await } else { access };
        inner.release();
        outer.release();
        access
    }

    async fn call(&self, refresh: &str) -> String {
        let body = json!({
            "grant_type": "refresh_token", "refresh_token": refresh,
            "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e", "scope": "user:inference",
        });
        let request =
            Request::post("/v1/oauth/token", body.to_string()).header("content-type", "application/json");
        let answer = send(self.api, &request).await.unwrap();
        let mut file = self.file();
        let login = &mut file["claudeAiOauth"];
        if answer.status() == 200 {
            let answer = answer.json().unwrap();
            login["accessToken"] = answer["access_token"].clone();
            login["refreshToken"] = answer["refresh_token"].clone();
            login["expiresAt"] = json!(millis(SystemTime::now()) + 28_800_000);
        } else {
            // Who loses the race logs its user out.
            login["accessToken"] = json!("");
            login["refreshToken"] = json!("");
        }
        let access = login["accessToken"].as_str().unwrap().to_owned();
        let write = self.lock(self.directory.join(".storage-write.lock")).await;
        let new = self.directory.join(".credentials.json.tmp.0123abcd");
        fs::write(&new, file.to_string()).unwrap();
        fs::rename(&new, self.directory.join(".credentials.json")).unwrap();
        if let Some(write) = write {
            write.release();
        }
        access
    }

    fn file(&self) -> Value {
        serde_json::from_slice(&fs::read(self.directory.join(".credentials.json")).unwrap()).unwrap()
    }

    /// Access token, refresh token, and whether the first has expired.
    fn read(&self) -> (String, String, bool) {
        let login = self.file()["claudeAiOauth"].take();
        let token = |name: &str| login[name].as_str().unwrap().to_owned();
        let is_expired = login["expiresAt"].as_u64().unwrap() < millis(SystemTime::now()) + 300_000;
        (token("accessToken"), token("refreshToken"), is_expired)
    }

    async fn lock(&self, path: PathBuf) -> Option<Held> {
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1_000..2_000))).await;
            }
            if fs::create_dir(&path).is_err() {
                let age = fs::metadata(&path)
                    .and_then(|found| found.modified())
                    .ok()
                    .and_then(|modified| SystemTime::now().duration_since(modified).ok());
                if age.is_none_or(|age| age <= self.stale_after) {
                    continue;
                }
                let _ = fs::remove_dir(&path);
                if fs::create_dir(&path).is_err() {
                    continue;
                }
            }
            return Some(Held::keep(path));
        }
        None
    }
}

/// A lock that is touched every 5 s.
struct Held {
    path: PathBuf,
    keeping: JoinHandle<()>,
}

impl Held {
    fn keep(path: PathBuf) -> Self {
        let kept = path.clone();
        let keeping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                let _ = fs::File::open(&kept).and_then(|lock| lock.set_modified(SystemTime::now()));
            }
        });
        Self { path, keeping }
    }

    fn release(self) {
        self.keeping.abort();
        fs::remove_dir(&self.path).expect("the lock is still there");
    }
}

fn millis(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
