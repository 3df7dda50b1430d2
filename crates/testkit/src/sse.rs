//! Server-sent events as bytes.

use bytes::Bytes;
use serde_json::Value;

/// One named event with JSON data, as both providers send it: `event:`, `data:`, an empty line.
pub fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// An event without a name.
pub fn data(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// A comment, as used to keep a connection alive.
pub fn comment(text: &str) -> Bytes {
    Bytes::from(format!(": {text}\n\n"))
}

/// Splits a stream into its events, each with the empty line that ends it; what is left over comes last.
/// The pieces joined are the stream.
pub fn split(stream: &Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    let mut rest = stream.clone();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") {
        events.push(rest.split_to(at + 2));
    }
    if !rest.is_empty() {
        events.push(rest);
    }
    events
}

/// The names of the events of a stream, in order; events without one are left out.
pub fn names(stream: &[u8]) -> Vec<String> {
    stream
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"event: "))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn splitting_keeps_every_byte() {
        let stream = Bytes::from_static(b"event: a\ndata: 1\n\n: c\n\ndata: cut");
        let events = split(&stream);
        assert_eq!(events.len(), 3);
        assert_eq!(events.concat(), stream);
        assert!(split(&Bytes::new()).is_empty());
    }

    #[test]
    fn events_are_written_in_key_order() {
        let event = event("ping", &json!({"type": "ping", "a": 1}));
        assert_eq!(event, "event: ping\ndata: {\"type\":\"ping\",\"a\":1}\n\n");
        assert_eq!(names(&event), ["ping"]);
        assert_eq!(data("x"), "data: x\n\n");
        assert_eq!(comment("x"), ": x\n\n");
    }
}
