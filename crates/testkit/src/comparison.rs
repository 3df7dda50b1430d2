//! What a client sends, reduced to what a release of it may change, and the difference between two of these: for whoever
//! wants to know what the next release of a client will do to a proxy.
//!
//! Values that differ from run to run (tokens, ids, lengths) are left out; of bodies only the names of their members count.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::headers::Headers;

/// Headers whose values differ from run to run, or from machine to machine.
const VOLATILE: [&str; 21] = [
    "authorization",
    "chatgpt-account-id",
    "content-length",
    "conversation_id",
    "host",
    "sec-websocket-key",
    "session-id",
    "session_id",
    "thread-id",
    "x-api-key",
    "x-claude-code-agent-id",
    "x-claude-code-parent-agent-id",
    "x-claude-code-prev-tool-durations",
    "x-claude-code-prompt-id",
    "x-claude-code-session-id",
    "x-client-request-id",
    "x-codex-turn-metadata",
    "x-codex-turn-state",
    "x-codex-window-id",
    "x-stainless-arch",
    "x-stainless-os",
];

/// Headers that hold a list of betas.
const LISTS: [&str; 2] = ["anthropic-beta", "openai-beta"];

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// A request of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Method and target; the values of its query stay, since clients send the same ones each time.
    pub line: String,
    /// The names of the headers in order and in their own spelling, with their values where these say something.
    pub headers: Vec<(String, Option<String>)>,
    /// The members of each header that is a list, in order.
    pub lists: Vec<(String, Vec<String>)>,
    /// The members of the body, in order, if it is an object.
    pub members: Vec<String>,
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Method or target.
    Line {
        /// As recorded.
        was: String,
        /// As sent.
        is: String,
    },
    /// Something of a kind is there that was not.
    New(&'static str, String),
    /// Something of a kind is not there any more.
    Gone(&'static str, String),
    /// The same things of a kind come in another order.
    Moved(&'static str, Vec<String>),
    /// A header has another value.
    Value {
        /// Its name.
        name: String,
        /// As recorded.
        was: String,
        /// As sent.
        is: String,
    },
}

impl Shape {
    /// The shape of a request. `body`: without a content encoding.
    pub fn new(method: &str, target: &str, headers: &Headers, body: &[u8]) -> Self {
        let mut shape = Self { line: format!("{method} {target}"), ..Self::default() };
        for (name, value) in headers.iter() {
            let lower = name.to_ascii_lowercase();
            let is_list = LISTS.contains(&lower.as_str());
            let shown = !is_list && !VOLATILE.contains(&lower.as_str());
            shape.headers.push((name.to_owned(), shown.then(|| without_versions(value))));
            if is_list {
                let members = value.split(',').map(|member| member.trim().to_owned()).collect();
                shape.lists.push((lower, members));
            }
        }
        shape.members = members_of(body);
        shape
    }

    /// The shape of a message on a WebSocket.
    pub fn message(text: &[u8]) -> Self {
        let kind = serde_json::from_slice::<Value>(text)
            .ok()
            .and_then(|message| message["type"].as_str().map(str::to_owned));
        Self {
            line: format!("message {}", kind.unwrap_or_else(|| "without a type".to_owned())),
            members: members_of(text),
            ..Self::default()
        }
    }

    /// What is not as in `self`.
    pub fn differences(&self, sent: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.line != sent.line {
            found.push(Difference::Line { was: self.line.clone(), is: sent.line.clone() });
        }
        let names = |shape: &Self| shape.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        compare("header", &names(self), &names(sent), &mut found);
        for (name, was) in &self.headers {
            let is = sent.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            if let (Some(was), Some(Some(is))) = (was, is)
                && was != is
            {
                found.push(Difference::Value { name: name.clone(), was: shown(was), is: shown(is) });
            }
        }
        for (kind, name) in [("anthropic-beta", LISTS[0]), ("openai-beta", LISTS[1])] {
            let list = |shape: &Self| {
                shape
                    .lists
                    .iter()
                    .filter(|(of, _)| of == name)
                    .flat_map(|(_, list)| list.clone())
                    .collect::<Vec<_>>()
            };
            compare(kind, &list(self), &list(sent), &mut found);
        }
        compare("body member", &self.members, &sent.members, &mut found);
        found
    }
}

/// How a client took an answer, as far as it can be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tries {
    /// What it was answered.
    pub answer: String,
    /// How often it asked.
    pub count: usize,
}

/// What is not as it was, of how often a client asked.
pub fn compare_tries(was: &Tries, is: &Tries) -> Option<String> {
    (was.count != is.count)
        .then(|| format!("{}: asked {} times, and it was {} times", was.answer, is.count, was.count))
}

/// The lines of requests that one run had and the other had not, whatever their number and order.
pub fn compare_lines(was: &[Shape], is: &[Shape]) -> Vec<Difference> {
    let lines = |shapes: &[Shape]| shapes.iter().map(|shape| shape.line.clone()).collect::<BTreeSet<_>>();
    let (was, is) = (lines(was), lines(is));
    let new = is.difference(&was).map(|line| Difference::New("request", line.clone()));
    let gone = was.difference(&is).map(|line| Difference::Gone("request", line.clone()));
    new.chain(gone).collect()
}

fn compare(kind: &'static str, was: &[String], is: &[String], found: &mut Vec<Difference>) {
    let count = |list: &[String], one: &String| list.iter().filter(|other| *other == one).count();
    let mut told = BTreeSet::new();
    for one in is.iter().filter(|one| count(is, one) > count(was, one)) {
        if told.insert(one) {
            found.push(Difference::New(kind, one.clone()));
        }
    }
    for one in was.iter().filter(|one| count(was, one) > count(is, one)) {
        if told.insert(one) {
            found.push(Difference::Gone(kind, one.clone()));
        }
    }
    // What both have, in the order of each.
    let common = |list: &[String], other: &[String]| {
        list.iter().filter(|one| other.contains(one)).cloned().collect::<Vec<_>>()
    };
    let (before, after) = (common(was, is), common(is, was));
    if before.len() == after.len() && before != after {
        found.push(Difference::Moved(kind, after));
    }
}

fn members_of(body: &[u8]) -> Vec<String> {
    // Read with their order.
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Keys;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, serde::de::IgnoredAny)) = map.next_entry::<String, _>()? {
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_slice::<Keys>(body).map(|keys| keys.0).unwrap_or_default()
}

/// A value with the numbers of versions taken out: those of a client are different in every release.
fn without_versions(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(from.len());
        let (number, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(if number.contains('.') { "#" } else { number });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn shown(value: &str) -> String {
    value.chars().take(MAX_SHOWN).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { was, is } => write!(f, "sent {is}, and it was {was}"),
            Self::New(kind, what) => write!(f, "new {kind}: {what}"),
            Self::Gone(kind, what) => write!(f, "{kind} gone: {what}"),
            Self::Moved(kind, order) => write!(f, "{kind}s in another order: {}", order.join(", ")),
            Self::Value { name, was, is } => write!(f, "header {name} is \"{is}\", and it was \"{was}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn shape(headers: &[(&str, &str)], body: &str) -> Shape {
        Shape::new("POST", "/v1/messages?beta=true", &headers.iter().copied().collect(), body.as_bytes())
    }

    fn told(was: &Shape, is: &Shape) -> Vec<String> {
        was.differences(is).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_from_run_to_run_is_no_difference() {
        let was = shape(
            &[
                ("Authorization", "Bearer a"),
                ("User-Agent", "claude-cli/2.1.332 (external, cli)"),
                ("Content-Length", "9"),
            ],
            r#"{"model":"a","stream":true}"#,
        );
        let is = shape(
            &[
                ("Authorization", "Bearer b"),
                ("User-Agent", "claude-cli/2.1.340 (external, cli)"),
                ("Content-Length", "8"),
            ],
            r#"{"model":"b","stream":false}"#,
        );
        assert_eq!(told(&was, &is), [""; 0]);
    }

    #[test]
    fn headers_betas_and_members_are_compared_with_their_order() {
        let was = shape(
            &[("Accept", "application/json"), ("anthropic-beta", "a-1,b-1,c-1"), ("x-app", "cli")],
            r#"{"model":1,"messages":[],"stream":true}"#,
        );
        let is = shape(
            &[("x-app", "cli"), ("Accept", "*/*"), ("anthropic-beta", "b-1,a-1,d-1"), ("X-New", "1")],
            r#"{"messages":[],"model":1,"diagnostics":{}}"#,
        );
        assert_eq!(
            told(&was, &is),
            [
                "new header: X-New",
                "headers in another order: x-app, Accept, anthropic-beta",
                "header Accept is \"*/*\", and it was \"application/json\"",
                "new anthropic-beta: d-1",
                "anthropic-beta gone: c-1",
                "anthropic-betas in another order: b-1, a-1",
                "new body member: diagnostics",
                "body member gone: stream",
                "body members in another order: messages, model",
            ]
        );
    }

    #[test]
    fn a_header_that_is_sent_twice_is_a_difference() {
        let was = shape(&[("x-app", "cli")], "");
        let is = shape(&[("x-app", "cli"), ("x-app", "cli")], "");
        assert_eq!(told(&was, &is), ["new header: x-app"]);
    }

    #[test]
    fn paths_and_tries_are_compared() {
        let line = |line: &str| Shape { line: line.to_owned(), ..Shape::default() };
        let was = [line("HEAD /"), line("POST /v1/messages")];
        let is = [line("POST /v1/messages"), line("POST /v1/messages"), line("HEAD /api/hello")];
        let told: Vec<_> = compare_lines(&was, &is).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["new request: HEAD /api/hello", "request gone: HEAD /"]);
        let tries = |count| Tries { answer: "400".to_owned(), count };
        assert_eq!(compare_tries(&tries(6), &tries(6)), None);
        assert_eq!(
            compare_tries(&tries(6), &tries(1)).as_deref(),
            Some("400: asked 1 times, and it was 6 times")
        );
    }

    #[test]
    fn the_recorded_releases_differ_as_was_observed() {
        let first = |set: &str, path: &str| {
            let exchanges = fixtures::claude(set).unwrap();
            let exchange =
                exchanges.into_iter().find(|exchange| exchange.request.target.starts_with(path)).unwrap();
            let request = exchange.request;
            Shape::new(&request.method, &request.target, &request.headers, &request.body.unwrap_or_default())
        };
        let (old, new) = (first("gateway_full", "/v1/messages"), first("modes_332", "/v1/messages"));
        assert_eq!(told(&new, &new), [""; 0]);
        let told = told(&old, &new);
        for part in [
            "anthropic-beta gone: context-1m-2025-08-07",
            "new anthropic-beta: per-turn-control-2026-07-01",
            "new anthropic-beta: advanced-tool-use-2025-11-20",
        ] {
            assert!(told.iter().any(|line| line == part), "{part}: {told:#?}");
        }
        assert!(
            !told.iter().any(|line| line.contains("User-Agent") || line.contains("Package-Version")),
            "{told:#?}"
        );
    }
}
