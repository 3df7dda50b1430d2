//! Objects of JSON that are read without trust: member by member, so that one hostile value costs that value and not
//! the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Members of one object that are kept; providers send a few dozen at most.
pub const MAX_MEMBERS: usize = 256;

/// Elements of one list that are kept.
pub const MAX_ELEMENTS: usize = 64;

/// Largest text that is read at all, in bytes. A usage answer has a few kilobytes.
pub const MAX_TEXT: usize = 256 * 1024;

/// An object's members, still unread.
#[derive(Default)]
pub struct Object<'a> {
    members: Vec<(String, Option<&'a RawValue>)>,
    contradictions: u32,
}

/// How much is there, and not what: answers name accounts, and may name more.
impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl<'a> Object<'a> {
    /// Reads an object; `None` if the text is none, or longer than [`MAX_TEXT`].
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text.len() > MAX_TEXT { None } else { serde_json::from_slice(text).ok() }
    }

    /// Reads a value as an object.
    pub fn of(value: &'a RawValue) -> Option<Self> {
        Self::parse(value.get().as_bytes())
    }

    /// A member; `None` if it is not there, or stands there more than once with different values.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(key, _)| key == name).and_then(|(_, value)| *value)
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// A member as a scalar.
    pub fn scalar(&self, name: &str) -> Scalar<'a> {
        self.get(name).map_or(Scalar::Absent, Scalar::of)
    }

    /// A member that is a string.
    pub fn string(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.scalar(name) {
            Scalar::Text { text, is_string: true } => Some(text),
            _ => None,
        }
    }

    /// Its members with their names, without those that contradict themselves.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().filter_map(|(name, value)| value.map(|value| (name.as_str(), value)))
    }

    /// How many members were ignored: named again with another value, or beyond [`MAX_MEMBERS`].
    pub fn contradictions(&self) -> u32 {
        self.contradictions
    }

    fn add(&mut self, name: String, value: &'a RawValue) {
        if let Some((_, earlier)) = self.members.iter_mut().find(|(key, _)| *key == name) {
            if earlier.is_some_and(|earlier| earlier.get() == value.get()) {
                return;
            }
            *earlier = None;
        } else if self.members.len() < MAX_MEMBERS {
            self.members.push((name, Some(value)));
            return;
        }
        self.contradictions = self.contradictions.saturating_add(1);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object::default();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    object.add(name, value);
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A value that is no object and no list.
#[derive(Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// Not there.
    Absent,
    /// `null`.
    Null,
    /// A string's content, or a number's or truth value's text.
    Text {
        /// The text.
        text: Cow<'a, str>,
        /// Whether it was a string.
        is_string: bool,
    },
    /// An object or a list, or a string that cannot be read.
    Other,
}

/// Which kind, and not what: as for [`Object`].
impl fmt::Debug for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Null => "Null",
            Self::Text { is_string: true, .. } => "Text(string)",
            Self::Text { .. } => "Text",
            Self::Other => "Other",
        })
    }
}

impl<'a> Scalar<'a> {
    /// Reads a value.
    pub fn of(value: &'a RawValue) -> Self {
        let raw = value.get();
        match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b'"') => match serde_json::from_str::<String>(raw) {
                Ok(text) => Self::Text { text: text.into(), is_string: true },
                Err(_) => Self::Other,
            },
            Some(b'{' | b'[') | None => Self::Other,
            Some(_) => Self::Text { text: raw.into(), is_string: false },
        }
    }
}

/// The elements of a list, at most [`MAX_ELEMENTS`]; `None` if the value is no list.
pub fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    struct List<'a>(Vec<&'a RawValue>);

    impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Elements;
            impl<'de> Visitor<'de> for Elements {
                type Value = List<'de>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a list")
                }

                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
                    let mut list = Vec::new();
                    while let Some(element) = seq.next_element::<&'de RawValue>()? {
                        if list.len() < MAX_ELEMENTS {
                            list.push(element);
                        }
                    }
                    Ok(List(list))
                }
            }
            deserializer.deserialize_seq(Elements)
        }
    }

    serde_json::from_str::<List<'_>>(value.get()).ok().map(|List(list)| list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_member_costs_itself_only() {
        let text =
            br#"{"a":1e400,"b":{"c":[1]},"d":null,"e":"x\u00e4","f":true,"a2":1,"a2":1,"g":1,"g":2,"g":2}"#;
        let object = Object::parse(text).unwrap();
        let bare = |text: &'static str| Scalar::Text { text: text.into(), is_string: false };
        assert_eq!(object.scalar("a"), bare("1e400"));
        assert_eq!(object.scalar("b"), Scalar::Other);
        assert_eq!(object.scalar("d"), Scalar::Null);
        assert_eq!(object.string("e").as_deref(), Some("xä"));
        assert_eq!(object.scalar("f"), bare("true"));
        assert_eq!(object.scalar("a2"), bare("1"));
        assert_eq!(object.scalar("g"), Scalar::Absent);
        assert_eq!(object.scalar("h"), Scalar::Absent);
        assert_eq!(object.contradictions(), 2);
        let list = elements(object.object("b").unwrap().get("c").unwrap()).unwrap();
        assert_eq!(list.len(), 1);
        assert!(elements(object.get("e").unwrap()).is_none());
        for bad in [&b""[..], b"[]", b"{", b"{} x", b"\xff", b"null", b"{\"a\":}"] {
            assert!(Object::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn members_and_elements_are_bounded() {
        let many: Vec<String> = (0..MAX_MEMBERS + 10).map(|n| format!("\"k{n}\":{n}")).collect();
        let text = format!("{{{}}}", many.join(","));
        let object = Object::parse(text.as_bytes()).unwrap();
        assert_eq!((object.members().count(), object.contradictions()), (MAX_MEMBERS, 10));
        let list = format!("{{\"l\":[{}]}}", vec!["1"; MAX_ELEMENTS + 5].join(","));
        let object = Object::parse(list.as_bytes()).unwrap();
        assert_eq!(elements(object.get("l").unwrap()).unwrap().len(), MAX_ELEMENTS);
        assert!(Object::parse(format!("{{}}{}", " ".repeat(MAX_TEXT)).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(object) = Object::parse(&bytes) {
                for (name, value) in object.members() {
                    let _ = (name, Scalar::of(value), elements(value));
                }
            }
        }
    }
}
