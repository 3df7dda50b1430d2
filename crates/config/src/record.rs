//! What was read of the file: values of the right type, each with its place.
//!
//! A field that was wrong is not there any more; it was reported, and the checks go on without it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use trunkline_core::secret::{Secret, TokenDigest};

use crate::diagnostic::Spot;
use crate::format::Scalar;
use crate::table::Section;
use crate::url::BaseUrl;

/// An object whose fields were read.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) spot: Spot,
    pub(crate) section: &'static Section,
    /// The fields that were read, in the order of the file.
    pub(crate) entries: Vec<(&'static str, Entry)>,
    /// The fields that the file states, whether or not they could be read.
    pub(crate) stated: Vec<(&'static str, Spot)>,
}

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spot: Spot,
    pub(crate) value: Decoded,
}

/// A value.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Of a field that is not read any further.
    Opaque {
        idle: bool,
    },
    Bool(bool),
    Integer(u64),
    Number(f64),
    Scalar(Scalar),
    Choice(&'static str),
    List(Vec<Entry>),
    Headers(Vec<(String, Vec<Secret>)>),
    Record(Record),
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Section({})", self.name)
    }
}

// === impl Decoded ===

impl Decoded {
    /// Whether this says no more than leaving the field out.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Opaque { idle } => *idle,
            Self::Bool(value) => !value,
            Self::Integer(value) => *value == 0,
            Self::Number(value) => *value == 0.0,
            Self::Scalar(Scalar::Duration(value)) => value.is_zero(),
            Self::List(items) => items.is_empty(),
            Self::Headers(headers) => headers.is_empty(),
            Self::Scalar(_) | Self::Choice(_) | Self::Record(_) => false,
        }
    }
}

// === impl Record ===

impl Record {
    fn value(&self, name: &str) -> Option<&Decoded> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// The field `name`, if it was read.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        // A name that the table does not have is an error of this crate, which any test that reads it shows.
        debug_assert!(
            self.section.open || self.section.field(name).is_some(),
            "{}.{name}",
            self.section.name
        );
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, entry)| entry)
    }

    /// Where the file states the field `name`, readable or not.
    pub(crate) fn stated(&self, name: &str) -> Option<&Spot> {
        self.stated.iter().find(|(known, _)| *known == name).map(|(_, spot)| spot)
    }

    /// Where to report something about the field `name`, stated or not.
    pub(crate) fn spot_of(&self, name: &str) -> Spot {
        self.stated(name).cloned().unwrap_or_else(|| self.spot.absent(name))
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Decoded::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Decoded::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Decoded::Number(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn choice(&self, name: &str) -> Option<&'static str> {
        match self.value(name)? {
            Decoded::Choice(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Text(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Secret(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Path(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn address(&self, name: &str) -> Option<IpAddr> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Address(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Duration(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn url(&self, name: &str) -> Option<&BaseUrl> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Url(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn timestamp(&self, name: &str) -> Option<Timestamp> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Timestamp(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn digest(&self, name: &str) -> Option<TokenDigest> {
        match self.value(name)? {
            Decoded::Scalar(Scalar::Digest(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn headers(&self, name: &str) -> &[(String, Vec<Secret>)] {
        match self.value(name) {
            Some(Decoded::Headers(headers)) => headers,
            _ => &[],
        }
    }

    pub(crate) fn record(&self, name: &str) -> Option<&Record> {
        match self.value(name)? {
            Decoded::Record(record) => Some(record),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> &[Entry] {
        match self.value(name) {
            Some(Decoded::List(items)) => items,
            _ => &[],
        }
    }

    /// The objects of a list.
    pub(crate) fn records(&self, name: &str) -> impl Iterator<Item = &Record> {
        self.list(name).iter().filter_map(|entry| match &entry.value {
            Decoded::Record(record) => Some(record),
            _ => None,
        })
    }

    /// The strings of a list, with their places.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = (&str, &Spot)> {
        self.list(name).iter().filter_map(|entry| match &entry.value {
            Decoded::Scalar(Scalar::Text(text)) => Some((text.as_str(), &entry.spot)),
            _ => None,
        })
    }

    /// The strings of a list.
    pub(crate) fn owned_texts(&self, name: &str) -> Vec<String> {
        self.texts(name).map(|(text, _)| text.to_owned()).collect()
    }

    /// The secret strings of a list.
    pub(crate) fn secrets(&self, name: &str) -> impl Iterator<Item = &Secret> {
        self.list(name).iter().filter_map(|entry| match &entry.value {
            Decoded::Scalar(Scalar::Secret(secret)) => Some(secret),
            _ => None,
        })
    }
}
