use proptest::prelude::*;

use super::*;

const KIND: &str = "codex.rate_limits";

/// What goes on of `stream` when it comes in pieces of `size`, and what was cut.
fn cut(stream: &[u8], size: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut cutter = EventCut::new(KIND);
    let (mut out, mut events) = (Vec::new(), Vec::new());
    for piece in stream.chunks(size.max(1)) {
        out.extend_from_slice(&cutter.push(&Bytes::copy_from_slice(piece)));
        events.extend(cutter.take_cut());
    }
    out.extend_from_slice(&cutter.end());
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
    // The type decides and not the name, wherever it stands; without a name, too.
    check(&format!("event: x\ndata: {limits}\n\n"), "", &[limits]);
    check(
        "data: {\"a\":[1,{\"type\":\"x\"}],\"type\":\"codex.rate_limits\"}\n\n",
        "",
        &["{\"a\":[1,{\"type\":\"x\"}],\"type\":\"codex.rate_limits\"}"],
    );
    check(
        "event: codex.rate_limits\ndata: {\"type\":\"other\"}\n\n",
        "event: codex.rate_limits\ndata: {\"type\":\"other\"}\n\n",
        &[],
    );
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
        // Cut short before its type is known.
        "event: codex.rate_limits\ndata: {\"ty",
        "plain text\nof no kind",
    ] {
        check(stream, stream, &[]);
    }
    // A comment in front of what is cut stays.
    check(": c\ndata: {\"type\":\"codex.rate_limits\"}\n\n", ": c\n", &["{\"type\":\"codex.rate_limits\"}"]);
    // Of one that the stream breaks off in, nothing is left.
    check("data: {\"type\":\"codex.rate_limits\",\"x", "", &[]);
}

#[test]
fn comments_and_decided_events_are_not_held() {
    let mut cutter = EventCut::new(KIND);
    for piece in [": keep-alive\n", "\n", "data: {\"type\":\"a\"", ",\"text\":\"x", "y\"}\n", "\n"] {
        let piece = Bytes::from_static(piece.as_bytes());
        let passed = cutter.push(&piece);
        assert_eq!(passed, piece);
        assert_eq!(passed.as_ptr(), piece.as_ptr(), "not copied");
        assert!(cutter.is_empty());
    }
}

#[test]
fn no_more_than_the_bound_is_held() {
    let mut cutter = EventCut::new(KIND);
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
