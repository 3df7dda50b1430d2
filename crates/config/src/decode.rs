//! Reads the tree by the table: every value by its kind, and every problem reported before going on.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};
use trunkline_core::secret::Secret;

use crate::Environment;
use crate::diagnostic::{Report, Spot, alternatives, did_you_mean, quoted};
use crate::environment::{expand, has_reference};
use crate::format::{Format, HEADER_VALUE, NAME};
use crate::json::{Member, Node, Value};
use crate::record::{Decoded, Entry, Record};
use crate::table::{Choices, Field, Kind, Least, Otherwise, Section, Standing, Variants};
use crate::units;

/// Headers that say where a message ends or whom it is for: each hop sets its own, and a second one would contradict it.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A list or an object with free keys may have this many elements: beyond it some checks would take their time.
const MAX_ITEMS: usize = 10_000;

/// Reads nodes into records.
pub(crate) struct Decoder<'a> {
    pub(crate) env: &'a dyn Environment,
    pub(crate) report: &'a mut Report,
    /// Unknown fields of the document that are sing-box's own sections.
    pub(crate) foreign: &'static [&'static str],
}

impl Decoder<'_> {
    /// Reads an object by its section.
    pub(crate) fn record(
        &mut self,
        node: &Node<'_>,
        section: &'static Section,
        spot: Spot,
    ) -> Option<Record> {
        self.record_among(node, section, None, spot)
    }

    /// Reads an object that might have been one of several kinds.
    fn record_among(
        &mut self,
        node: &Node<'_>,
        section: &'static Section,
        variants: Option<&Variants>,
        spot: Spot,
    ) -> Option<Record> {
        let Value::Object(members) = &node.value else {
            self.wrong_type(&spot, "an object", &node.value);
            return None;
        };
        let mut record = Record { spot, section, entries: Vec::new(), stated: Vec::new() };
        for member in self.distinct(members, &record.spot) {
            let Some(field) = section.field(&member.key) else {
                self.unknown(member, section, variants, &record.spot);
                continue;
            };
            let spot = record.spot.member(field.name, member.node.at);
            // In sing-box's configurations null is as good as leaving the field out.
            if matches!(member.node.value, Value::Null) || is_blank(&member.node.value, &field.kind) {
                continue;
            }
            record.stated.push((field.name, spot.clone()));
            if let Some(value) = self.field(&member.node, field, &spot) {
                record.entries.push((field.name, Entry { spot, value }));
            }
        }
        for field in section.fields().filter(|field| field.required && record.stated(field.name).is_none()) {
            self.report.error(&record.spot.absent(field.name), "required, but missing");
        }
        Some(record)
    }

    /// The members without those whose key came before, which are errors.
    fn distinct<'m, 't>(&mut self, members: &'m [Member<'t>], spot: &Spot) -> Vec<&'m Member<'t>> {
        let mut seen = HashSet::new();
        let (first, again): (Vec<_>, Vec<_>) =
            members.iter().partition(|member| seen.insert(member.key.as_str()));
        for member in again {
            self.report.error(
                &spot.member(&member.key, member.key_at),
                "stands here a second time; remove one of them",
            );
        }
        first
    }

    fn unknown(
        &mut self,
        member: &Member<'_>,
        section: &'static Section,
        variants: Option<&Variants>,
        spot: &Spot,
    ) {
        if section.open {
            return;
        }
        let top_level = spot.path.is_empty();
        let spot = spot.member(&member.key, member.key_at);
        if top_level && self.foreign.contains(&member.key.as_str()) {
            self.report.warn(&spot, "this section of sing-box's has no meaning here and is ignored");
            return;
        }
        let mut siblings = variants.iter().flat_map(|variants| variants.sections);
        let hint =
            if let Some((words, _)) = siblings.find(|(_, sibling)| sibling.field(&member.key).is_some()) {
                format!(" here; it belongs to the type {}", alternatives(words))
            } else if self.report.is_full() {
                String::new()
            } else {
                did_you_mean(&member.key, section.fields().map(|field| field.name))
            };
        self.report.error(&spot, format!("unknown field{hint}"));
    }

    fn field(&mut self, node: &Node<'_>, field: &'static Field, spot: &Spot) -> Option<Decoded> {
        // `client_authentication: "no"` asks for nothing, though it is no zero value.
        let idle = node.value.is_idle() || matches!(&node.value, Value::Text(text) if text == "no");
        match field.standing {
            Standing::Read => self.value(node, &field.kind, spot),
            // Outbounds answer for such fields only if they are used: see `check::outbounds`.
            Standing::Harmless | Standing::Refused(_) => Some(Decoded::Opaque { idle }),
        }
    }

    fn value(&mut self, node: &Node<'_>, kind: &'static Kind, spot: &Spot) -> Option<Decoded> {
        match kind {
            Kind::Any => Some(Decoded::Opaque { idle: node.value.is_idle() }),
            Kind::Bool => match node.value {
                Value::Bool(value) => Some(Decoded::Bool(value)),
                _ => self.wrong_type(spot, "true or false", &node.value),
            },
            Kind::Integer { min, max } => self.integer(node, *min, *max, spot),
            Kind::Number(least) => self.number(node, *least, spot),
            Kind::Bytes { min, max } => self.bytes(node, *min, *max, spot),
            Kind::Text(format) => self.text(node, format, spot),
            Kind::Choice(choices) => self.choice(node, choices, spot),
            Kind::Listable(item) => self.listable(node, item, spot),
            Kind::Headers => self.headers(node, spot),
            Kind::Object(section) => self.record(node, section, spot.clone()).map(Decoded::Record),
            Kind::TagOrObject(section) => match &node.value {
                Value::Object(_) => self.record(node, section, spot.clone()).map(Decoded::Record),
                Value::Text(_) => self.text(node, &NAME, spot),
                other => self.wrong_type(spot, "a tag, or an object", other),
            },
            Kind::Objects(variants) => self.objects(node, variants, spot),
        }
    }

    /// Reports a wrong type; there is no value then.
    fn wrong_type(&mut self, spot: &Spot, expected: &str, found: &Value<'_>) -> Option<Decoded> {
        self.report.error(spot, format!("expected {expected}, found {}", found.describe()));
        None
    }

    fn few_enough(&mut self, items: usize, spot: &Spot) -> bool {
        if items > MAX_ITEMS {
            self.report.error(spot, format!("has {items} elements; at most {MAX_ITEMS} are allowed"));
        }
        items <= MAX_ITEMS
    }

    fn integer(&mut self, node: &Node<'_>, min: u64, max: u64, spot: &Spot) -> Option<Decoded> {
        let expected = match max {
            u64::MAX => "a whole number, 0 or more".to_owned(),
            _ => format!("a whole number from {min} to {max}"),
        };
        let Value::Number(text) = node.value else {
            return self.wrong_type(spot, &expected, &node.value);
        };
        let value = text.parse().ok().filter(|value| (min..=max).contains(value));
        if value.is_none() {
            self.report.error(spot, format!("expected {expected}, found {}", shortened(text)));
        }
        value.map(Decoded::Integer)
    }

    fn number(&mut self, node: &Node<'_>, least: Least, spot: &Spot) -> Option<Decoded> {
        let expected = match least {
            Least::Zero => "a number, 0 or more",
            Least::AboveZero => "a number above 0",
        };
        let Value::Number(text) = node.value else {
            return self.wrong_type(spot, expected, &node.value);
        };
        let enough = |value: &f64| match least {
            Least::Zero => *value >= 0.0,
            Least::AboveZero => *value > 0.0,
        };
        let value = text.parse().ok().filter(|value: &f64| value.is_finite()).filter(enough);
        if value.is_none() {
            self.report.error(spot, format!("expected {expected}, found {}", shortened(text)));
        }
        value.map(Decoded::Number)
    }

    fn bytes(&mut self, node: &Node<'_>, min: u64, max: u64, spot: &Spot) -> Option<Decoded> {
        let expected =
            format!("a size such as \"64MiB\", from {} to {}", units::show_size(min), units::show_size(max));
        let (value, found) = match &node.value {
            Value::Number(text) => (text.parse().ok(), shortened(text).to_owned()),
            Value::Text(raw) => (units::size(&self.expanded(raw, spot)?), quoted(raw)),
            other => return self.wrong_type(spot, &expected, other),
        };
        let value = value.filter(|value| (min..=max).contains(value));
        if value.is_none() {
            self.report.error(spot, format!("expected {expected}, found {found}"));
        }
        value.map(Decoded::Integer)
    }

    /// The string with its references replaced.
    fn expanded(&mut self, raw: &str, spot: &Spot) -> Option<String> {
        match expand(raw, self.env) {
            Ok(text) => Some(text),
            Err(reason) => {
                self.report.error(spot, reason);
                None
            }
        }
    }

    fn text(&mut self, node: &Node<'_>, format: &Format, spot: &Spot) -> Option<Decoded> {
        let Value::Text(raw) = &node.value else {
            return self.wrong_type(spot, format.expected, &node.value);
        };
        let text = self.expanded(raw, spot)?;
        match (format.read)(&text, self.env) {
            Ok(scalar) => Some(Decoded::Scalar(scalar)),
            Err(reason) => {
                // What is shown is what stands in the file: a reference, not what it stands for.
                let found = if format.shown { format!(", found {}", quoted(raw)) } else { String::new() };
                let reason = if reason.is_empty() { String::new() } else { format!("{reason}; ") };
                let hint = if has_reference(raw) { " after replacing its references" } else { "" };
                self.report.error(spot, format!("{reason}expected {}{found}{hint}", format.expected));
                None
            }
        }
    }

    fn choice(&mut self, node: &Node<'_>, choices: &'static Choices, spot: &Spot) -> Option<Decoded> {
        let expected = alternatives(choices.words);
        let Value::Text(raw) = &node.value else {
            return self.wrong_type(spot, &expected, &node.value);
        };
        let text = self.expanded(raw, spot)?;
        let choice = choices.find(&text);
        if choice.is_none() {
            let hint = if has_reference(raw) {
                String::new()
            } else {
                did_you_mean(raw, choices.words.iter().copied())
            };
            self.report.error(spot, format!("expected {expected}, found {}{hint}", quoted(raw)));
        }
        choice.map(Decoded::Choice)
    }

    fn listable(&mut self, node: &Node<'_>, item: &'static Kind, spot: &Spot) -> Option<Decoded> {
        let Value::List(nodes) = &node.value else {
            let value = self.value(node, item, spot)?;
            return Some(Decoded::List(vec![Entry { spot: spot.clone(), value }]));
        };
        if !self.few_enough(nodes.len(), spot) {
            return None;
        }
        let mut items = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let spot = spot.element(index, node.at);
            if let Some(value) = self.value(node, item, &spot) {
                items.push(Entry { spot, value });
            }
        }
        Some(Decoded::List(items))
    }

    fn headers(&mut self, node: &Node<'_>, spot: &Spot) -> Option<Decoded> {
        let Value::Object(members) = &node.value else {
            return self.wrong_type(spot, "an object of header names and values", &node.value);
        };
        if !self.few_enough(members.len(), spot) {
            return None;
        }
        let mut headers: Vec<(String, Vec<Secret>)> = Vec::new();
        for member in self.distinct(members, spot) {
            let value_spot = spot.member(&member.key, member.node.at);
            let key_spot = spot.member(&member.key, member.key_at);
            let Ok(name) = HeaderName::from_bytes(member.key.as_bytes()) else {
                self.report
                    .error(&key_spot, "not a header name; letters, digits and -_.!#$%&'*+^`|~ are allowed");
                continue;
            };
            if FRAMING.contains(&name.as_str()) {
                self.report
                    .error(&key_spot, "this header belongs to the connection and cannot be set; remove it");
                continue;
            }
            if headers.iter().any(|(known, _)| known == name.as_str()) {
                self.report
                    .error(&key_spot, "this header stands here in another spelling too; remove one of them");
                continue;
            }
            let values = self.header_values(&member.node, &value_spot);
            headers.push((name.as_str().to_owned(), values));
        }
        Some(Decoded::Headers(headers))
    }

    fn header_values(&mut self, node: &Node<'_>, spot: &Spot) -> Vec<Secret> {
        let single = std::slice::from_ref(node);
        let (nodes, listed) = match &node.value {
            Value::List(nodes) => (nodes.as_slice(), true),
            _ => (single, false),
        };
        if nodes.is_empty() {
            self.report.error(spot, "expected at least one value");
        }
        let mut values = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let spot = if listed { spot.element(index, node.at) } else { spot.clone() };
            let Value::Text(raw) = &node.value else {
                let expected = if listed { "a string" } else { "a string or a list of strings" };
                self.wrong_type(&spot, expected, &node.value);
                continue;
            };
            let Some(text) = self.expanded(raw, &spot) else { continue };
            if HeaderValue::from_str(&text).is_ok_and(|value| value.to_str().is_ok()) {
                values.push(Secret::new(text));
            } else {
                self.report.error(&spot, format!("expected {}", HEADER_VALUE.expected));
            }
        }
        values
    }

    fn objects(&mut self, node: &Node<'_>, variants: &'static Variants, spot: &Spot) -> Option<Decoded> {
        let Value::List(nodes) = &node.value else {
            return self.wrong_type(spot, "a list of objects", &node.value);
        };
        if !self.few_enough(nodes.len(), spot) {
            return None;
        }
        let mut items = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let spot = spot.element(index, node.at);
            let section = self.variant(node, variants, &spot);
            let record =
                section.and_then(|section| self.record_among(node, section, Some(variants), spot.clone()));
            if let Some(record) = record {
                items.push(Entry { spot, value: Decoded::Record(record) });
            }
        }
        Some(Decoded::List(items))
    }

    /// The section that an element is of; `None` if it is nobody's, or somebody else's.
    fn variant(&mut self, node: &Node<'_>, variants: &Variants, spot: &Spot) -> Option<&'static Section> {
        let first = variants.sections.first().map(|(_, section)| *section);
        let Value::Object(members) = &node.value else {
            // Reported as a wrong type when it is read.
            return first;
        };
        if !variants.typed() {
            return first;
        }
        let stated = members.iter().find(|member| member.key == "type" && !is_unset(&member.node.value));
        let raw = match (stated.map(|member| &member.node.value), variants.default) {
            (Some(Value::Text(raw)), _) => raw.as_str(),
            // Reported as a wrong type when it is read.
            (Some(_), _) => return first,
            (None, Some(default)) => default,
            (None, None) => {
                let words: Vec<_> = variants.words().collect();
                let message = format!("required, but missing; one of {}", words.join(", "));
                self.report.error(&spot.absent("type"), message);
                return None;
            }
        };
        // A reference that cannot be replaced is reported when it is read.
        let Ok(text) = expand(raw, self.env) else { return first };
        let found = variants.sections.iter().find(|(words, _)| words.contains(&text.as_str()));
        match (found, &variants.otherwise) {
            // An unknown one that is an error is reported when its field `type` is read.
            (Some((_, section)), _) | (None, Otherwise::Error(section) | Otherwise::Keep(section)) => {
                Some(section)
            }
            (None, Otherwise::Ignore) => {
                let at = stated.map_or(spot.at, |member| member.node.at);
                let hint = did_you_mean(raw, variants.words());
                let message = format!("{} is no service of ours and is ignored{hint}", quoted(raw));
                self.report.warn(&spot.member("type", at), message);
                None
            }
        }
    }
}

/// Whether the file leaves a value out in so many words.
fn is_unset(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

/// Whether `value` is an empty string that stands for an unset field.
fn is_blank(value: &Value<'_>, kind: &Kind) -> bool {
    let unset = match kind {
        Kind::Choice(_) | Kind::Any => true,
        Kind::Text(format) | Kind::Listable(Kind::Text(format)) => format.blank_is_unset,
        _ => false,
    };
    unset && is_unset(value)
}

/// A number from the file for a message: it may have any length.
fn shortened(number: &str) -> &str {
    const SHOWN: usize = 24;
    number.get(..SHOWN).unwrap_or(number)
}

#[cfg(test)]
mod tests;
