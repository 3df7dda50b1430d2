//! Any bytes as a request body: the scanner comes to the same result however they are cut into pieces, and where a
//! real parser reads an object without duplicate keys, it finds what that parser finds.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use trunkline_core::scan::{BodyScan, Found, MAX_VALUE, Progress, Wanted};

const WANTED: [Wanted; 3] =
    [Wanted::Top("model"), Wanted::Nested("metadata", "user_id"), Wanted::Nested("metadata", "model")];

type Outcome = (Progress, [Found; 3]);

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut scan = BodyScan::new(WANTED);
    for piece in pieces {
        let before = scan.progress();
        scan.push(piece);
        // What follows the end can only show that this was no JSON.
        let allowed = match before {
            Progress::Reading => true,
            Progress::Ended => scan.progress() != Progress::Reading,
            Progress::NotJson => scan.progress() == Progress::NotJson,
        };
        assert!(allowed, "from {before:?} to {:?}", scan.progress());
    }
    (scan.progress(), std::array::from_fn(|index| scan.found(index).clone()))
}

/// An object's members in order, duplicates and all.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Whether no name stands twice.
fn distinct(members: &[(String, Value)]) -> bool {
    members.iter().enumerate().all(|(at, (name, _))| members[..at].iter().all(|(earlier, _)| earlier != name))
}

fn expected(value: Option<&Value>) -> Found {
    match value {
        None => Found::Nothing,
        Some(Value::String(text)) if text.len() <= MAX_VALUE => Found::Text(text.clone()),
        Some(_) => Found::Unclear,
    }
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the body is cut.
    let Some((&cut, body)) = data.split_first() else { return };
    let whole = scan([body]);
    assert_eq!(scan(body.chunks(1)), whole, "byte by byte");
    assert_eq!(scan(body.chunks(usize::from(cut) + 1)), whole, "in pieces of {}", usize::from(cut) + 1);
    let (left, right) = body.split_at(usize::from(cut).min(body.len()));
    assert_eq!(scan([left, &[], right]), whole, "cut at {cut}");

    let Ok(Members(members)) = serde_json::from_slice(body) else { return };
    assert_eq!(whole.0, Progress::Ended);
    if !distinct(&members) || members.len() > 64 {
        return;
    }
    let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    assert_eq!(whole.1[0], expected(member("model")));
    // A parsed object has forgotten its duplicates: it is read again from the text.
    #[derive(serde::Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        metadata: Option<&'a serde_json::value::RawValue>,
    }
    let Ok(Outer { metadata: Some(metadata) }) = serde_json::from_slice(body) else {
        if member("metadata").is_none() {
            assert_eq!(whole.1[1..], [Found::Nothing, Found::Nothing]);
        }
        return;
    };
    match serde_json::from_str(metadata.get()) {
        Ok(Members(inner)) if distinct(&inner) => {
            let member = |name: &str| inner.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            assert_eq!(whole.1[1], expected(member("user_id")));
            assert_eq!(whole.1[2], expected(member("model")));
        }
        Ok(_) => {}
        Err(_) => assert_eq!(whole.1[1..], [Found::Nothing, Found::Nothing]),
    }
});
