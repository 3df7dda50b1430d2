use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SOCKET: &str = include_str!("../../../../../testkit/fixtures/codex/s_custom-ws.jsonl");
const SOCKET_171: &str = include_str!("../../../../../testkit/fixtures/codex/s_custom-ws_171.jsonl");
const BOTH_171: &str = include_str!("../../../../../testkit/fixtures/codex/w_both_status_171.jsonl");
const TOOL: &str = include_str!("../../../../../testkit/fixtures/codex/w_tool.jsonl");
const METADATA: &str = include_str!("../../../../../testkit/fixtures/codex/x_meta.jsonl");
const TURN_STATE_AGAIN: &str = include_str!("../../../../../testkit/fixtures/codex/y_mid_close_ts.jsonl");
const LIMITS_LATE: &str = include_str!("../../../../../testkit/fixtures/codex/x_rlafter_tool.jsonl");
const REFUSED: &str = include_str!("../../../../../testkit/fixtures/codex/w_429_ev.jsonl");
const INTERACTIVE: &str = include_str!("../../../../../testkit/fixtures/codex/tuib_t.jsonl");
const ALL: [&str; 9] =
    [SOCKET, SOCKET_171, BOTH_171, TOOL, METADATA, TURN_STATE_AGAIN, LIMITS_LATE, REFUSED, INTERACTIVE];

/// The messages of every recorded connection, and whether the client sent them.
fn messages(text: &str) -> Vec<(bool, Value)> {
    let connections = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    connections
        .flat_map(|connection| connection["frames"].as_array().cloned().unwrap_or_default())
        .filter(|frame| frame.get("json").is_some_and(Value::is_object))
        .map(|frame| (frame["dir"] == "c2s", frame["json"].clone()))
        .collect()
}

fn creates(text: &str) -> Vec<Create> {
    let of_client = messages(text).into_iter().filter(|(is_clients, _)| *is_clients);
    of_client
        .map(|(_, message)| match Codex.read_client(message.to_string().as_bytes()) {
            ClientMessage::Create(create) => *create,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn every_recorded_message_is_read_as_a_full_parse_reads_it() {
    let mut seen = [0; 2];
    for (is_clients, message) in ALL.into_iter().flat_map(messages) {
        let text = message.to_string();
        if is_clients {
            seen[0] += 1;
            assert_eq!(Codex.read_client(text.as_bytes()), parsed_client(&message));
        } else {
            seen[1] += 1;
            assert_eq!(Codex.read_upstream(text.as_bytes()), parsed_upstream(&message), "{text}");
        }
    }
    assert!(seen[0] > 15 && seen[1] > 100, "{seen:?}");
}

#[test]
fn a_prewarm_is_followed_by_a_turn_that_goes_on_from_it() {
    let [prewarm, turn] = &creates(SOCKET)[..] else { panic!() };
    assert!(prewarm.is_prewarm && !prewarm.has_previous);
    assert!(!turn.is_prewarm && turn.has_previous);
    assert_eq!(prewarm.model.as_deref(), Some("gpt-5.5"));
    assert!(prewarm.session.is_some() && prewarm.session == turn.session);
    assert_eq!(prewarm.turn_state, TurnState::Absent);
    // The interactive client asks for a tier, and then sends everything again (fact sheet, 3).
    let tiers: Vec<_> = creates(INTERACTIVE).into_iter().filter_map(|create| create.service_tier).collect();
    assert!(tiers.iter().all(|tier| tier == "priority") && !tiers.is_empty(), "{tiers:?}");
}

#[test]
fn turn_state_comes_in_an_event_and_goes_back_after_a_reconnect() {
    let issued: Vec<Secret> = messages(TURN_STATE_AGAIN)
        .iter()
        .filter(|(is_clients, _)| !is_clients)
        .filter_map(|(_, message)| Codex.issued_state(message.to_string().as_bytes()))
        .collect();
    assert_eq!(issued, [Secret::new("ts-ws-f00d0014")]);
    let last = creates(TURN_STATE_AGAIN).pop().unwrap();
    assert_eq!(last.turn_state, TurnState::Value(issued[0].clone()));
    assert!(!last.has_previous);
}

#[test]
fn taking_the_state_out_leaves_every_other_byte() {
    let (_, message) = messages(TURN_STATE_AGAIN).into_iter().rfind(|(is_clients, _)| *is_clients).unwrap();
    for text in [message.to_string(), serde_json::to_string_pretty(&message).unwrap()] {
        let edited = String::from_utf8(Codex.without_turn_state(text.as_bytes()).unwrap()).unwrap();
        let mut expected = message.clone();
        expected["client_metadata"].as_object_mut().unwrap().shift_remove(TURN_STATE_KEY).unwrap();
        let laid_out = if text.contains('\n') {
            serde_json::to_string_pretty(&expected)
        } else {
            serde_json::to_string(&expected)
        };
        assert_eq!(edited, laid_out.unwrap());
        assert_eq!(Codex.without_turn_state(edited.as_bytes()), None);
    }
    assert_eq!(Codex.without_turn_state(b"{\"client_metadata\":"), None);
    assert_eq!(Codex.without_turn_state(b"{\"client_metadata\":7}"), None);
}

#[test]
fn what_could_be_read_in_two_ways_is_not_passed_as_something_unknown() {
    let read = |text: &str| Codex.read_client(text.as_bytes());
    for text in [
        "[]",
        "[\"response.create\"]",
        "\u{feff}{\"type\":\"response.create\"}",
        "/**/{\"type\":\"response.create\"}",
        "\"response.create\"",
        r#"{"type":"response.create""#,
        r#"{"type":"other","type":"response.create"}"#,
        r#"{"type":"other","typ\u0065":"response.create"}"#,
        r#"{"type":7}"#,
        r#"{"type":"response.create","generate":"false"}"#,
        r#"{"type":"response.create","generate":0}"#,
        r#"{"type":"response.create","generate":false,"generate":true}"#,
        r#"{"type":"response.create","model":{"a":1}}"#,
        r#"{"x":NaN,"type":"response.create"}"#,
        r#"{"type":"response.create"} {"type":"response.create"}"#,
    ] {
        assert_eq!(read(text), ClientMessage::Unreadable, "{text}");
    }
    for text in
        ["", " ", "x", "7", r#"{"type":"response.cancel"}"#, "{}", r#"{"x":{"type":"response.create"}}"#]
    {
        assert_eq!(read(text), ClientMessage::Other, "{text}");
    }
    let plain = ClientMessage::Create(Box::default());
    for text in [
        r#" {"type" : "response.create"} "#,
        r#"{"typ\u0065":"response.cre\u0061te","generate":true,"previous_response_id":null,"model":null}"#,
    ] {
        assert_eq!(read(text), plain, "{text}");
    }
    let ClientMessage::Create(create) = read(r#"{"type":"response.create","previous_response_id":7}"#) else {
        panic!()
    };
    assert!(create.has_previous);
}

#[test]
fn a_message_that_may_hold_output_counts_as_output() {
    for text in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"type":"new","delta":"x"}"#,
        r#"{"type":"response.output_item.added"}"#,
        r#"{"type":"error","type":"error"}"#,
        r#"{"type":"error""#,
    ] {
        assert_eq!(Codex.read_upstream(text.as_bytes()), UpstreamEvent::Output, "{text}");
    }
    for text in [
        r#"{"type":"keepalive"}"#,
        r#"{"type":"codex.keepalive","sequence_number":3}"#,
        r#"{"type":"response.queued","response":{"id":"r"}}"#,
        r#"{"type":"new.event","x":{"delta":1}}"#,
    ] {
        assert_eq!(Codex.read_upstream(text.as_bytes()), UpstreamEvent::Preamble, "{text}");
    }
}

/// The same by a full parse, for messages whose objects have every name once.
fn parsed_client(message: &Value) -> ClientMessage {
    let members = match message {
        Value::Object(members) => members,
        Value::Array(_) | Value::String(_) => return ClientMessage::Unreadable,
        Value::Null | Value::Bool(_) | Value::Number(_) => return ClientMessage::Other,
    };
    match members.get("type") {
        Some(Value::String(kind)) if kind == "response.create" => {}
        Some(Value::String(_)) | None => return ClientMessage::Other,
        Some(_) => return ClientMessage::Unreadable,
    }
    let is_prewarm = match members.get("generate") {
        None | Some(Value::Null | Value::Bool(true)) => false,
        Some(Value::Bool(false)) => true,
        Some(_) => return ClientMessage::Unreadable,
    };
    let mut names = [None, None];
    for (slot, name) in names.iter_mut().zip(["model", "service_tier"]) {
        *slot = match members.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return ClientMessage::Unreadable,
        };
    }
    let [model, service_tier] = names;
    let metadata = |name: &str| message.get("client_metadata").and_then(|metadata| metadata.get(name));
    let ids = [metadata("session_id"), members.get("prompt_cache_key")];
    let session = ids
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|id| !id.is_empty() && id.len() <= MAX_SESSION_ID)
        .map(str::to_owned);
    ClientMessage::Create(Box::new(Create {
        is_prewarm,
        model,
        service_tier,
        has_previous: members.get("previous_response_id").is_some_and(|id| !id.is_null()),
        session,
        turn_state: match metadata(TURN_STATE_KEY) {
            None => TurnState::Absent,
            Some(Value::String(state)) => TurnState::Value(Secret::new(state.clone())),
            Some(_) => TurnState::Unclear,
        },
    }))
}

fn parsed_upstream(message: &Value) -> UpstreamEvent {
    match message["type"].as_str() {
        Some("codex.rate_limits") => UpstreamEvent::Limits,
        Some("response.metadata") => UpstreamEvent::Metadata,
        Some("response.created" | "response.in_progress" | "ping") => UpstreamEvent::Preamble,
        Some("error") => UpstreamEvent::Error,
        Some("response.completed") => UpstreamEvent::Completed,
        Some("response.incomplete") => UpstreamEvent::Incomplete,
        Some("response.failed") => UpstreamEvent::Failed,
        Some(kind)
            if !kind.starts_with("response.output_")
                && !kind.starts_with("response.content_part.")
                && ["delta", "item", "content", "message", "error"]
                    .iter()
                    .all(|name| message.get(name).is_none()) =>
        {
            UpstreamEvent::Preamble
        }
        _ => UpstreamEvent::Output,
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "(response.create|response.completed|error|codex.rate_limits|.{0,8})".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(
                "(type|delta|item|generate|model|previous_response_id|client_metadata|session_id|x-codex-turn-state|.{0,4})",
                inner,
                0..7
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// JSON with every character of its strings escaped that may be, and white space wherever it may stand.
fn spelled(value: &Value, choice: &mut impl FnMut() -> bool, out: &mut String) {
    let space = |choice: &mut dyn FnMut() -> bool, out: &mut String| {
        if choice() {
            out.push_str(if choice() { " " } else { "\r\n\t" });
        }
    };
    fn string(text: &str, choice: &mut dyn FnMut() -> bool, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            if choice() || character.is_control() || matches!(character, '"' | '\\') {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            } else {
                out.push(character);
            }
        }
        out.push('"');
    }
    space(choice, out);
    match value {
        Value::String(text) => string(text, choice, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spelled(item, choice, out);
            }
            space(choice, out);
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                space(choice, out);
                string(name, choice, out);
                space(choice, out);
                out.push(':');
                spelled(value, choice, out);
            }
            space(choice, out);
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
    space(choice, out);
}

#[test]
fn the_bound_of_messages_is_the_lower_one() {
    let bounded = |stated: &[&'static str]| -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in stated {
            headers.append(MAX_MESSAGE, HeaderValue::from_static(value));
        }
        Codex.bound_messages(&mut headers, 1000);
        headers.get_all(MAX_MESSAGE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    for (stated, expected) in [
        (&[][..], "1000"),
        (&["1000"], "1000"),
        (&["999"], "999"),
        (&["0"], "0"),
        // As it came.
        (&["0999"], "0999"),
        (&["1001"], "1000"),
        (&["18446744073709551616"], "1000"),
        (&["many"], "1000"),
        (&["1200", "900"], "900"),
        (&["many", "900"], "900"),
        (&["900", "many"], "900"),
    ] {
        assert_eq!(bounded(stated), [expected], "{stated:?}");
    }
}

#[test]
fn an_upgrade_is_refused_by_what_the_client_acts_on() {
    for kind in [
        FaultKind::Authentication,
        FaultKind::Permission,
        FaultKind::NotFound,
        FaultKind::InvalidRequest,
        FaultKind::HeadTooLarge,
    ] {
        assert_eq!(Codex.refusal_status(kind), StatusCode::BAD_REQUEST, "{kind:?}");
    }
    for kind in [FaultKind::UpgradeRequired, FaultKind::Unavailable, FaultKind::UpstreamConnection] {
        assert_eq!(Codex.refusal_status(kind), StatusCode::UPGRADE_REQUIRED, "{kind:?}");
    }
    let passed = (100..600).filter_map(|status| StatusCode::from_u16(status).ok());
    let passed: Vec<_> = passed.filter(|status| Codex.passes_refusal(*status)).collect();
    assert_eq!(passed, [400, 429]);
}

proptest! {
    #[test]
    fn however_it_is_spelled_and_cut(mut value in json_value(), create: bool, choices: Vec<bool>, size in 1_usize..40) {
        if let Value::Object(members) = &mut value
            && create
        {
            members.insert("type".to_owned(), "response.create".into());
        }
        let mut at = 0;
        let mut choice = || {
            at += 1;
            choices.get(at % choices.len().max(1)).copied().unwrap_or(false)
        };
        let mut text = String::new();
        spelled(&value, &mut choice, &mut text);
        prop_assert_eq!(Codex.read_client(text.as_bytes()), parsed_client(&value), "{}", text);
        let mut scan = BodyScan::new(CLIENT);
        text.as_bytes().chunks(size).for_each(|piece| scan.push(piece));
        // What cannot be a request is not scanned.
        if value.is_object() || value.is_array() || value.is_string() {
            prop_assert_eq!(client_message(&scan), parsed_client(&value));
        }
        prop_assert_eq!(Codex.read_upstream(text.as_bytes()), parsed_upstream(&value));
    }

    #[test]
    fn the_state_is_taken_out_of_any_message(mut value in json_value(), at in 0_usize..8, pretty: bool) {
        let state = (TURN_STATE_KEY.to_owned(), Value::from("ts"));
        let mut metadata = match value.as_object_mut().and_then(|members| members.get_mut("client_metadata")) {
            Some(Value::Object(metadata)) => std::mem::take(metadata),
            _ => serde_json::Map::new(),
        };
        metadata.shift_remove(TURN_STATE_KEY);
        let at = at.min(metadata.len());
        let mut with: Vec<(String, Value)> = metadata.clone().into_iter().collect();
        with.insert(at, state);
        let write = |metadata: Vec<(String, Value)>| {
            let message = json!({"type": "response.create", "client_metadata": Value::Object(metadata.into_iter().collect()), "z": 1.50});
            if pretty { serde_json::to_string_pretty(&message) } else { serde_json::to_string(&message) }.unwrap()
        };
        let edited = Codex.without_turn_state(write(with).as_bytes()).unwrap();
        let edited = String::from_utf8(edited).unwrap();
        if metadata.is_empty() {
            prop_assert_eq!(edited.parse::<Value>().unwrap(), write(Vec::new()).parse::<Value>().unwrap());
        } else {
            prop_assert_eq!(edited, write(metadata.into_iter().collect()));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = (Codex.read_client(&bytes), Codex.read_upstream(&bytes), Codex.issued_state(&bytes), Codex.without_turn_state(&bytes));
    }
}
