//! What a configuration may say, but this version does not do yet.
//!
//! Ignoring any of it would be a configuration that says one thing and an instance that does another, so each use is
//! an error. What becomes available is removed here, and nowhere else.

use crate::diagnostic::{Report, quoted};
use crate::record::{Decoded, Record};

/// One thing that is not there yet.
enum Missing {
    /// A field, set to anything that asks for something.
    Field(&'static str, &'static str),
    /// A choice of a field.
    Choice(&'static str, &'static str, &'static str),
    /// What a field means when it is left out.
    Default(&'static str, &'static str, &'static str),
}

use Missing::{Choice, Default, Field};

const MISSING: &[Missing] = &[
    Field("document", "admin"),
    Field("document", "otlp"),
    Field("document", "prices"),
    Field("document", "ready_requires_credential"),
    Choice("ledger", "type", "sqlite"),
    Default("ledger", "type", "sqlite"),
    Field("tls", "acme"),
    Field("tls", "certificate_provider"),
    Field("service", "usages_path"),
    Choice("credential_external", "type", "external"),
    Field("credential_default", "usages_path"),
    Field("credential_api_key", "limits"),
    Field("credential_api_key", "usages_path"),
    Field("user", "external_credential"),
    Field("user", "limits"),
];

/// Reports each use, in `record` and in everything below it, of what is missing.
pub(crate) fn review(record: &Record, report: &mut Report) {
    for missing in MISSING {
        missing.review(record, report);
    }
    for (_, entry) in &record.entries {
        match &entry.value {
            Decoded::Record(record) => review(record, report),
            Decoded::List(items) => {
                for item in items {
                    if let Decoded::Record(record) = &item.value {
                        review(record, report);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Missing {
    fn review(&self, record: &Record, report: &mut Report) {
        let (spot, message) = match self {
            Field(section, field) if record.section.name == *section => match record.entry(field) {
                Some(entry) if !entry.value.is_idle() => {
                    (entry.spot.clone(), "not available in this version".to_owned())
                }
                _ => return,
            },
            Choice(section, field, choice) if record.section.name == *section => match record.choice(field) {
                Some(found) if found == *choice => {
                    (record.spot_of(field), format!("{} is not available in this version", quoted(choice)))
                }
                _ => return,
            },
            Default(section, field, choice) if record.section.name == *section => {
                match record.stated(field) {
                    None => (
                        record.spot_of(field),
                        format!("{}, which is the default, is not available in this version", quoted(choice)),
                    ),
                    Some(_) => return,
                }
            }
            _ => return,
        };
        // One that is wrong as well is to be put right first.
        if !report.has_error_at(&spot) {
            report.error(&spot, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{DOCUMENT, Kind, Section};

    fn sections(section: &'static Section, found: &mut Vec<&'static Section>) {
        if found.iter().any(|known| known.name == section.name) {
            return;
        }
        found.push(section);
        for field in section.fields() {
            match field.kind {
                Kind::Object(below) | Kind::TagOrObject(below) => sections(below, found),
                Kind::Objects(variants) => {
                    for (_, below) in variants.sections {
                        sections(below, found);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn everything_named_here_exists() {
        let mut known = Vec::new();
        sections(&DOCUMENT, &mut known);
        for missing in MISSING {
            let (Field(section, field) | Choice(section, field, _) | Default(section, field, _)) = missing;
            let field_known =
                known.iter().find(|known| known.name == *section).and_then(|known| known.field(field));
            let found = field_known.unwrap_or_else(|| panic!("{section}.{field} is in no table"));
            if let Choice(_, _, choice) | Default(_, _, choice) = missing {
                let Kind::Choice(choices) = found.kind else { panic!("{section}.{field} is no choice") };
                assert!(choices.words.contains(choice), "{section}.{field} has no {choice}");
            }
        }
    }
}
