//! A WebSocket of the scripted API: turn after turn.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::turn::{Step, TurnScript};
use super::{AskedTurn, CodexApi, LimitEvents, State, Transport};
use crate::log::lock;
use crate::websocket::{Frame, Link, Message};

/// Most responses of a connection that can be gone on from.
const MAX_RESPONSES: usize = 10_000;

/// What a turn that was asked for leads to.
struct Reaction {
    steps: Vec<Step>,
    /// The id of the response, if it can be gone on from.
    response_id: Option<String>,
    /// What comes behind the end of the turn.
    behind: Option<Value>,
}

impl CodexApi {
    /// Serves a connection of an account to its end.
    pub(super) async fn serve(self, mut link: Link, label: String, number: u64) {
        let mut known = VecDeque::new();
        loop {
            let body = match link.idle().await {
                Ok(Message::Text(text)) => serde_json::from_str::<Value>(&text).unwrap_or_default(),
                Ok(Message::Binary(_)) => Value::Null,
                Ok(Message::Close(..) | Message::End(_)) | Err(_) => return,
            };
            if body["type"] != "response.create" {
                self.violation(format!("a message that is no response.create: {}", body["type"]));
                let error = json!({
                    "type": "error", "status": 400,
                    "error": {"type": "invalid_request_error", "message": "unknown message"},
                });
                if link.send_text(error.to_string()).await.is_err() {
                    return;
                }
                continue;
            }
            let asked = AskedTurn { label: label.clone(), transport: Transport::Socket(number), body };
            self.note(asked.clone());
            let Reaction { steps, response_id, behind } =
                lock(&self.0.state).socket_turn(&label, &asked.body, &known);
            if !play(&mut link, steps).await {
                return;
            }
            if let Some(id) = response_id {
                if known.len() >= MAX_RESPONSES {
                    known.pop_front();
                }
                known.push_back(id);
            }
            if let Some(behind) = behind
                && link.send_text(behind.to_string()).await.is_err()
            {
                return;
            }
        }
    }

    pub(super) fn violation(&self, what: String) {
        lock(&self.0.state).violation(what);
    }
}

/// Whether the connection is still there.
async fn play(link: &mut Link, steps: Vec<Step>) -> bool {
    for step in steps {
        let sent = match step {
            Step::Event(event) => link.send_text(event.to_string()).await,
            Step::Wait(signal) => {
                signal.wait().await;
                Ok(())
            }
            Step::Announce(signal) => {
                signal.set();
                Ok(())
            }
            Step::Pause(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Step::Close(code, reason) => {
                let _ = link.send(Frame::close(code, &reason)).await;
                // The answer, or the client's end.
                while let Ok(Message::Text(_) | Message::Binary(_)) = link.message().await {}
                return false;
            }
            Step::Cut(cut) => {
                link.cut_held(cut).await;
                return false;
            }
        };
        if sent.is_err() {
            return false;
        }
    }
    true
}

impl State {
    fn socket_turn(&mut self, label: &str, body: &Value, known: &VecDeque<String>) -> Reaction {
        let refused =
            |error: Value| Reaction { steps: vec![Step::Event(error)], response_id: None, behind: None };
        self.serial += 1;
        let is_prewarm = body["generate"] == false;
        if let Some(id) =
            body["previous_response_id"].as_str().filter(|id| !known.iter().any(|one| one == id))
        {
            return refused(json!({
                "type": "error",
                "status": 400,
                "error": {
                    "type": "invalid_request_error",
                    "code": "previous_response_not_found",
                    "message": format!("Previous response with id '{id}' not found."),
                    "param": "previous_response_id",
                },
            }));
        }
        if let Some(state) = body["client_metadata"]["x-codex-turn-state"].as_str()
            && !self.has_issued(label, state)
        {
            self.violation(format!("{label} got the turn state of another account"));
            return refused(json!({
                "type": "error",
                "status": 400,
                "error": {"type": "invalid_request_error", "message": "unknown turn state"},
            }));
        }
        let turn_state = if is_prewarm { None } else { self.turn_state(label) };
        let mut turn = self.turn(body, turn_state, true);
        let place = self.limit_events;
        let Some(account) = self.accounts.iter_mut().find(|account| account.label == label) else {
            return refused(Value::Null);
        };
        account.served += usize::from(!is_prewarm);
        let scripted = if is_prewarm { account.prewarms.pop_front() } else { account.turns.pop_front() };
        let TurnScript { mut steps, goes_on } = match scripted {
            Some(script) => script,
            None if account.limits.is_reached() && !is_prewarm => {
                let headers: serde_json::Map<String, Value> = account
                    .limits
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_owned(), Value::from(value)))
                    .collect();
                return refused(json!({
                    "type": "error", "status": 429, "error": account.limit_error(), "headers": headers,
                }));
            }
            None => TurnScript::new().go_on(),
        };
        if !goes_on {
            return Reaction { steps, response_id: None, behind: None };
        }
        match place {
            LimitEvents::None | LimitEvents::AfterEnd => {}
            LimitEvents::First => turn.limits_first = Some(account.limit_event()),
            LimitEvents::BeforeEnd => turn.limits_before_end = Some(account.limit_event()),
        }
        let behind = (place == LimitEvents::AfterEnd).then(|| account.limit_event());
        steps.extend(turn.steps(self.pause));
        Reaction { steps, response_id: Some(turn.response_id()), behind }
    }
}
