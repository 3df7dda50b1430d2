//! The description of every section and field: the one thing that both the reader and the JSON Schema go by.
//!
//! A field that is not described here is unknown; one that is described is read, checked for its type and range,
//! and documented by the same line.

mod credential;
mod document;
mod network;
mod service;
mod tls;
mod user;

pub(crate) use credential::STRATEGY_FALLBACK;
pub(crate) use document::{DOCUMENT, FOREIGN_SECTIONS};

use crate::format::Format;

/// An object with known fields.
pub(crate) struct Section {
    /// Its name in the schema and in [`crate::availability`].
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// Its fields, in groups that sections share.
    pub(crate) groups: &'static [&'static [Field]],
    /// Whether unknown fields are none of our business: sections that are known by their tag only.
    pub(crate) open: bool,
}

/// A field of a section.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) standing: Standing,
    pub(crate) doc: &'static str,
}

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is read.
    Read,
    /// sing-box's, and ignoring it is harmless: a warning.
    Harmless,
    /// sing-box's, and ignoring it would weaken what the owner asked for: an error that says why.
    Refused(&'static str),
}

/// What a field may hold.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Anything: fields that are not read.
    Any,
    Bool,
    Integer {
        min: u64,
        max: u64,
    },
    Number(Least),
    /// A size in bytes: a number, or a string with a unit.
    Bytes {
        min: u64,
        max: u64,
    },
    Text(&'static Format),
    Choice(&'static Choices),
    /// A list of at least one, or one such value by itself.
    Listable(&'static Kind),
    /// An object with free keys, which are header names.
    Headers,
    Object(&'static Section),
    /// The tag of an object that stands elsewhere, or such an object itself.
    TagOrObject(&'static Section),
    /// A list of objects.
    Objects(&'static Variants),
}

/// The least value of a number.
#[derive(Clone, Copy)]
pub(crate) enum Least {
    Zero,
    AboveZero,
}

/// A closed set of words.
pub(crate) struct Choices {
    pub(crate) words: &'static [&'static str],
    /// Other spellings, and the word that each stands for.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
}

/// The sections that an element of a list may be, told apart by its `type`.
pub(crate) struct Variants {
    /// Each with the words of `type` that mean it. A single one without words has no `type`.
    pub(crate) sections: &'static [(&'static [&'static str], &'static Section)],
    /// The type of an element that states none; without it, `type` is required.
    pub(crate) default: Option<&'static str>,
    pub(crate) otherwise: Otherwise,
}

/// What an element of another type is.
pub(crate) enum Otherwise {
    /// An error; it is read by this section all the same, so that references to it are not errors too.
    Error(&'static Section),
    /// Somebody else's, ignored with a warning.
    Ignore,
    /// Somebody else's, known by this section only.
    Keep(&'static Section),
}

// === impl Section ===

impl Section {
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.groups.iter().copied().flatten()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().find(|field| field.name == name)
    }
}

/// A section that takes no other fields than its own.
const fn section(name: &'static str, doc: &'static str, groups: &'static [&'static [Field]]) -> Section {
    Section { name, doc, groups, open: false }
}

// === impl Field ===

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, kind, required: false, standing: Standing::Read, doc }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, kind, required: true, standing: Standing::Read, doc }
}

const fn harmless(name: &'static str) -> Field {
    let doc = "An option of sing-box without effect here.";
    Field { name, kind: Kind::Any, required: false, standing: Standing::Harmless, doc }
}

const fn refused(name: &'static str, why: &'static str) -> Field {
    Field { name, kind: Kind::Any, required: false, standing: Standing::Refused(why), doc: why }
}

// === impl Choices ===

impl Choices {
    const fn of(words: &'static [&'static str]) -> Self {
        Self { words, aliases: &[] }
    }

    /// The word that `text` is, or stands for.
    pub(crate) fn find(&self, text: &str) -> Option<&'static str> {
        let alias = self.aliases.iter().find(|(alias, _)| *alias == text).map(|(_, word)| *word);
        alias.or_else(|| self.words.iter().copied().find(|word| *word == text))
    }
}

// === impl Variants ===

impl Variants {
    /// A list of one kind of object.
    const fn only(sections: &'static [(&'static [&'static str], &'static Section)]) -> Self {
        Self { sections, default: Some(""), otherwise: Otherwise::Ignore }
    }

    /// Whether the elements have a `type` at all.
    pub(crate) fn typed(&self) -> bool {
        self.default != Some("")
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.sections.iter().flat_map(|(words, _)| words.iter().copied())
    }
}

#[cfg(test)]
mod tests;
