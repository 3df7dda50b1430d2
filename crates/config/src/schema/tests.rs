use std::collections::BTreeSet;

use super::*;

/// Every `$ref` in a schema.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                found.insert(target.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn references_and_definitions_are_the_same() {
    let schema = schema();
    let mut wanted = BTreeSet::new();
    references(&schema, &mut wanted);
    let defined: BTreeSet<_> =
        schema["$defs"].as_object().unwrap().keys().map(|name| format!("#/$defs/{name}")).collect();
    assert_eq!(wanted, defined);
}

#[test]
fn every_property_is_described() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap();
    for (name, definition) in definitions.iter().chain([(&"document".to_owned(), &schema)]) {
        for (property, value) in definition["properties"].as_object().unwrap() {
            let described = value["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(described, "{name}.{property}");
        }
    }
}

#[test]
fn sections_are_closed_unless_they_are_somebody_elses() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert_eq!(definition["additionalProperties"], false, "{name}");
    }
    assert!(schema["properties"]["dns"].is_object());
}

#[test]
fn kinds_become_types() {
    let schema = schema();
    let service = &schema["$defs"]["service"];
    assert_eq!(service["required"], json!(["type"]));
    assert_eq!(service["properties"]["type"]["enum"], json!(["ccm", "claude", "ocm", "codex"]));
    assert_eq!(service["properties"]["listen_port"]["maximum"], 65_535);
    assert_eq!(service["properties"]["netns"]["deprecated"], true);
    let pool = &schema["$defs"]["credential_balancer"]["properties"];
    assert_eq!(pool["type"]["enum"], json!(["balancer", "fallback"]));
    assert_eq!(pool["credentials"]["anyOf"][1]["items"]["type"], "string");
    let strategies = pool["strategy"]["anyOf"][0]["enum"].as_array().unwrap();
    assert!(strategies.contains(&json!("round-robin")));
    assert_eq!(schema["$defs"]["credential_default"]["properties"]["weight"]["exclusiveMinimum"], 0);
}
