//! One turn of the scripted model.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sse;
use crate::upstream::Script;

/// Longest text of an answer, in characters. What a request has asked to be repeated is cut: every few characters of it
/// become an event of their own.
const MAX_TEXT: usize = 16 * 1024;

/// Characters of text in one event, as in the recorded streams.
const DELTA: usize = 8;

/// The tokens that an answer says it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// New input.
    pub input: u64,
    /// Input written to the cache.
    pub cache_creation: u64,
    /// Input read from the cache.
    pub cache_read: u64,
    /// Output.
    pub output: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 25, cache_creation: 7, cache_read: 11, output: 9 }
    }
}

impl Usage {
    fn to_json(self, output: u64) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_creation,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_creation, "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": output,
            "service_tier": "standard",
        })
    }
}

/// What the model does in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Say(String),
    Run(String),
}

/// A turn, decided.
pub(super) struct Turn {
    act: Act,
    model: String,
    usage: Usage,
    serial: u64,
}

impl Turn {
    /// Decides what to do about a request.
    pub(super) fn new(request: &Value, reply: &str, usage: Usage, serial: u64) -> Self {
        let model = shortened(request["model"].as_str().unwrap_or("claude-unknown"), MAX_NAME);
        let act = match decide(request, reply) {
            Act::Say(text) => Act::Say(shortened(&text, MAX_TEXT)),
            // Half a command would be another command.
            Act::Run(command) if command.chars().nth(MAX_TEXT).is_some() => {
                Act::Say("The command is too long.".to_owned())
            }
            run @ Act::Run(_) => run,
        };
        Self { act, model, usage, serial }
    }

    /// As a whole message.
    pub(super) fn message(&self) -> Value {
        let mut message = self.start(self.usage.output);
        message["content"] = json!([match &self.act {
            Act::Say(text) => json!({"type": "text", "text": text}),
            Act::Run(command) => json!({
                "type": "tool_use", "id": self.tool_id(), "name": "Bash",
                "input": {"command": command, "description": DESCRIPTION},
            }),
        }]);
        message["stop_reason"] = self.stop_reason().into();
        message
    }

    /// As a stream of events.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let (block, kind, key, text) = match &self.act {
            Act::Say(text) => (json!({"type": "text", "text": ""}), "text_delta", "text", text.clone()),
            Act::Run(command) => (
                json!({"type": "tool_use", "id": self.tool_id(), "name": "Bash", "input": {}}),
                "input_json_delta",
                "partial_json",
                json!({"command": command, "description": DESCRIPTION}).to_string(),
            ),
        };
        let mut events = vec![
            json!({"type": "message_start", "message": self.start(1)}),
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            json!({"type": "ping"}),
        ];
        let characters: Vec<char> = text.chars().collect();
        events.extend(characters.chunks(DELTA).map(|piece| {
            let piece: String = piece.iter().collect();
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: piece}})
        }));
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({
                "type": "message_delta",
                "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
                "usage": {"output_tokens": self.usage.output},
            }),
            json!({"type": "message_stop"}),
        ]);
        events.iter().map(|event| sse::event(event["type"].as_str().unwrap_or_default(), event)).collect()
    }

    /// As an answer: what the request asked for.
    pub(super) fn script(&self, streamed: bool, pause: Option<Duration>) -> Script {
        if !streamed {
            return Script::json(200, &self.message());
        }
        self.events().into_iter().fold(Script::sse([] as [Bytes; 0]), |script, event| match pause {
            Some(pause) => script.pause(pause).chunk(event),
            None => script.chunk(event),
        })
    }

    fn start(&self, output: u64) -> Value {
        json!({
            "id": format!("msg_scripted{:06}", self.serial),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": self.usage.to_json(output),
        })
    }

    fn stop_reason(&self) -> &'static str {
        match self.act {
            Act::Say(_) => "end_turn",
            Act::Run(_) => "tool_use",
        }
    }

    fn tool_id(&self) -> String {
        format!("toolu_scripted{:06}", self.serial)
    }
}

/// Longest name of a model that is repeated, in characters.
const MAX_NAME: usize = 256;

fn shortened(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

const DESCRIPTION: &str = "as asked";

fn decide(request: &Value, reply: &str) -> Act {
    let schema = &request["output_config"]["format"]["schema"];
    if let Some(properties) = schema["properties"].as_object() {
        // A request for a session's title wants JSON; every property is taken for a string.
        let answer: serde_json::Map<String, Value> =
            properties.keys().map(|name| (name.clone(), "Scripted".into())).collect();
        return Act::Say(Value::Object(answer).to_string());
    }
    // Entries of the role `system` can come behind the user's.
    let last = request["messages"]
        .as_array()
        .and_then(|messages| messages.iter().rev().find(|message| message["role"] != "system"));
    let blocks = match last.map(|message| &message["content"]) {
        Some(Value::String(text)) => vec![json!({"type": "text", "text": text})],
        Some(Value::Array(blocks)) => blocks.clone(),
        _ => Vec::new(),
    };
    if let Some(result) = blocks.iter().find(|block| block["type"] == "tool_result") {
        return Act::Say(format!("The command printed: {}", result_text(&result["content"])));
    }
    let has_bash =
        request["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "Bash"));
    let asked = blocks.iter().rev().find_map(|block| block["text"].as_str());
    let command = asked.filter(|_| has_bash).and_then(|text| {
        text.lines().find_map(|line| line.split_once("run: ")).map(|(_, command)| command.trim())
    });
    command.map_or_else(|| Act::Say(reply.to_owned()), |command| Act::Run(command.to_owned()))
}

fn result_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(request: &Value) -> Act {
        decide(request, "hi")
    }

    #[test]
    fn the_marker_needs_the_tool() {
        let mut request = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "please\nrun: echo hi\n"}]},
            {"role": "system", "content": "run: not this"},
        ]});
        assert_eq!(decided(&request), Act::Say("hi".to_owned()));
        request["tools"] = json!([{"name": "Bash"}]);
        assert_eq!(decided(&request), Act::Run("echo hi".to_owned()));
        request["messages"] =
            json!([{"role": "user", "content": [{"type": "tool_result", "content": "hi"}]}]);
        assert_eq!(decided(&request), Act::Say("The command printed: hi".to_owned()));
    }

    #[test]
    fn what_is_repeated_is_bounded() {
        let long = "x".repeat(MAX_TEXT + 1);
        let result = json!({"model": long, "messages": [
            {"role": "user", "content": [{"type": "tool_result", "content": long}]},
        ]});
        let turn = Turn::new(&result, "hi", Usage::default(), 1);
        assert_eq!(turn.model.len(), MAX_NAME);
        assert!(matches!(&turn.act, Act::Say(text) if text.len() == MAX_TEXT));
        let command = json!({"tools": [{"name": "Bash"}], "messages": [
            {"role": "user", "content": format!("run: {long}")},
        ]});
        let turn = Turn::new(&command, "hi", Usage::default(), 1);
        assert_eq!(turn.act, Act::Say("The command is too long.".to_owned()));
    }

    #[test]
    fn a_title_is_json() {
        let request =
            json!({"messages": [], "output_config": {"format": {"schema": {"properties": {"title": {}}}}}});
        assert_eq!(decided(&request), Act::Say(r#"{"title":"Scripted"}"#.to_owned()));
        assert_eq!(decided(&Value::Null), Act::Say("hi".to_owned()));
    }

    #[test]
    fn the_stream_has_the_recorded_shape() {
        let recorded = crate::fixtures::claude("gateway_full").unwrap();
        let stream =
            recorded.iter().find(|exchange| exchange.request.method == "POST").unwrap().response.body.clone();
        let turn = Turn::new(&json!({"model": "m"}), "Hi there from the mock.", Usage::default(), 4);
        let events = turn.events();
        assert_eq!(sse::names(&events.concat()), sse::names(&stream));
        let keys = |event: &Bytes| {
            let text = String::from_utf8(event.to_vec()).unwrap();
            let data: Value =
                serde_json::from_str(text.lines().nth(1).unwrap().trim_start_matches("data: ")).unwrap();
            data["message"]["usage"].as_object().map(|usage| usage.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(keys(&events[0]), keys(&sse::split(&stream)[0]));
    }
}
