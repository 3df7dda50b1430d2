use proptest::prelude::*;

use super::*;
use crate::event_stream::MAX_NAME;
use crate::failure::MAX_ERROR_BODY;

fn begin(stream: &str) -> Beginning {
    let whole = read(stream.as_bytes(), stream.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(read(stream.as_bytes(), size), whole, "in pieces of {size}: {stream}");
    }
    whole.0
}

const MOST: u64 = Hold::CODEX.bytes;

fn read(stream: &[u8], size: usize) -> (Beginning, u64) {
    let mut scan = FirstEvent::new(MOST);
    stream.chunks(size).for_each(|piece| {
        scan.push(piece);
    });
    (scan.beginning().clone(), scan.seen())
}

fn error(kind: Option<&str>, code: Option<&str>, message: Option<&str>, status: Option<u16>) -> Beginning {
    Beginning::Error(ErrorFields {
        kind: kind.map(str::to_owned),
        code: code.map(str::to_owned),
        message: message.map(str::to_owned),
        status,
        ..ErrorFields::default()
    })
}

#[test]
fn what_tells_nothing_is_waited_through() {
    for stream in [
        "",
        ": keep-alive\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "data: {\"type\":\"response.created\",\"response\":{\"type\":\"x\"}}\n\n",
        "event: response.in_progress\ndata: {}\n\n: x\n\ndata: {\"type\":\"codex.rate_limits\"}\n\n",
        "data: {\"a\":1,\"type\":\"response.metadata\"}\n\n",
        "event: codex.keepalive\ndata: {}\n\ndata: {\"type\":\"keepalive\"}\n\ndata: {\"type\":\"response.queued\",\"n\":1}\n\n",
        "event: pingpong\ndata: {}\n\n",
        "data: {\"type\":\"new.event\",\"error\":null}\n\n",
        // Not complete yet.
        "event: message_start\ndata: {\"type\":\"message_start\"}\n",
        // No data, so no event.
        "event: error\n\nid: 1\nretry: 10\n\n",
    ] {
        assert_eq!(begin(stream), Beginning::Undecided, "{stream}");
    }
}

#[test]
fn the_first_telling_event_releases_the_head() {
    for stream in [
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n",
        ": x\r\n\r\nevent: ping\r\ndata: {}\r\n\r\ndata: {\"type\":\"response.output_item.added\"}\r\n\r\n",
        "\u{feff}data: [DONE]\n\n",
        "data: {\"id\":\"x\",\"choices\":[]}\n\n",
        "data\n\n",
        "data: {\"type\":\"keepalive\"}\n\ndata: {\"type\":\"new.event\",\"delta\":\"x\"}\n\n",
        "event: ping\ndata: {\"type\":\"content_block_delta\",\"delta\":{}}\n\n",
        // Errors that say nothing are passed on.
        "event: error\ndata: overloaded\n\n",
    ] {
        assert_eq!(begin(stream), Beginning::Release, "{stream}");
    }
}

#[test]
fn an_error_is_told_with_what_it_says() {
    let overloaded = error(Some("overloaded_error"), None, Some("Overloaded"), None);
    let stream = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    assert_eq!(begin(stream), overloaded);
    assert_eq!(begin(&format!("\u{feff}: x\n\nevent: ping\ndata: {{}}\n\n{stream}")), overloaded);
    assert_eq!(begin(&stream.replace('\n', "\r")), overloaded);
    assert_eq!(
        begin(
            "data: {\"type\":\"response.failed\",\ndata: \"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n"
        ),
        error(None, Some("server_error"), Some("m"), None)
    );
    assert_eq!(
        begin(
            "data:{\"type\":\"error\",\"status_code\":429,\"error\":{\"type\":\"usage_limit_reached\"}}\n\n"
        ),
        error(Some("usage_limit_reached"), None, None, Some(429))
    );
    assert_eq!(begin("data: {\"error\":{\"code\":\"x\"}}\n\n"), error(None, Some("x"), None, None));
    // Whichever of name and type says so, and behind whatever tells nothing.
    for stream in [
        "event: ping\ndata: {\"type\":\"error\",\"error\":{\"code\":\"x\"}}\n\n",
        "event: error\ndata: {\"type\":\"ping\",\"error\":{\"code\":\"x\"}}\n\n",
        "data: {\"type\":\"keepalive\"}\n\ndata: {\"type\":\"new.error\",\"error\":{\"code\":\"x\"}}\n\n",
    ] {
        assert_eq!(begin(stream), error(None, Some("x"), None, None), "{stream}");
    }
    // After a telling event an error is the stream's own.
    assert_eq!(begin(&format!("event: message_start\ndata: {{}}\n\n{stream}")), Beginning::Release);
}

#[test]
fn an_end_before_anything_was_told_is_a_lost_connection() {
    let mut scan = FirstEvent::new(MOST);
    scan.push(b"event: ping\ndata: {}\n\nevent: err");
    assert_eq!(scan.end(), &Beginning::Lost);
    assert_eq!(scan.push(b"event: message_start\ndata: {}\n\n"), &Beginning::Lost);
    assert_eq!(FirstEvent::new(MOST).end(), &Beginning::Lost);
    let mut told = FirstEvent::new(MOST);
    told.push(b"data: {\"type\":\"message_start\"}\n\n");
    assert_eq!(told.end(), &Beginning::Release);
}

#[test]
fn an_error_that_lacks_only_its_blank_line_counts() {
    let event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}";
    let overloaded = error(Some("overloaded_error"), None, None, None);
    let end = |stream: &str| {
        let mut scan = FirstEvent::new(MOST);
        assert_eq!(scan.push(stream.as_bytes()), &Beginning::Undecided);
        scan.end().clone()
    };
    for line_end in ["", "\n", "\r", "\r\n"] {
        assert_eq!(end(&format!("{event}{line_end}")), overloaded);
        assert_eq!(end(&format!(": x\n\n{event}{line_end}")), overloaded);
    }
    // Cut short of more than that, or no error.
    assert_eq!(end(&event[..event.len() - 1]), Beginning::Lost);
    for other in
        ["data: {\"type\":\"message_start\"", "data: {\"type\":\"message_start\"}\n", "data: [DONE]", "data"]
    {
        assert_eq!(end(other), Beginning::Lost);
    }
}

#[test]
fn the_whole_error_event_is_kept() {
    let data =
        r#"{"type":"error","status":429,"error":{"code":"x","resets_at":17},"headers":{"retry-after":"5"}}"#;
    let mut scan = FirstEvent::new(MOST);
    scan.push(format!("data: {data}\n\nevent: more\ndata: x\n\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(scan.error_event()), data);
    assert_eq!(FirstEvent::new(MOST).error_event(), b"");
}

#[test]
fn a_body_that_no_header_calls_a_stream_is_one_if_it_begins_like_one() {
    let begin = |stream: &str| {
        let mut scan = FirstEvent::unstated(MOST);
        scan.push(stream.as_bytes());
        (scan.beginning().clone(), scan.is_stream())
    };
    assert_eq!(begin("data: {\"type\":\"ping\"}\n\n"), (Beginning::Undecided, true));
    assert_eq!(begin("event: message_start\ndata: {}\n\n"), (Beginning::Release, true));
    assert_eq!(begin("data: {\"error\":{\"code\":\"x\"}}\n\n").0, error(None, Some("x"), None, None));
    assert_eq!(begin("{\"type\":\"message\"}"), (Beginning::NoStream, false));
    assert_eq!(begin("<html>"), (Beginning::NoStream, false));
    assert_eq!(begin("dat"), (Beginning::Undecided, false));
}

#[test]
fn no_more_is_held_than_is_allowed() {
    let mut scan = FirstEvent::new(MOST);
    let piece = vec![b'x'; 64 * 1024];
    scan.push(b"data: {\"type\":\"response.created\",\"x\":\"");
    while scan.push(&piece) == &Beginning::Undecided {
        assert!(scan.reader.kept().1 <= 2 * MAX_ERROR_BODY && scan.seen() < MOST);
    }
    assert_eq!((scan.beginning(), scan.seen()), (&Beginning::Release, MOST));
    // A long name is none, and takes no room.
    let mut scan = FirstEvent::new(MOST);
    scan.push(b"event: ");
    scan.push(&piece);
    assert!(scan.reader.kept().0 <= MAX_NAME + 1);
    assert_eq!(scan.push(b"\ndata: {}\n\n"), &Beginning::Undecided);
    assert_eq!(scan.push(b"data: {\"type\":\"message_start\"}\n\n"), &Beginning::Release);
    // An error too long to be read is passed on.
    let long =
        format!("event: error\ndata: {{\"error\":{{\"type\":\"{}\"}}}}\n\n", "x".repeat(MAX_ERROR_BODY));
    assert_eq!(read(long.as_bytes(), 1_000).0, Beginning::Release);
    // What tells nothing may be long, since its type comes first or its name does.
    let created =
        format!("data: {{\"type\":\"response.created\",\"x\":\"{}\"}}\n\n", "x".repeat(2 * MAX_ERROR_BODY));
    assert_eq!(read(created.as_bytes(), 1_000).0, Beginning::Undecided);
}

/// The same by splitting a whole text into lines, as far as the text goes.
fn by_lines(stream: &str) -> Beginning {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = stream.split('\n').collect();
    lines.pop();
    let (mut name, mut data): (String, Option<Vec<String>>) = (String::new(), None);
    for line in lines {
        if line.is_empty() {
            let event = std::mem::take(&mut name);
            let Some(data) = data.take().map(|lines| lines.join("\n")) else { continue };
            let json: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&data).ok();
            let named = Some(event).filter(|event| !matches!(event.as_str(), "" | "message"));
            let stated = json.as_ref().and_then(|json| json.get("type")?.as_str()).map(str::to_owned);
            let names = [named, stated];
            let has = |one: &[&str]| names.iter().flatten().any(|name| one.contains(&name.as_str()));
            let has_member = |name: &str| json.as_ref().is_some_and(|json| json.contains_key(name));
            let known = [
                "ping",
                "response.created",
                "response.in_progress",
                "message_start",
                "error",
                "response.failed",
            ];
            let is_unknown = names.iter().flatten().any(|name| !known.contains(&name.as_str()));
            let error = ErrorFields::from_json(data.as_bytes()).map(Beginning::Error);
            if has(&["error", "response.failed"]) || names == [None, None] {
                return error.unwrap_or(Beginning::Release);
            }
            if has(&["message_start"]) {
                return Beginning::Release;
            }
            if is_unknown && (json.is_none() || has_member("message")) {
                return error.filter(|_| has_member("error")).unwrap_or(Beginning::Release);
            }
            if let Some(error) = error.filter(|_| is_unknown && has_member("error")) {
                return error;
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => data.get_or_insert_default().push(value.to_owned()),
            _ => {}
        }
    }
    Beginning::Undecided
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => Just(": comment".to_owned()),
        1 => Just("id: 7".to_owned()),
        1 => Just("data".to_owned()),
        3 => prop::sample::select(vec!["ping", "error", "message", "message_start", "response.created", "new", ""])
            .prop_map(|name| format!("event: {name}")),
        4 => prop::sample::select(vec![
            "{}",
            "{\"type\":\"ping\"}",
            "{\"type\":\"response.created\",\"response\":{\"id\":\"x\"}}",
            "{\"type\":\"response.in_progress\"}",
            "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}",
            "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"c\"}}}",
            "{\"error\":{\"message\":\"m\"}}",
            "{\"type\":\"new\"}",
            "{\"type\":\"new\",\"message\":1}",
            "{\"type\":\"new\",\"error\":{\"code\":\"c\"}}",
            "{\"type\":\"message_start\"}",
            "[DONE]",
        ]).prop_map(|data| format!("data:{data}")),
        1 => ".{0,12}",
    ]
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        lines in prop::collection::vec((line(), prop::sample::select(vec!["\n", "\r\n", "\r"])), 0..24),
        mark: bool,
        size in 1_usize..40,
        cut: prop::sample::Index,
    ) {
        let mut stream = if mark { "\u{feff}".to_owned() } else { String::new() };
        for (line, end) in &lines {
            stream.push_str(line);
            stream.push_str(end);
        }
        // A trailing CR could be half of a line end: the reference reads it as one, and so does the scanner.
        let whole = read(stream.as_bytes(), stream.len().max(1));
        prop_assert_eq!(&read(stream.as_bytes(), 1), &whole);
        prop_assert_eq!(&read(stream.as_bytes(), size), &whole);
        let (left, right) = stream.as_bytes().split_at(cut.index(stream.len() + 1));
        let mut scan = FirstEvent::new(MOST);
        scan.push(left);
        scan.push(&[]);
        scan.push(right);
        prop_assert_eq!(&(scan.beginning().clone(), scan.seen()), &whole);
        prop_assert_eq!(by_lines(&stream), whole.0);
    }

    #[test]
    fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..40) {
        prop_assert_eq!(read(&bytes, size), read(&bytes, bytes.len().max(1)));
    }
}
