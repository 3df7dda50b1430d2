//! A scripted Codex API that the real client is content with, over HTTP and WebSocket.
//!
//! It answers like the recorded mock of the provider (`fixtures/codex`), with accounts, logins that can be refreshed, limits
//! and API keys. What no recording can show it holds by itself: a response can be gone on from only on the connection that
//! gave it, the state of a turn is only good for the account that issued it, and what tells of a client's own account must
//! not come with another's credential. Whoever breaks these is refused, and found in [`CodexApi::violations`].

mod account;
mod api;
mod turn;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

pub use account::{Account, Limits, Window};
pub use turn::{Step, TurnScript};

use crate::canary::Canary;
use crate::log::{Log, lock};
use crate::signal::Signal;
use crate::upstream::Script;
use account::AccountState;

/// Where a limit event stands in a turn on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitEvents {
    /// There is none.
    None,
    /// Before everything else.
    First,
    /// Just before the turn ends.
    BeforeEnd,
    /// Behind its end.
    AfterEnd,
}

/// How a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As a POST.
    Http,
    /// On a WebSocket, the how manieth of the API, from 1.
    Socket(u64),
}

/// A turn that was asked for.
#[derive(Clone, Debug)]
pub struct AskedTurn {
    /// The account that was asked.
    pub label: String,
    /// How it came.
    pub transport: Transport,
    /// The request, decoded.
    pub body: Value,
}

/// The Codex API as a [`crate::upstream::Behaviour`]. Clones are the same API, so that a test keeps one to change what it
/// does.
///
/// A user message whose last text has a line `run: COMMAND` is answered with a call of the tool `exec_command`, if the request
/// offers one; the output of a tool ends the turn with a text. Everything else is answered with [`CodexApi::set_reply`]'s text.
///
/// Logins are served under `/backend-api/codex`, API keys and plain bearers (for a client that talks to it directly) under
/// `/v1`.
#[derive(Clone)]
pub struct CodexApi(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    asked: Log<AskedTurn>,
    recording: AtomicBool,
}

struct State {
    accounts: Vec<AccountState>,
    /// Numbers requests, responses and tool calls.
    serial: u64,
    sockets: u64,
    reply: String,
    limit_events: LimitEvents,
    marks_turns: bool,
    pause: Option<Duration>,
    /// Answers for the next requests with a path.
    overrides: Vec<(String, Script)>,
    refresh_gate: Option<Signal>,
    issued: Vec<Canary>,
    cookie: Canary,
    violations: Vec<String>,
    /// What issued which turn state.
    turn_states: VecDeque<(String, String)>,
}

/// Most turn states that are remembered.
const MAX_TURN_STATES: usize = 10_000;

/// Most violations that are remembered; what comes behind them is left out.
const MAX_VIOLATIONS: usize = 1_000;

impl State {
    fn violation(&mut self, what: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(what);
        }
    }
}

impl CodexApi {
    /// An API with these accounts.
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        let state = Mutex::new(State {
            accounts: accounts.into_iter().map(AccountState::new).collect(),
            serial: 0,
            sockets: 0,
            reply: "hi from the scripted API".to_owned(),
            limit_events: LimitEvents::None,
            marks_turns: true,
            pause: None,
            overrides: Vec::new(),
            refresh_gate: None,
            issued: Vec::new(),
            cookie: Canary::with_prefix("__cf_bm=", "cookie"),
            violations: Vec::new(),
            turn_states: VecDeque::new(),
        });
        Self(Arc::new(Shared { state, asked: Log::new(), recording: AtomicBool::new(true) }))
    }

    /// What text it answers with.
    pub fn set_reply(&self, reply: impl Into<String>) {
        lock(&self.0.state).reply = reply.into();
    }

    /// Waits this long before each piece of text, to look like a model: for demonstrations.
    pub fn set_pause(&self, pause: Duration) {
        lock(&self.0.state).pause = Some(pause);
    }

    /// Whether turns are kept for [`CodexApi::asked`], which they are at first.
    pub fn set_recording(&self, recording: bool) {
        self.0.recording.store(recording, Ordering::Relaxed);
    }

    fn note(&self, asked: AskedTurn) {
        if self.0.recording.load(Ordering::Relaxed) {
            self.0.asked.push(asked);
        }
    }

    /// Where limit events stand in turns on WebSockets; at first there are none. Whatever this says, limits are among the
    /// headers of answers to POST.
    pub fn set_limit_events(&self, place: LimitEvents) {
        lock(&self.0.state).limit_events = place;
    }

    /// Whether turns get a state, which they do at first.
    pub fn set_gives_turn_state(&self, gives: bool) {
        lock(&self.0.state).marks_turns = gives;
    }

    /// Answers the next turn that an account is asked for over HTTP with `script`, once; more of them queue up.
    pub fn next(&self, label: &str, script: Script) {
        self.with(label, |account| account.scripts.push_back(script));
    }

    /// Answers the next upgrade of an account with `script`, once; more of them queue up.
    pub fn next_upgrade(&self, label: &str, script: Script) {
        self.with(label, |account| account.upgrades.push_back(script));
    }

    /// Does this in the next turn of an account that is no prewarm, on whatever it comes; more of them queue up.
    pub fn next_turn(&self, label: &str, script: TurnScript) {
        self.with(label, |account| account.turns.push_back(script));
    }

    /// The same for its next prewarm.
    pub fn next_prewarm(&self, label: &str, script: TurnScript) {
        self.with(label, |account| account.prewarms.push_back(script));
    }

    /// Answers the next request with this path, whoever sends it, with `script`, once; more of them queue up.
    /// It comes before authentication.
    pub fn next_on(&self, path: &str, script: Script) {
        lock(&self.0.state).overrides.push((path.to_owned(), script));
    }

    /// Changes the limits of an account. While they are reached, turns are refused: 429 over HTTP, an error event on a
    /// WebSocket.
    pub fn set_limits(&self, label: &str, limits: Limits) {
        self.with(label, |account| account.limits = limits);
    }

    /// The limits of an account as they are; `None` if there is no account of that name.
    pub fn limits(&self, label: &str) -> Option<Limits> {
        self.with(label, |account| account.limits.clone())
    }

    /// Changes the plan of an account; logins that were issued before do not know it.
    pub fn set_plan(&self, label: &str, plan: &str) {
        self.with(label, |account| plan.clone_into(&mut account.plan));
    }

    /// Makes all access tokens of an account invalid (401), as if they had expired.
    pub fn revoke_access(&self, label: &str) {
        self.with(label, |account| account.access.clear());
    }

    /// Makes all refresh tokens of an account invalid (`refresh_token_reused`).
    pub fn revoke_refresh(&self, label: &str) {
        self.with(label, |account| account.refresh.clear());
    }

    /// Token requests are carried out, but their answers wait for `signal`.
    pub fn hold_refresh(&self, signal: &Signal) {
        lock(&self.0.state).refresh_gate = Some(signal.clone());
    }

    /// The access token and refresh token of an account that were issued last and are still valid.
    pub fn tokens(&self, label: &str) -> (Option<String>, Option<String>) {
        self.with(label, |account| (account.access.last().cloned(), account.refresh.last().cloned()))
            .unwrap_or_default()
    }

    /// A login file for an account, with the tokens that it has now.
    pub fn login_file(&self, label: &str) -> Option<Value> {
        self.with(label, |account| account.login_file())
    }

    /// How often an account was refreshed.
    pub fn refreshes(&self, label: &str) -> usize {
        self.with(label, |account| account.refreshes).unwrap_or_default()
    }

    /// How many turns an account was asked for, with whatever answer, prewarms left out.
    pub fn served(&self, label: &str) -> usize {
        self.with(label, |account| account.served).unwrap_or_default()
    }

    /// Every turn that was asked for so far, prewarms among them, in order.
    pub fn asked(&self) -> Vec<AskedTurn> {
        self.0.asked.snapshot()
    }

    /// The turn that is asked for `index`th, from 0, as soon as it is.
    pub async fn asked_nth(&self, index: usize) -> std::io::Result<AskedTurn> {
        self.0.asked.nth("a turn", index).await
    }

    /// What clients, or what stands in front of them, did that the provider would not take.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.0.state).violations.clone()
    }

    /// Every token that was issued by a refresh: none of them may turn up where it does not belong.
    pub fn issued(&self) -> Vec<Canary> {
        lock(&self.0.state).issued.clone()
    }

    /// The cookie that comes with every answer.
    pub fn cookie(&self) -> Canary {
        lock(&self.0.state).cookie.clone()
    }

    /// `None` if there is no account of that name.
    fn with<T>(&self, label: &str, act: impl FnOnce(&mut AccountState) -> T) -> Option<T> {
        lock(&self.0.state).accounts.iter_mut().find(|account| account.label == label).map(act)
    }
}

impl fmt::Debug for CodexApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> =
            lock(&self.0.state).accounts.iter().map(|account| account.label.clone()).collect();
        f.debug_struct("CodexApi").field("accounts", &labels).finish_non_exhaustive()
    }
}

/// An error in the provider's shape, without the headers of its edge: for [`CodexApi::next`].
pub fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Script {
    Script::json(status, &serde_json::json!({"error": {"type": kind, "code": code, "message": message}}))
}
