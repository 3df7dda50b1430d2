//! One turn of the scripted model, step by step, whatever it is sent over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::signal::Signal;
use crate::sse;
use crate::upstream::{Cut, Script};

/// Longest text of an answer, in characters.
const MAX_TEXT: usize = 16 * 1024;

/// Characters of text in one event.
const DELTA: usize = 8;

/// One step of a turn.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event.
    Event(Value),
    /// Goes on when it is set.
    Wait(Signal),
    /// Sets it.
    Announce(Signal),
    /// Closes the WebSocket; over HTTP, the connection.
    Close(u16, String),
    /// Cuts the connection.
    Cut(Cut),
    /// Goes on after a while.
    Pause(Duration),
}

/// What happens in a turn.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TurnScript {
    pub(super) steps: Vec<Step>,
    /// Whether the model's own turn follows.
    pub(super) goes_on: bool,
}

impl TurnScript {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An error event, with this status. `headers` are strings.
    pub fn error(status: u16, kind: &str, code: Option<&str>, headers: &[(&str, &str)]) -> Self {
        let headers: serde_json::Map<String, Value> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        let mut event = json!({
            "type": "error",
            "status": status,
            "error": {"type": kind, "code": code, "message": format!("scripted: {kind}")},
            "headers": headers,
        });
        if code.is_none()
            && let Some(error) = event["error"].as_object_mut()
        {
            error.remove("code");
        }
        Self::new().event(event)
    }

    /// The error of a connection that is too old.
    pub fn connection_limit() -> Self {
        Self::new().event(json!({
            "type": "error",
            "status": 400,
            "error": {
                "type": "invalid_request_error",
                "code": "websocket_connection_limit_reached",
                "message": "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.",
            },
        }))
    }

    /// A failed response with this error code.
    pub fn failed(code: &str, message: &str) -> Self {
        Self::new().event(json!({
            "type": "response.failed",
            "response": {"id": "resp_failed", "status": "failed", "error": {"code": code, "message": message}},
        }))
    }

    /// An event.
    pub fn event(self, event: Value) -> Self {
        self.step(Step::Event(event))
    }

    /// Goes on when `signal` is set.
    pub fn wait(self, signal: &Signal) -> Self {
        self.step(Step::Wait(signal.clone()))
    }

    /// Sets `signal` when it gets here.
    pub fn announce(self, signal: &Signal) -> Self {
        self.step(Step::Announce(signal.clone()))
    }

    /// Closes the WebSocket.
    pub fn close(self, code: u16, reason: &str) -> Self {
        self.step(Step::Close(code, reason.to_owned()))
    }

    /// Cuts the connection.
    pub fn cut(self, cut: Cut) -> Self {
        self.step(Step::Cut(cut))
    }

    /// The model's own turn follows.
    pub fn go_on(mut self) -> Self {
        self.goes_on = true;
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// As the body of an answer over HTTP. An error event at its front is an answer of its own there.
    pub(super) fn script(&self, headers: Script) -> Script {
        if let Some(Step::Event(event)) = self.steps.first()
            && event["type"] == "error"
        {
            let status =
                event["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
            let own = event["headers"].as_object().into_iter().flatten();
            let own = own.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            return Script::json(status, &json!({"error": event["error"]})).headers(own);
        }
        self.steps.iter().fold(headers, |script, step| match step {
            Step::Event(event) => script.chunk(sse::event(event["type"].as_str().unwrap_or_default(), event)),
            Step::Wait(signal) => script.wait(signal),
            Step::Announce(signal) => script.announce(signal),
            Step::Close(..) | Step::Cut(Cut::Close) => script.close(),
            Step::Cut(Cut::Reset) => script.reset(),
            Step::Pause(time) => script.pause(*time),
        })
    }
}

/// What the model does in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Say(String),
    Run(String),
    Nothing,
    Compact,
}

/// A turn, decided.
pub(super) struct Turn {
    act: Act,
    model: String,
    serial: u64,
    previous: Value,
    cache_key: Value,
    state: Option<String>,
    /// The event about limits, and where it stands: before the turn, before its end.
    pub(super) limits_first: Option<Value>,
    pub(super) limits_before_end: Option<Value>,
    is_socket: bool,
}

impl Turn {
    pub(super) fn new(
        request: &Value,
        reply: &str,
        serial: u64,
        turn_state: Option<String>,
        is_socket: bool,
    ) -> Self {
        let model = shortened(request["model"].as_str().unwrap_or("gpt-unknown"), 256);
        let act = match decide(request, reply) {
            Act::Say(text) => Act::Say(shortened(&text, MAX_TEXT)),
            other => other,
        };
        Self {
            act,
            model,
            serial,
            previous: request["previous_response_id"].clone(),
            cache_key: request["prompt_cache_key"].clone(),
            state: turn_state,
            limits_first: None,
            limits_before_end: None,
            is_socket,
        }
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn response_id(&self) -> String {
        format!("resp_scripted{:06}", self.serial)
    }

    /// Its events, in the recorded order.
    pub(super) fn events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = self.limits_first.iter().cloned().collect();
        let response = |status: &str, output: Value, usage: Value| {
            json!({
                "id": self.response_id(),
                "object": "response",
                "created_at": crate::clock::unix_now(),
                "status": status,
                "model": self.model,
                "output": output,
                "parallel_tool_calls": true,
                "store": false,
                "error": null,
                "usage": usage,
                "previous_response_id": self.previous,
                "prompt_cache_key": self.cache_key,
                "service_tier": "auto",
            })
        };
        let begun = || response("in_progress", json!([]), Value::Null);
        events.push(json!({"type": "response.created", "response": begun()}));
        // Over HTTP it is a header (fact sheet, 3).
        if self.is_socket
            && let Some(state) = &self.state
        {
            let headers = json!({"x-codex-turn-state": state, "openai-model": self.model});
            events.push(json!({"type": "response.metadata", "headers": headers}));
        }
        events.push(json!({"type": "response.in_progress", "response": begun()}));
        let item = self.item();
        events.extend(self.item_events(item.as_ref()));
        events.extend(self.limits_before_end.iter().cloned());
        let usage = json!({
            "input_tokens": 1200,
            "input_tokens_details": {"cached_tokens": 1000},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1209,
        });
        let output = item.map_or_else(|| json!([]), |item| json!([item]));
        events.push(json!({"type": "response.completed", "response": response("completed", output, usage)}));
        for (number, event) in
            events.iter_mut().filter(|event| event["type"] != "codex.rate_limits").enumerate()
        {
            event["sequence_number"] = number.into();
        }
        events
    }

    /// The same as steps, with a pause before each piece of text.
    pub(super) fn steps(&self, pause: Option<Duration>) -> impl Iterator<Item = Step> {
        self.events().into_iter().flat_map(move |event| {
            let pause = pause.filter(|_| event["type"] == "response.output_text.delta");
            pause.map(Step::Pause).into_iter().chain([Step::Event(event)])
        })
    }

    fn item(&self) -> Option<Value> {
        let id = |kind: &str| format!("{kind}_scripted{:06}", self.serial);
        match &self.act {
            Act::Nothing => None,
            Act::Say(text) => Some(json!({
                "type": "message", "id": id("msg"), "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            })),
            Act::Run(command) => Some(json!({
                "type": "function_call", "id": id("fc"), "call_id": id("call"), "name": TOOL,
                "arguments": json!({"cmd": command, "yield_time_ms": 1000}).to_string(), "status": "completed",
            })),
            Act::Compact => Some(json!({
                "type": "compaction", "id": id("cmp"), "encrypted_content": "c2NyaXB0ZWQ=", "status": "completed",
            })),
        }
    }

    fn item_events(&self, item: Option<&Value>) -> Vec<Value> {
        let Some(item) = item else { return Vec::new() };
        let mut added = item.clone();
        added["status"] = "in_progress".into();
        if added["type"] == "message" {
            added["content"] = json!([]);
        }
        let mut events =
            vec![json!({"type": "response.output_item.added", "output_index": 0, "item": added})];
        if let Act::Say(text) = &self.act {
            let of = |mut event: Value| {
                event["item_id"] = item["id"].clone();
                event["output_index"] = 0.into();
                event["content_index"] = 0.into();
                event
            };
            let part = json!({"type": "output_text", "text": "", "annotations": []});
            events.push(of(json!({"type": "response.content_part.added", "part": part})));
            let characters: Vec<char> = text.chars().collect();
            events.extend(characters.chunks(DELTA).map(|piece| {
                let piece: String = piece.iter().collect();
                of(json!({"type": "response.output_text.delta", "delta": piece}))
            }));
        }
        events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
        events
    }
}

/// The client's tool that runs a command.
const TOOL: &str = "exec_command";

fn shortened(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn decide(request: &Value, reply: &str) -> Act {
    if request["generate"] == false {
        return Act::Nothing;
    }
    let schema = &request["text"]["format"]["schema"];
    if let Some(properties) = schema["properties"].as_object() {
        // A request for a thread's title wants JSON; every property is taken for a string.
        let answer: serde_json::Map<String, Value> =
            properties.keys().map(|name| (name.clone(), "Scripted".into())).collect();
        return Act::Say(Value::Object(answer).to_string());
    }
    let items = request["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(last) = items.last() else { return Act::Say(reply.to_owned()) };
    match last["type"].as_str() {
        Some("compaction_trigger") => return Act::Compact,
        Some("function_call_output" | "custom_tool_call_output") => {
            let output = match &last["output"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            return Act::Say(format!("The command printed: {output}"));
        }
        _ => {}
    }
    let offers =
        |tools: &Value| tools.as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == TOOL));
    let has_tool = offers(&request["tools"]) || items.iter().any(|item| offers(&item["tools"]));
    let texts = last["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked = texts.iter().rev().find_map(|part| part["text"].as_str());
    let command = asked.filter(|_| has_tool && last["role"] == "user").and_then(|text| {
        text.lines().find_map(|line| line.split_once("run: ")).map(|(_, command)| command.trim())
    });
    command.map_or_else(|| Act::Say(reply.to_owned()), |command| Act::Run(command.to_owned()))
}
