//! What the tests of the store share: a provider's format, clocks, and a provider whose state is a file.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use trunkline_core::json_edit::Edit;
use trunkline_core::refresh::{Unread, closed};
use trunkline_core::secret::Secret;
use trunkline_login_store::{
    Answer, AnswerEdits, AnswerEnd, Answered, Begun, Cancelled, Finished, Keychain, KeychainItem,
    KeychainProblem, LockProtocol, LoginStore, LoginText, NotALogin, Reason, Sent, StoreFormat, Stored,
    Waiter,
};
use trunkline_testkit::tmp::TempDir;

thread_local! {
    /// Whether the version that reads answers knows the coding `reversed`.
    pub static READS_REVERSED: Cell<bool> = const { Cell::new(false) };
}

/// The usual way of an answer: it comes whole, is kept, and can be read.
pub trait Answering {
    fn answered_at(self, raw: &[u8], received: SystemTime, format: &dyn StoreFormat) -> Answered;
}

impl Answering for Sent {
    fn answered_at(mut self, raw: &[u8], received: SystemTime, format: &dyn StoreFormat) -> Answered {
        // Told by what comes of it.
        let _ = self.keep(Answer::whole(received, raw));
        self.answered(format)
    }
}

/// Logins in the shape of Claude's.
pub struct Format;

fn login(text: &[u8]) -> Result<Value, NotALogin> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        _ => Err(NotALogin),
    }
}

impl StoreFormat for Format {
    fn stored(&self, text: &[u8]) -> Result<Stored, NotALogin> {
        Ok(match login(text)?["claudeAiOauth"]["refreshToken"].as_str() {
            Some(token) if !token.is_empty() => Stored::RefreshToken(Secret::new(token)),
            _ => Stored::LoggedOut,
        })
    }

    fn is_fresh(&self, text: &[u8], reason: &Reason, now: SystemTime) -> bool {
        let Ok(login) = login(text) else { return false };
        let login = &login["claudeAiOauth"];
        match reason {
            Reason::Proactive => login["expiresAt"].as_u64().is_some_and(|at| {
                SystemTime::UNIX_EPOCH + Duration::from_millis(at) > now + Duration::from_secs(300)
            }),
            Reason::Forced { failed } => login["accessToken"]
                .as_str()
                .is_some_and(|token| !token.is_empty() && token != failed.expose()),
        }
    }

    fn answer(&self, answer: &Answer) -> Result<AnswerEdits, Unread> {
        // What is encoded is unreadable to this version, except for one that it has learnt.
        let received = answer.received();
        let text = match answer.encoding() {
            "" => answer.raw().to_vec(),
            "reversed" if READS_REVERSED.get() => answer.raw().iter().rev().copied().collect(),
            _ => return Err(Unread::Encoded),
        };
        let text =
            if answer.end() == AnswerEnd::Whole { text } else { closed(&text).ok_or(Unread::Cut)?.to_vec() };
        let raw: Value = serde_json::from_slice(&text).map_err(|_| Unread::NotAnObject)?;
        let access = raw["access_token"].as_str().ok_or(Unread::NoToken)?;
        let expires = received + Duration::from_secs(raw["expires_in"].as_u64().unwrap_or(3600));
        let millis = expires.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Unread::NoToken)?.as_millis();
        let mut edits = vec![
            Edit::new(&["claudeAiOauth", "accessToken"], access),
            Edit::new(&["claudeAiOauth", "expiresAt"], u64::try_from(millis).map_err(|_| Unread::NoToken)?),
        ];
        let refresh_token = raw["refresh_token"].as_str().map(Secret::new);
        if let Some(token) = &refresh_token {
            edits.push(Edit::new(&["claudeAiOauth", "refreshToken"], token.expose()));
        }
        Ok(AnswerEdits { edits, refresh_token })
    }
}

/// What happens during a wait.
type Meanwhile = Box<dyn FnMut(Duration)>;

/// A clock that waits in no time. It begins at the real time, so that the times of files fit.
pub struct Virtual {
    begin: SystemTime,
    pub waited: RefCell<Vec<Duration>>,
    pub meanwhile: RefCell<Option<Meanwhile>>,
    pub cancel_after: Cell<usize>,
}

impl Virtual {
    pub fn new() -> Self {
        Self::ahead(Duration::ZERO)
    }

    /// A clock that is ahead of the real one.
    pub fn ahead(span: Duration) -> Self {
        Self {
            begin: SystemTime::now() + span,
            waited: RefCell::default(),
            meanwhile: RefCell::default(),
            cancel_after: Cell::new(usize::MAX),
        }
    }

    pub fn total(&self) -> Duration {
        self.waited.borrow().iter().sum()
    }
}

impl Waiter for Virtual {
    fn now(&self) -> SystemTime {
        self.begin + self.total()
    }

    fn wait(&self, span: Duration) -> Result<(), Cancelled> {
        if self.waited.borrow().len() >= self.cancel_after.get() {
            return Err(Cancelled);
        }
        self.waited.borrow_mut().push(span);
        if let Some(meanwhile) = self.meanwhile.borrow_mut().as_mut() {
            meanwhile(self.total());
        }
        Ok(())
    }

    fn jitter(&self, bound: Duration) -> Duration {
        bound / 2
    }
}

/// The real clock.
pub struct Real;

impl Waiter for Real {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&self, span: Duration) -> Result<(), Cancelled> {
        std::thread::sleep(span);
        Ok(())
    }

    fn jitter(&self, bound: Duration) -> Duration {
        bound.mul_f64(fastrand::f64())
    }
}

/// What happens before a call of a fake keychain: its name, and how many there were before it.
type BeforeCall = Box<dyn FnMut(&'static str, usize) -> Result<(), KeychainProblem> + Send>;

/// A keychain with one item, whose data is a file: it outlives its process, and is replaced as a whole.
pub struct FakeKeychain {
    path: PathBuf,
    /// Longest data.
    pub room: usize,
    pub before: Mutex<Option<BeforeCall>>,
    calls: Mutex<Vec<&'static str>>,
}

impl std::fmt::Debug for FakeKeychain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeKeychain")
    }
}

impl FakeKeychain {
    pub fn at(path: PathBuf) -> Self {
        Self { path, room: 2 << 20, before: Mutex::default(), calls: Mutex::default() }
    }

    pub fn before(
        &self,
        before: impl FnMut(&'static str, usize) -> Result<(), KeychainProblem> + Send + 'static,
    ) {
        *self.before.lock().unwrap() = Some(Box::new(before));
    }

    pub fn works_again(&self) {
        *self.before.lock().unwrap() = None;
    }

    /// The calls so far, which are then forgotten.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn called(&self, name: &'static str, item: &KeychainItem) -> Result<(), KeychainProblem> {
        assert_eq!(*item, keychain_item());
        let mut calls = self.calls.lock().unwrap();
        let before = calls.len();
        calls.push(name);
        drop(calls);
        self.before.lock().unwrap().as_mut().map_or(Ok(()), |call| call(name, before))
    }
}

impl Keychain for FakeKeychain {
    fn read(&self, item: &KeychainItem) -> Result<Option<LoginText>, KeychainProblem> {
        self.called("read", item)?;
        Ok(fs::read(&self.path).ok().map(LoginText::new))
    }

    fn write(&self, item: &KeychainItem, text: &LoginText) -> Result<(), KeychainProblem> {
        self.called("write", item)?;
        let new = self.path.with_extension("new");
        write_private(&new, text.as_bytes());
        fs::rename(&new, &self.path).unwrap();
        Ok(())
    }

    fn has_room(&self, _: &KeychainItem, text: &LoginText, spare: usize) -> bool {
        text.as_bytes().len() + spare <= self.room
    }
}

pub fn keychain_item() -> KeychainItem {
    KeychainItem::new("Claude Code-credentials", "alice").unwrap()
}

/// A login and the provider that issued it, in a directory.
pub struct Scene {
    pub root: PathBuf,
    _owned: Option<TempDir>,
}

impl Scene {
    /// A configuration directory with a login `r0`, `a0`.
    pub fn new() -> Self {
        let temp = TempDir::new().unwrap();
        // The directory itself may lie behind a link, as on macOS.
        let scene = Self { root: fs::canonicalize(temp.path()).unwrap(), _owned: Some(temp) };
        fs::create_dir(scene.config()).unwrap();
        fs::create_dir(scene.data()).unwrap();
        fs::write(scene.root.join("provider.json"), json!({"current": "r0", "calls": 0}).to_string())
            .unwrap();
        scene.log_in("r0", "a0");
        scene
    }

    /// What another process made.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), _owned: None }
    }

    pub fn config(&self) -> PathBuf {
        self.root.join(".claude")
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn file(&self) -> PathBuf {
        self.config().join(".credentials.json")
    }

    pub fn journal(&self) -> PathBuf {
        self.config().join(".credentials.json.trunkline-refresh")
    }

    pub fn log_in(&self, refresh: &str, access: &str) {
        write_private(&self.file(), login_text(refresh, access).as_bytes());
    }

    /// The data of the item in the keychain, if there is one.
    pub fn item(&self) -> PathBuf {
        self.root.join("item")
    }

    /// A login `r0`, `a0` in the keychain, and no file.
    pub fn with_item() -> Self {
        let scene = Self::new();
        fs::rename(scene.file(), scene.item()).unwrap();
        scene
    }

    pub fn set_item(&self, text: &[u8]) {
        write_private(&self.item(), text);
    }

    pub fn keychain(&self) -> (Arc<FakeKeychain>, LoginStore) {
        let keychain = Arc::new(FakeKeychain::at(self.item()));
        (Arc::clone(&keychain), self.store_with(keychain, Some(self.data())))
    }

    pub fn store_with(&self, keychain: Arc<dyn Keychain>, data: Option<PathBuf>) -> LoginStore {
        let protocol = LockProtocol::Claude { config_directory: None };
        LoginStore::with_keychain(keychain, keychain_item(), self.file(), protocol, data)
    }

    pub fn claude(&self) -> LoginStore {
        self.store(LockProtocol::Claude { config_directory: None })
    }

    pub fn store(&self, protocol: LockProtocol) -> LoginStore {
        LoginStore::new(self.file(), protocol, Some(self.data()))
    }

    /// Refresh and access token in the keychain, or else in the login file.
    pub fn tokens(&self) -> (String, String) {
        tokens(&fs::read(self.item()).or_else(|_| fs::read(self.file())).unwrap())
    }

    /// What lies in the configuration directory and beside it, without what is always there.
    pub fn leftovers(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in [self.root.clone(), self.config(), self.data()] {
            for entry in fs::read_dir(directory).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let expected = [
                    ".claude",
                    "data",
                    "provider.json",
                    "provider.lock",
                    ".credentials.json",
                    "item",
                    "item.new",
                    "auth.lock",
                    "auth.json.lock",
                    "answered",
                    "points",
                    "go",
                ];
                if !expected.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    }

    /// The refresh token that the provider takes, and how many tokens it has issued.
    pub fn provider(&self) -> (String, u64) {
        let state: Value =
            serde_json::from_slice(&fs::read(self.root.join("provider.json")).unwrap()).unwrap();
        (state["current"].as_str().unwrap().to_owned(), state["calls"].as_u64().unwrap())
    }

    /// The token endpoint: issues the next tokens for the current refresh token and forgets that, or `None`.
    pub fn call(&self, refresh: &str) -> Option<Vec<u8>> {
        let lock = File::create(self.root.join("provider.lock")).unwrap();
        lock.lock().unwrap();
        let (current, calls) = self.provider();
        if current != refresh {
            return None;
        }
        let next = calls + 1;
        let new = self.root.join("provider.json.new");
        fs::write(&new, json!({"current": format!("r{next}"), "calls": next}).to_string()).unwrap();
        fs::rename(&new, self.root.join("provider.json")).unwrap();
        Some(answer(&format!("r{next}"), &format!("a{next}")))
    }
}

pub fn answer(refresh: &str, access: &str) -> Vec<u8> {
    json!({"access_token": access, "refresh_token": refresh, "expires_in": 28800}).to_string().into_bytes()
}

/// A login file with more in it than tokens, oddly spaced, that has long expired.
pub fn login_text(refresh: &str, access: &str) -> String {
    format!(
        r#"{{"mcpOAuth":{{"n":1e3}},"claudeAiOauth":{{"accessToken":"{access}", "refreshToken":"{refresh}","expiresAt":1,"scopes":["user:inference"],"x":12345678901234567890}}}}"#
    )
}

pub fn tokens(text: &[u8]) -> (String, String) {
    let login: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(login["mcpOAuth"], json!({"n": 1e3}), "what belongs to others is kept");
    let login = &login["claudeAiOauth"];
    let token = |name: &str| login[name].as_str().unwrap().to_owned();
    (token("refreshToken"), token("accessToken"))
}

pub fn write_private(path: &Path, text: &[u8]) {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).unwrap().write_all(text).unwrap();
}

/// Begins a refresh that must come to the point of sending.
pub fn pending(store: &LoginStore, waiter: &dyn Waiter) -> trunkline_login_store::Pending {
    match begin(store, waiter) {
        Ok(Begun::Pending(pending)) => *pending,
        other => panic!("{other:?}"),
    }
}

pub fn begin(store: &LoginStore, waiter: &dyn Waiter) -> Result<Begun, trunkline_login_store::BeginError> {
    store.begin(&Format, &Reason::Proactive, waiter, &mut |_: &Finished| {})
}
