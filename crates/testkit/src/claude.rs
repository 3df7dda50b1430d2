//! A scripted Claude API that the real client is content with.
//!
//! It answers like the provider does as far as that was observed: routes, the shapes of events, errors and
//! tokens, the headers of its edge (which a proxy must not pass on), rate limits by account, and refresh
//! tokens that are good for one use.

mod account;
mod api;
mod turn;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use account::{Account, Limits};
pub use turn::Usage;

use crate::canary::Canary;
use crate::log::lock;
use crate::signal::Signal;
use crate::upstream::Script;
use account::AccountState;

/// The Claude API as a [`crate::upstream::Behaviour`]. Clones are the same API, so that a test keeps one to
/// change what it does:
///
/// ```no_run
/// # use trunkline_testkit::claude::{Account, ClaudeApi, Limits};
/// # use trunkline_testkit::Upstream;
/// # async fn example() -> std::io::Result<()> {
/// let api = ClaudeApi::new([Account::new("a").access_token("sk-ant-oat01-a").refresh_token("sk-ant-ort01-a")]);
/// let upstream = Upstream::start(api.clone()).await?;
/// api.set_limits("a", Limits::five_hour_rejected());
/// # Ok(())
/// # }
/// ```
///
/// A user message whose last text has a line `run: COMMAND` is answered with a call of the tool `Bash`, if the
/// request offers one; the result of a tool ends the turn with a text. Everything else is answered with
/// [`ClaudeApi::set_reply`]'s text.
#[derive(Clone)]
pub struct ClaudeApi(Arc<Mutex<State>>);

/// Makes the answer to a token request of its JSON.
type Shape = Box<dyn FnOnce(&[u8]) -> Script + Send>;

struct State {
    accounts: Vec<AccountState>,
    /// Numbers requests, messages and tool calls.
    serial: u64,
    reply: String,
    usage: Usage,
    pause: Option<Duration>,
    /// Answers for the next requests with a path.
    overrides: Vec<(String, Script)>,
    refresh_gate: Option<Signal>,
    refresh_shapes: VecDeque<Shape>,
    issued: Vec<Canary>,
    cookie: Canary,
}

impl ClaudeApi {
    /// An API with these accounts.
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        Self(Arc::new(Mutex::new(State {
            accounts: accounts.into_iter().map(AccountState::new).collect(),
            serial: 0,
            reply: "Hi there from the scripted API.".to_owned(),
            usage: Usage::default(),
            pause: None,
            overrides: Vec::new(),
            refresh_gate: None,
            refresh_shapes: VecDeque::new(),
            issued: Vec::new(),
            cookie: Canary::with_prefix("__cf_bm=", "cookie"),
        })))
    }

    /// What text it answers with.
    pub fn set_reply(&self, reply: impl Into<String>) {
        lock(&self.0).reply = reply.into();
    }

    /// What the answers say they have used.
    pub fn set_usage(&self, usage: Usage) {
        lock(&self.0).usage = usage;
    }

    /// Waits this long before each piece of text, to look like a model: for demonstrations.
    pub fn set_pause(&self, pause: Duration) {
        lock(&self.0).pause = Some(pause);
    }

    /// Answers the next inference request of an account with `script`, once; more of them queue up.
    pub fn next(&self, label: &str, script: Script) {
        self.with(label, |account| account.scripts.push_back(script));
    }

    /// Answers the next request with this path, whoever sends it, with `script`, once; more of them queue up.
    /// It comes before authentication.
    pub fn next_on(&self, path: &str, script: Script) {
        lock(&self.0).overrides.push((path.to_owned(), script));
    }

    /// Changes the rate limits of an account. While they are rejected, inference is answered 429.
    pub fn set_limits(&self, label: &str, limits: Limits) {
        self.with(label, |account| account.limits = limits);
    }

    /// The limits of an account as they are; none of an account that there is not.
    pub fn limits(&self, label: &str) -> Limits {
        let state = lock(&self.0);
        let account = state.accounts.iter().find(|account| account.label == label);
        account.map_or_else(Limits::none, |account| account.limits.clone())
    }

    /// Makes all access tokens of an account invalid (401), as if they had expired.
    pub fn revoke_access(&self, label: &str) {
        self.with(label, |account| account.access.clear());
    }

    /// Makes all refresh tokens of an account invalid (`invalid_grant`).
    pub fn revoke_refresh(&self, label: &str) {
        self.with(label, |account| account.refresh.clear());
    }

    /// Token requests are carried out, but their answers wait for `signal`.
    pub fn hold_refresh(&self, signal: &Signal) {
        lock(&self.0).refresh_gate = Some(signal.clone());
    }

    /// Carries the next token request out, and answers it with what `shape` makes of the JSON of the answer, once; more of them
    /// queue up.
    pub fn shape_refresh(&self, shape: impl FnOnce(&[u8]) -> Script + Send + 'static) {
        lock(&self.0).refresh_shapes.push_back(Box::new(shape));
    }

    /// The access token and refresh token of an account that were issued last and are still valid.
    pub fn tokens(&self, label: &str) -> (Option<String>, Option<String>) {
        self.with(label, |account| (account.access.last().cloned(), account.refresh.last().cloned()))
            .unwrap_or_default()
    }

    /// How often an account was refreshed.
    pub fn refreshes(&self, label: &str) -> usize {
        self.with(label, |account| account.refreshes).unwrap_or_default()
    }

    /// How many inference requests of an account were answered, with whatever status.
    pub fn served(&self, label: &str) -> usize {
        self.with(label, |account| account.served).unwrap_or_default()
    }

    /// Every token that was issued by a refresh: none of them may turn up where it does not belong.
    pub fn issued(&self) -> Vec<Canary> {
        lock(&self.0).issued.clone()
    }

    /// The cookie that comes with every answer.
    pub fn cookie(&self) -> Canary {
        lock(&self.0).cookie.clone()
    }

    /// `None` if there is no account of that name.
    fn with<T>(&self, label: &str, act: impl FnOnce(&mut AccountState) -> T) -> Option<T> {
        lock(&self.0).accounts.iter_mut().find(|account| account.label == label).map(act)
    }
}

impl fmt::Debug for ClaudeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> =
            lock(&self.0).accounts.iter().map(|account| account.label.clone()).collect();
        f.debug_struct("ClaudeApi").field("accounts", &labels).finish_non_exhaustive()
    }
}

/// An error in the provider's shape, without the headers of its edge: for [`ClaudeApi::next`].
pub fn error(status: u16, kind: &str, message: &str) -> Script {
    Script::json(
        status,
        &serde_json::json!({
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_scripted",
        }),
    )
}
