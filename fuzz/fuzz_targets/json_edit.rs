//! Any bytes as a login file, and edits of it: what is not edited stays, byte for byte and by meaning, and a second
//! application changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use trunkline_core::json_edit::{Edit, EditError, apply};

const PATHS: [&[&str]; 4] = [&["a"], &["a", "b"], &["claudeAiOauth", "accessToken"], &["tokens", "a", "b"]];

/// Sets the member of a parsed document; `None`: something on the way is no object.
fn model(document: &mut Value, path: &[&str], value: &Value) -> Option<()> {
    let mut at = document;
    for &name in path {
        at = at.as_object_mut()?.entry(name).or_insert_with(|| json!({}));
    }
    *at = value.clone();
    Some(())
}

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the edit.
    let Some((&choice, text)) = data.split_first() else { return };
    let path = PATHS[usize::from(choice % 4)];
    let value =
        [json!("new"), json!(7), json!(["x", {"y": []}]), json!(null)][usize::from(choice / 4 % 4)].clone();
    let edits = [Edit::new(path, value.clone())];
    let parsed = serde_json::from_slice::<Value>(text);
    let after = match apply(text, &edits) {
        Ok(after) => after,
        Err(EditError::NotAnObject) => {
            assert!(parsed.map_or(true, |mut parsed| model(&mut parsed, path, &value).is_none()));
            return;
        }
        Err(_) => {
            assert!(parsed.is_err());
            return;
        }
    };
    assert_eq!(apply(&after, &edits).unwrap(), after, "again");
    let front = text.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let shorter = text.len().min(after.len());
    let back =
        text.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count().min(shorter - front);
    let (old, new) = (&text[front..text.len() - back], &after[front..after.len() - back]);
    assert!(old.is_empty() || !new.is_empty() || after.len() < text.len());
    if let Ok(mut parsed) = parsed {
        model(&mut parsed, path, &value).expect("it was edited");
        assert_eq!(serde_json::from_slice::<Value>(&after).unwrap(), parsed);
    }
});
