//! Configurations in files, with what is said about them in a file beside each.
//!
//! `tests/valid` can be used, `tests/later` could be but for what is not available in this version, and
//! `tests/invalid` cannot. `UPDATE_EXPECTED=1 cargo test -p trunkline-config` writes the expectations anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::machine;
use crate::json::{self, Node, Value};
use crate::table::{DOCUMENT, Field, Kind, Section, Standing};
use crate::{Diagnostic, jsonc, load};

const UNAVAILABLE: &str = "not available in this version";

pub(super) fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Loads a file, and compares what is said about it with what is expected.
fn judge(path: &Path) -> Vec<Diagnostic> {
    let text = fs::read_to_string(path).unwrap();
    let (errors, warnings) = match load(&text, &machine()) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(problems) => (problems.errors, problems.warnings),
    };
    let said: String = std::iter::empty()
        .chain(errors.iter().map(|error| format!("error: {error}\n")))
        .chain(warnings.iter().map(|warning| format!("warning: {warning}\n")))
        .collect();
    assert!(!said.contains("canary"), "a secret is shown:\n{said}");
    let expected = path.with_extension("expected");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    let expected =
        fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    assert_eq!(said, expected, "{}", path.display());
    errors
}

#[test]
fn valid_ones_are_accepted() {
    for path in files("valid") {
        assert_eq!(judge(&path), [], "{}", path.display());
    }
}

#[test]
fn later_ones_lack_nothing_but_availability() {
    for path in files("later") {
        let errors = judge(&path);
        assert!(!errors.is_empty(), "{}", path.display());
        assert!(errors.iter().all(|error| error.message.contains(UNAVAILABLE)), "{}", path.display());
    }
}

#[test]
fn invalid_ones_are_refused() {
    for path in files("invalid") {
        let errors = judge(&path);
        assert!(errors.iter().any(|error| !error.message.contains(UNAVAILABLE)), "{}", path.display());
    }
}

/// Each field of the table, with its section.
fn fields(section: &'static Section, found: &mut Vec<(&'static str, &'static Field)>) {
    if found.iter().any(|(known, _)| *known == section.name) {
        return;
    }
    for field in section.fields() {
        found.push((section.name, field));
        match &field.kind {
            Kind::Object(below) | Kind::TagOrObject(below) => fields(below, found),
            Kind::Objects(variants) => variants.sections.iter().for_each(|(_, below)| fields(below, found)),
            _ => {}
        }
    }
}

fn keys(node: &Node<'_>, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| keys(item, found)),
        Value::Object(members) => {
            for member in members {
                found.insert(member.key.clone());
                keys(&member.node, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_has_a_good_and_a_bad_example() {
    let mut good = BTreeSet::new();
    for path in files("valid").into_iter().chain(files("later")) {
        let blanked = jsonc::blank(&fs::read_to_string(path).unwrap()).unwrap();
        keys(&json::parse(&blanked).unwrap(), &mut good);
    }
    let mut bad = BTreeSet::new();
    for path in files("invalid") {
        for error in judge(&path) {
            // Also an error inside of a field's value, such as an element of its list.
            let names = error.path.split('.').map(|name| name.split('[').next().unwrap_or(name).to_owned());
            bad.extend(names);
        }
    }
    let mut all = Vec::new();
    fields(&DOCUMENT, &mut all);
    assert!(all.len() > 150);
    for (section, field) in all {
        if let Standing::Refused(_) = field.standing {
            assert!(bad.contains(field.name), "{section}.{} is refused nowhere", field.name);
        } else {
            assert!(good.contains(field.name), "{section}.{} has no good example", field.name);
        }
        if !matches!(field.kind, Kind::Any) {
            assert!(bad.contains(field.name), "{section}.{} has no bad example", field.name);
        }
    }
}
