//! Which events of a provider's stream carry output: the one list for HTTP and for WebSockets.
//!
//! Spec: routing.md, *Failures before the first response byte*. As long as a stream has carried no output, another credential
//! can still answer in place of the one that fails. Providers add events that carry none (keep-alives, queue positions) without
//! notice, so an event of an unknown type counts as silent unless one of its members could hold output.

use crate::scan::{BodyScan, Found, Progress, Wanted};

/// What is read of an event's data: its type, and the members that could hold output or an error.
const WANTED: [Wanted; 6] = [
    Wanted::Top("type"),
    Wanted::Member("delta"),
    Wanted::Member("item"),
    Wanted::Member("content"),
    Wanted::Member("message"),
    Wanted::Member("error"),
];

/// The positions of the members that could hold output.
const OUTPUT_MEMBERS: std::ops::Range<usize> = 1..5;

/// The position of the member that could hold an error.
const ERROR_MEMBER: usize = 5;

/// Events that carry no output though they have members, or though their type does not tell.
const SILENT: [&str; 5] =
    ["ping", "codex.rate_limits", "response.metadata", "response.created", "response.in_progress"];

/// Endings of types that carry no output: `keepalive`, `codex.keepalive`, `response.queued`.
const SILENT_ENDINGS: [&str; 2] = ["keepalive", ".queued"];

/// Events that are errors.
const ERRORS: [&str; 2] = ["error", "response.failed"];

/// Events that carry output, or end a response, in members of other names.
const OUTPUT: [&str; 6] = [
    "message_start",
    "message_delta",
    "message_stop",
    "response.completed",
    "response.incomplete",
    "response.done",
];

/// Beginnings of types that carry output.
const OUTPUT_BEGINNINGS: [&str; 8] = [
    "content_block_",
    "response.output_",
    "response.content_part.",
    "response.reasoning",
    "response.refusal.",
    "response.function_call_arguments.",
    "response.custom_tool_call_input.",
    "response.audio",
];

/// The scanner of an event's data.
pub(crate) type EventScan = BodyScan<6>;

/// A scanner at the beginning of an event's data.
pub(crate) fn event_scan() -> EventScan {
    BodyScan::new(WANTED)
}

/// The type that an event's data states, as far as it has been read.
pub(crate) fn stated_type(scan: &EventScan) -> Option<&str> {
    scan.found(0).text()
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// Nothing that another credential could not say as well.
    Nothing,
    /// Output, or something that cannot be told from it.
    Output,
    /// An error, if its data reads as one; else [`Says::Output`].
    Error,
    /// The same, but [`Says::Nothing`] if its data does not read as an error.
    ErrorOrNothing,
}

/// What one name of an event says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Silent,
    Error,
    Output,
    Unknown,
}

fn class(name: &str) -> Class {
    if SILENT.contains(&name) || SILENT_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        Class::Silent
    } else if ERRORS.contains(&name) {
        Class::Error
    } else if OUTPUT.contains(&name) || OUTPUT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    {
        Class::Output
    } else {
        Class::Unknown
    }
}

/// What an event says whose data has been scanned to its end. `name`: the value of its `event:` field, empty without one or on
/// a WebSocket. Where name and type disagree, the one that says more counts.
pub(crate) fn says(name: &[u8], scan: &EventScan) -> Says {
    let is_json = scan.progress() == Progress::Ended;
    let stated = stated_type(scan).filter(|_| is_json);
    // `message` is what an event is called that has no name.
    let name = match name {
        b"" | b"message" => None,
        // A name that is not text is one that nobody knows.
        name => Some(std::str::from_utf8(name).unwrap_or_default()),
    };
    let classes = [name.map(class), stated.map(class)];
    let has = |wanted| classes.contains(&Some(wanted));
    let has_error = is_json && *scan.found(ERROR_MEMBER) != Found::Nothing;
    if has(Class::Error) {
        return Says::Error;
    }
    if classes == [None, None] {
        // Chat completions have neither names nor types; their errors are recognised by what is in them.
        return Says::Error;
    }
    if has(Class::Output) {
        return Says::Output;
    }
    let may_hold_output =
        !is_json || OUTPUT_MEMBERS.into_iter().any(|member| *scan.found(member) != Found::Nothing);
    match (has(Class::Unknown), may_hold_output, has_error) {
        // A silent name with data that is no JSON is silent; an unknown one may say anything.
        (true, true, false) => Says::Output,
        (true, true, true) => Says::Error,
        (true, false, true) => Says::ErrorOrNothing,
        _ => Says::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, data: &str) -> Says {
        let mut scan = event_scan();
        scan.push(data.as_bytes());
        says(name.as_bytes(), &scan)
    }

    fn typed(kind: &str) -> Says {
        of("", &format!("{{\"type\":\"{kind}\",\"sequence_number\":1}}"))
    }

    #[test]
    fn what_carries_no_output_says_nothing() {
        for kind in [
            "ping",
            "keepalive",
            "codex.keepalive",
            "response.keepalive",
            "response.queued",
            "codex.rate_limits",
            "response.metadata",
            "response.created",
            "response.in_progress",
            "codex.queue_position",
            "something.new",
        ] {
            assert_eq!(typed(kind), Says::Nothing, "{kind}");
            assert_eq!(of(kind, "{}"), Says::Nothing, "{kind}");
            assert_eq!(of(kind, &format!("{{\"type\":\"{kind}\"}}")), Says::Nothing, "{kind}");
        }
        // Silent whatever it has.
        assert_eq!(of("ping", "not json"), Says::Nothing);
        assert_eq!(of("", "{\"type\":\"response.created\",\"message\":1}"), Says::Nothing);
    }

    #[test]
    fn what_may_carry_output_says_so() {
        for kind in [
            "message_start",
            "content_block_start",
            "content_block_stop",
            "message_delta",
            "message_stop",
            "response.output_item.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.added",
            "response.reasoning_summary_part.added",
            "response.completed",
            "response.incomplete",
        ] {
            assert_eq!(typed(kind), Says::Output, "{kind}");
            assert_eq!(of(kind, "{}"), Says::Output, "{kind}");
        }
        for member in ["delta", "item", "content", "message"] {
            assert_eq!(of("", &format!("{{\"type\":\"new\",\"{member}\":{{}}}}")), Says::Output, "{member}");
            assert_eq!(of("new", &format!("{{\"{member}\":\"x\"}}")), Says::Output, "{member}");
            // In another object it is none of the event's.
            assert_eq!(of("new", &format!("{{\"x\":{{\"{member}\":1}}}}")), Says::Nothing, "{member}");
        }
        assert_eq!(of("new", "plain text"), Says::Output);
    }

    #[test]
    fn errors_are_told_by_name_by_type_and_by_their_member() {
        assert_eq!(typed("error"), Says::Error);
        assert_eq!(of("error", "{}"), Says::Error);
        assert_eq!(typed("response.failed"), Says::Error);
        // Neither named nor typed: a chat completion, or its error.
        assert_eq!(of("", "{\"choices\":[]}"), Says::Error);
        assert_eq!(of("message", "[DONE]"), Says::Error);
        assert_eq!(of("", "{\"type\":\"new\",\"error\":{\"code\":\"x\"}}"), Says::ErrorOrNothing);
        assert_eq!(of("", "{\"type\":\"new\",\"error\":null,\"delta\":\"x\"}"), Says::Error);
    }

    #[test]
    fn where_name_and_type_disagree_the_one_that_says_more_counts() {
        assert_eq!(of("ping", "{\"type\":\"content_block_delta\",\"delta\":{}}"), Says::Output);
        assert_eq!(of("content_block_delta", "{\"type\":\"ping\"}"), Says::Output);
        assert_eq!(of("ping", "{\"type\":\"error\",\"error\":{}}"), Says::Error);
        assert_eq!(of("error", "{\"type\":\"ping\"}"), Says::Error);
        assert_eq!(of("ping", "{\"type\":\"new\"}"), Says::Nothing);
        assert_eq!(of("new", "{\"type\":\"ping\"}"), Says::Nothing);
    }
}
