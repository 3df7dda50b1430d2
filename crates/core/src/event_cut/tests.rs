use proptest::prelude::*;

use super::*;

/// A way to edit that anybody can follow: the data without every `secret`.
static LIMITS: StreamLimits =
    StreamLimits { cut: "codex.rate_limits", edited: &["error", "response.metadata"], edit: without_secret };

fn without_secret(data: &[u8]) -> Edited {
    let text = String::from_utf8_lossy(data);
    if !text.contains("secret") {
        Edited::Unchanged
    } else if text.ends_with('}') {
        Edited::Changed(text.replace("secret", ""))
    } else {
        Edited::Unreadable
    }
}

/// What goes on of `stream` when it comes in pieces of `size`, and what was cut.
fn cut(stream: &[u8], size: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut cutter = EventCut::new(&LIMITS);
    let (mut out, mut events) = (Vec::new(), Vec::new());
    for piece in stream.chunks(size.max(1)) {
        out.extend_from_slice(&cutter.push(&Bytes::copy_from_slice(piece)));
        events.extend(cutter.take_cut());
    }
    out.extend_from_slice(&cutter.end());
    events.extend(cutter.take_cut());
    assert!(cutter.is_empty());
    (out, events)
}

fn check(stream: &str, expected: &str, events: &[&str]) {
    for size in [1, 2, 3, 7, 64, stream.len()] {
        let (out, cut) = cut(stream.as_bytes(), size);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        let cut: Vec<_> = cut.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect();
        assert_eq!(cut, events, "in pieces of {size}: {stream:?}");
    }
}

#[test]
fn events_of_the_type_are_cut_and_nothing_else() {
    let limits = r#"{"type":"codex.rate_limits","rate_limits":{"primary":null}}"#;
    for end in ["\n", "\r\n", "\r"] {
        let event = |name: &str, data: &str| format!("event: {name}{end}data: {data}{end}{end}");
        let first = event("response.created", r#"{"type":"response.created","n":1}"#);
        let cut = event("codex.rate_limits", limits);
        let last = event("response.completed", r#"{"type":"response.completed"}"#);
        check(&format!("{first}{cut}{last}"), &format!("{first}{last}"), &[limits]);
        check(&format!("{cut}{cut}{last}"), &last, &[limits, limits]);
        check(&format!("{first}{last}{cut}"), &format!("{first}{last}"), &[limits]);
    }
    // Either of type and name is enough, wherever the type stands; without a name, too.
    check(&format!("event: x\ndata: {limits}\n\n"), "", &[limits]);
    check(
        "data: {\"a\":[1,{\"type\":\"x\"}],\"type\":\"codex.rate_limits\"}\n\n",
        "",
        &["{\"a\":[1,{\"type\":\"x\"}],\"type\":\"codex.rate_limits\"}"],
    );
    check("event: codex.rate_limits\ndata: {\"type\":\"other\"}\n\nx", "x", &["{\"type\":\"other\"}"]);
    check("event: codex.rate_limits\ndata: no json\n\nx", "x", &["no json"]);
    // The name may follow the data, and stand there twice.
    check("data: {\"type\":\"other\"}\nevent: codex.rate_limits\n\nx", "x", &["{\"type\":\"other\"}"]);
    check("event: a\nevent: codex.rate_limits\ndata: {\"type\":\"b\"}\n\nx", "x", &["{\"type\":\"b\"}"]);
    // Data in several lines.
    check(
        "data: {\ndata: \"type\":\"codex.rate_limits\"}\n\nx",
        "x",
        &["{\n\"type\":\"codex.rate_limits\"}"],
    );
}

#[test]
fn what_is_no_event_goes_on() {
    for stream in [
        "",
        "\n\n\r\n",
        ": comment\n\n: another\r\n\r\n",
        "data: [DONE]\n\n",
        "data\n\nid: 4\nretry: 5\n\n",
        "\u{feff}data: {\"type\":\"a\"}\n\n",
        "data: {\"type\":5,\"x\":\"codex.rate_limits\"}\n\n",
        // Cut short before its type is known, with a name that tells.
        "event: response.completed\ndata: {\"ty",
        "event: codex.rate_lim",
        "data",
        "plain text\nof no kind",
    ] {
        check(stream, stream, &[]);
    }
    // A comment in front of what is cut stays.
    check(": c\ndata: {\"type\":\"codex.rate_limits\"}\n\n", ": c\n", &["{\"type\":\"codex.rate_limits\"}"]);
    // Of one that the stream breaks off in, nothing is left; nor of one of which nothing tells what it is.
    check("data: {\"type\":\"codex.rate_limits\",\"x", "", &["{\"type\":\"codex.rate_limits\",\"x"]);
    check("event: codex.rate_limits\ndata: {\"ty", "", &["{\"ty"]);
    check("data: {\"plan_type\":\"pro\",\"ty", "", &[]);
    check(
        "data: {\"type\":\"a\"}\n\ndata: {\"type\":\"codex.rate_limits\"}\n",
        "data: {\"type\":\"a\"}\n\n",
        &["{\"type\":\"codex.rate_limits\"}"],
    );
}

#[test]
fn events_that_carry_limit_keys_are_edited() {
    for end in ["\n", "\r\n", "\r"] {
        let event = |kind: &str, name: &str, rest: &str| {
            format!("event: {name}{end}id: 1{end}data: {{\"type\":\"{kind}\"{rest}}}{end}{end}")
        };
        let data = |kind: &str| format!("{{\"type\":\"{kind}\",\"x\":\"secret\"}}");
        for kind in ["error", "response.metadata"] {
            for (name, stated) in [(kind, kind), (kind, "other"), ("other", kind)] {
                let given = event(stated, name, ",\"x\":\"secret\"");
                let left = event(stated, name, ",\"x\":\"\"");
                check(
                    &format!("{given}{given}: c{end}"),
                    &format!("{left}{left}: c{end}"),
                    &[&data(stated), &data(stated)],
                );
                let plain = event(stated, name, "");
                check(&plain, &plain, &[]);
            }
        }
    }
    // Several lines of data move together; other lines stay where they are.
    check(
        "\u{feff}data: {\nretry: 1\ndata: \"type\":\"error\",\"x\":\"secret\"}\nid: 2\n\nx",
        "\u{feff}data: {\ndata: \"type\":\"error\",\"x\":\"\"}\nretry: 1\nid: 2\n\nx",
        &["{\n\"type\":\"error\",\"x\":\"secret\"}"],
    );
    // What lacks only its blank line is edited too; what cannot be read is cut.
    check(
        "event: error\ndata: {\"x\":\"secret\"}",
        "event: error\ndata: {\"x\":\"\"}",
        &["{\"x\":\"secret\"}"],
    );
    check("event: error\ndata: {\"x\":\"secret\"\n\nx", "x", &["{\"x\":\"secret\""]);
    check("event: error\ndata: {\"x\":\"secret", "", &["{\"x\":\"secret"]);
}

#[test]
fn an_event_that_would_be_edited_is_cut_if_it_is_too_long() {
    let mut cutter = EventCut::new(&LIMITS);
    let filler = Bytes::from(vec![b'x'; 1024]);
    let mut out = cutter.push(&Bytes::from_static(b"event: error\ndata: {\"text\":\"")).len();
    for _ in 0..=MAX_HELD / 1024 {
        out += cutter.push(&filler).len();
        assert!(cutter.held.len() <= MAX_HELD);
    }
    assert_eq!(out, 0);
    assert_eq!(cutter.push(&Bytes::from_static(b"\"}\n\nx")), &b""[..]);
    assert_eq!(cutter.end(), &b"x"[..]);
}

#[test]
fn comments_and_decided_events_are_not_held() {
    let mut cutter = EventCut::new(&LIMITS);
    for piece in [": keep-alive\n", "\n", "event: a\ndata: {\"type\":\"a\"", ",\"text\":\"x", "y\"}\n", "\n"]
    {
        let piece = Bytes::from_static(piece.as_bytes());
        let passed = cutter.push(&piece);
        assert_eq!(passed, piece);
        assert_eq!(passed.as_ptr(), piece.as_ptr(), "not copied");
        assert!(cutter.is_empty());
    }
    // Without a name it is held to its end, since the name may still follow.
    let whole = Bytes::from_static(b"data: {\"type\":\"a\"}\n\n");
    assert_eq!(cutter.push(&whole.slice(..whole.len() - 1)), &b""[..]);
    assert_eq!(cutter.push(&whole.slice(whole.len() - 1..)), whole);
    assert_eq!(cutter.push(&whole).as_ptr(), whole.as_ptr(), "not copied");
}

#[test]
fn no_more_than_the_bound_is_held() {
    let mut cutter = EventCut::new(&LIMITS);
    let filler = Bytes::from(vec![b'x'; 1024]);
    let mut out = cutter.push(&Bytes::from_static(b"data: {\"text\":\"")).len();
    for _ in 0..=MAX_HELD / 1024 {
        out += cutter.push(&filler).len();
    }
    assert!(cutter.is_empty() && out > MAX_HELD);
    // It goes on to its end, whatever type it turns out to have; and the next is looked at again.
    let rest = Bytes::from_static(
        b"\",\"type\":\"codex.rate_limits\"}\n\ndata: {\"type\":\"codex.rate_limits\"}\n\nend\n\n",
    );
    let passed = cutter.push(&rest);
    assert_eq!(passed, &b"\",\"type\":\"codex.rate_limits\"}\n\nend\n\n"[..]);
    assert_eq!(cutter.take_cut().len(), 1);
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]
}

/// An event, and whether it is to be cut.
fn event() -> impl Strategy<Value = (String, bool)> {
    let body = prop_oneof![
        Just((r#"{"type":"codex.rate_limits","plan":"pro"}"#.to_owned(), true)),
        Just((r#"{"n":{"type":"no"},"type":"codex.rate_limits"}"#.to_owned(), true)),
        "[a-z{}:,\"]{0,20}".prop_map(|text| (format!(r#"{{"type":"response.{text}"#), false)),
        "[ -~]{0,20}".prop_map(|text| (format!("x{text}"), false)),
    ];
    (body, line_end(), any::<bool>()).prop_map(|((body, is_cut), end, is_named)| {
        let name = if is_named { format!("event: any{end}") } else { String::new() };
        (format!("{name}data: {body}{end}{end}"), is_cut)
    })
}

proptest! {
    #[test]
    fn it_is_the_stream_without_these_events(
        events in proptest::collection::vec(event(), 0..8),
        size in 1_usize..40,
    ) {
        // Two line ends in a row are read as one where one ends with the half that the other begins with.
        let joined: String = events.iter().map(|(text, _)| text.as_str()).collect();
        let expected: String = events.iter().filter(|(_, is_cut)| !is_cut).map(|(text, _)| text.as_str()).collect();
        let (out, cut) = cut(joined.as_bytes(), size);
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        prop_assert_eq!(cut.len(), events.iter().filter(|(_, is_cut)| *is_cut).count());
    }

    #[test]
    fn pieces_make_no_difference(stream in "[\\n\\r:a-z{}\"., ]{0,80}", size in 1_usize..9) {
        let whole = cut(stream.as_bytes(), stream.len());
        prop_assert_eq!(cut(stream.as_bytes(), size), whole);
    }
}
