//! The JSON Schema of a configuration, from the same table that the reader goes by.

use serde_json::{Map, Value, json};

use crate::format::{Format, NAME};
use crate::table::{
    Choices, DOCUMENT, FOREIGN_SECTIONS, Field, Kind, Least, Otherwise, Section, Standing, Variants,
};

/// The schema, in draft 2020-12, with a description of every field.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut root = section(&DOCUMENT, None, &mut definitions);
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        for name in FOREIGN_SECTIONS {
            properties.insert((*name).to_owned(), json!({"description": "A section of sing-box; ignored."}));
        }
    }
    let mut document = Map::new();
    document.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    document.insert("title".to_owned(), "Trunkline".into());
    document.extend(root);
    document.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(document)
}

/// The schema of an object. `words` are those of its `type` that mean this section.
fn section(
    section: &Section,
    words: Option<&[&str]>,
    definitions: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    for field in section.fields() {
        let value = match words {
            Some(words) if field.name == "type" => describe(json!({"enum": words}), field),
            _ => describe(kind(&field.kind, definitions), field),
        };
        properties.insert(field.name.to_owned(), value);
        if field.required {
            required.push(field.name);
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("description".to_owned(), section.doc.into());
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if !section.open {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
    schema
}

fn describe(mut schema: Value, field: &Field) -> Value {
    if let Some(members) = schema.as_object_mut() {
        let doc = match field.standing {
            Standing::Read | Standing::Harmless => field.doc.to_owned(),
            Standing::Refused(why) => format!("Refused: {why}."),
        };
        members.insert("description".to_owned(), doc.into());
        if field.standing != Standing::Read {
            members.insert("deprecated".to_owned(), true.into());
        }
    }
    schema
}

fn kind(kind: &Kind, definitions: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Any => json!({}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer { min, max: u64::MAX } => json!({"type": "integer", "minimum": min}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number(Least::Zero) => json!({"type": "number", "minimum": 0}),
        Kind::Number(Least::AboveZero) => json!({"type": "number", "exclusiveMinimum": 0}),
        Kind::Bytes { min, max } => {
            json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, {"type": "string"}]})
        }
        Kind::Text(format) => text(format),
        Kind::Choice(choices) => choice(choices),
        Kind::Listable(item) => {
            let item = self::kind(item, definitions);
            json!({"anyOf": [item, {"type": "array", "items": item}]})
        }
        Kind::Headers => {
            let value = json!({"anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]});
            json!({"type": "object", "additionalProperties": value})
        }
        Kind::Object(section) => reference(section, None, definitions),
        Kind::TagOrObject(section) => {
            json!({"anyOf": [text(&NAME), reference(section, None, definitions)]})
        }
        Kind::Objects(variants) => {
            json!({"type": "array", "items": elements(variants, definitions)})
        }
    }
}

/// A string with a pattern; one with a reference in it can be anything until that is replaced.
fn text(format: &Format) -> Value {
    match format.pattern {
        None => json!({"type": "string"}),
        Some(pattern) => json!({"anyOf": [{"type": "string", "pattern": pattern}, with_reference()]}),
    }
}

fn choice(choices: &Choices) -> Value {
    let aliases = choices.aliases.iter().map(|(alias, _)| *alias);
    let words: Vec<&str> = choices.words.iter().copied().chain(aliases).collect();
    json!({"anyOf": [{"enum": words}, with_reference()]})
}

fn with_reference() -> Value {
    json!({"type": "string", "pattern": "\\$\\{"})
}

fn elements(variants: &Variants, definitions: &mut Map<String, Value>) -> Value {
    let mut kinds = Vec::new();
    for (words, section) in variants.sections {
        let words = if words.is_empty() { None } else { Some(*words) };
        kinds.push(reference(section, words, definitions));
    }
    if !variants.typed() {
        return kinds.pop().unwrap_or_default();
    }
    let ours: Vec<&str> = variants.words().collect();
    let foreign =
        json!({"type": "object", "required": ["type"], "properties": {"type": {"not": {"enum": ours}}}});
    match variants.otherwise {
        Otherwise::Error(_) => {}
        Otherwise::Ignore | Otherwise::Keep(_) => kinds.push(foreign),
    }
    json!({"anyOf": kinds})
}

fn reference(below: &Section, words: Option<&[&str]>, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(below.name) {
        let schema = section(below, words, definitions);
        definitions.insert(below.name.to_owned(), Value::Object(schema));
    }
    json!({"$ref": format!("#/$defs/{}", below.name)})
}

#[cfg(test)]
mod tests;
