//! What the stories of WebSockets share.

use serde_json::{Value, json};
use trunkline_testkit::client::Request;
use trunkline_testkit::codex::{Account, CodexApi};
use trunkline_testkit::upstream::{Behaviour, ReceivedRequest};
use trunkline_testkit::websocket::{Link, Message, is_upgrade, upgrade};
use trunkline_testkit::{Script, TempDir, Trunkline, Upstream};

use super::codex::{RESPONSES, login, service};
use super::{USER_TOKEN, config, trunkline};
use crate::pool::polled;

/// An instance in front of a scripted API.
pub(crate) struct Set {
    pub(crate) api: CodexApi,
    pub(crate) upstream: Upstream,
    pub(crate) trunkline: Trunkline,
    _logins: TempDir,
}

/// An account whose login is good.
pub(crate) fn account(label: &str) -> Account {
    Account::new(label).access_token(&format!("access-{label}")).refresh_token(&format!("rt-{label}"))
}

impl Set {
    /// With a login of each of these accounts, in this order. What they have used is known.
    pub(crate) async fn new(labels: &[&str]) -> Self {
        Self::with(labels, |_| {}).await
    }

    /// The same, with something changed in the configuration.
    pub(crate) async fn with(labels: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let api = CodexApi::new(labels.iter().map(|label| account(label)));
        let upstream = Upstream::start(api.clone()).await.unwrap();
        Self::before(labels, api, upstream, change).await
    }

    /// The same, with upgrades answered by `sockets` instead of by the API, where it says how.
    pub(crate) async fn with_sockets(
        labels: &[&str],
        sockets: impl Fn(&ReceivedRequest) -> Option<Script> + Send + Sync + 'static,
    ) -> Self {
        let api = CodexApi::new(labels.iter().map(|label| account(label)));
        let upstream = Upstream::start(Sockets { sockets, others: api.clone() }).await.unwrap();
        Self::before(labels, api, upstream, |_| {}).await
    }

    async fn before(
        labels: &[&str],
        api: CodexApi,
        upstream: Upstream,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let logins = TempDir::new().unwrap();
        let credentials: Vec<_> = labels.iter().map(|label| login(&logins, &api, label)).collect();
        let mut config = config(&service(&upstream.url(), &credentials));
        change(&mut config);
        let trunkline = trunkline().config(&config).arg("--no-watch").start().await.unwrap();
        polled(&trunkline).await;
        Self { api, upstream, trunkline, _logins: logins }
    }

    /// A client's WebSocket, of this session.
    pub(crate) async fn open(&self, session: &str) -> Link {
        Link::open(self.trunkline.addr().unwrap(), &asking(session)).await.unwrap()
    }

    /// That nothing came to the API that should not have.
    pub(crate) fn is_content(&self) {
        assert_eq!(self.api.violations(), Vec::<String>::new());
    }
}

/// The API with other WebSockets.
struct Sockets<F> {
    sockets: F,
    others: CodexApi,
}

impl<F: Fn(&ReceivedRequest) -> Option<Script> + Send + Sync + 'static> Behaviour for Sockets<F> {
    fn takes_polls(&self) -> bool {
        self.others.takes_polls()
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        let script = if is_upgrade(request) { (self.sockets)(request) } else { None };
        script.unwrap_or_else(|| self.others.respond(request))
    }
}

/// A request for a WebSocket with the user's token.
pub(crate) fn asking(session: &str) -> Request {
    upgrade(RESPONSES).bearer(USER_TOKEN).header("session-id", session)
}

/// A request for a response.
pub(crate) fn create() -> Value {
    let message =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hello" }] });
    json!({ "type": "response.create", "model": "gpt-5.5", "stream": true, "store": false, "input": [message] })
}

/// The same, going on from a response.
pub(crate) fn create_after(previous: &Value) -> Value {
    let mut create = create();
    create["previous_response_id"] = previous.clone();
    create
}

/// Asks for a response.
pub(crate) async fn ask(link: &mut Link, create: &Value) {
    link.send_text(create.to_string()).await.unwrap();
}

/// The events of one turn, to its end.
pub(crate) async fn turn(link: &mut Link) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = next(link).await;
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        events.push(event);
        let ends = ["response.completed", "response.incomplete", "response.failed", "error"];
        if ends.contains(&kind.as_str()) {
            return events;
        }
    }
}

/// The next event.
pub(crate) async fn next(link: &mut Link) -> Value {
    link.message().await.unwrap().json().unwrap()
}

/// Asks, and takes the whole turn, which must come to a good end; gives the id of its response.
pub(crate) async fn good_turn(link: &mut Link, create: &Value) -> Value {
    ask(link, create).await;
    let events = turn(link).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed", "{events:?}");
    last["response"]["id"].clone()
}

/// That the connection is closed so that the client comes again.
pub(crate) async fn is_restarted(link: &mut Link) {
    assert_eq!(link.message().await.unwrap(), Message::Close(Some((1012, "connect again".to_owned()))));
}
