//! Paths that lead to a directory where a file is meant, and the other way round.
//!
//! A warning, not an error: a container that starts before its files are there has directories in their place, and what is not
//! there yet is waited for.
//!
//! Spec: config.md, *Hints instead of silence*.

use std::path::Path;

use crate::Environment;
use crate::diagnostic::Report;
use crate::environment::PlaceKind;
use crate::record::{Decoded, Record};

/// The fields that name a file.
const FILES: [&str; 7] =
    ["credential_path", "usages_path", "ca_path", "certificate_path", "key_path", "output", "prices"];

/// The fields that name a directory.
const DIRECTORIES: [&str; 2] = ["claude_directory", "data_directory"];

/// What a login file is called in the directory of a client.
const LOGIN_FILES: [&str; 2] = [".credentials.json", "auth.json"];

/// Looks at `record` and everything below it.
pub(super) fn review(record: &Record, env: &dyn Environment, report: &mut Report) {
    for (name, entry) in &record.entries {
        match &entry.value {
            Decoded::Record(record) => review(record, env, report),
            Decoded::List(items) => {
                for item in items {
                    if let Decoded::Record(record) = &item.value {
                        review(record, env, report);
                    }
                }
            }
            Decoded::Scalar(_) => {
                let Some(path) = record.path(name) else { continue };
                match env.place_kind(path) {
                    Some(PlaceKind::Directory) if FILES.contains(name) => {
                        let message = format!(
                            "leads to a directory; name the file in it{}",
                            candidate(path, name, env)
                        );
                        report.warn(&entry.spot, message);
                    }
                    Some(PlaceKind::File) if DIRECTORIES.contains(name) => {
                        report.warn(&entry.spot, "leads to a file; name the directory that it is in");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The file that was probably meant. The directory is not repeated: a reference may have put anything there.
fn candidate(directory: &Path, field: &str, env: &dyn Environment) -> String {
    let is_there = |name: &&&str| env.place_kind(&directory.join(name)) == Some(PlaceKind::File);
    match LOGIN_FILES.iter().find(is_there).filter(|_| field == "credential_path") {
        Some(name) => format!(": there is a {name}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::FakeEnvironment;
    use crate::load;

    #[test]
    fn a_directory_where_a_file_is_meant_is_told_and_the_other_way_round() {
        let env = FakeEnvironment::new()
            .with_file("/home/me/.claude/.credentials.json", "{}")
            .with_file("/etc/ssl/ca.pem", "")
            .with_file("/here/data", "");
        let text = r#"{
            "data_directory": "data",
            "services": [{
                "type": "claude",
                "upstream": {"ca_path": "/etc/ssl"},
                "credentials": [
                    {"tag": "a", "credential_path": "~/.claude"},
                    {"tag": "b", "credential_path": "/etc"},
                    {"tag": "c", "credential_path": "~/.claude/.credentials.json"},
                    {"tag": "d", "credential_path": "/not/there"},
                    {"tag": "e", "claude_directory": "/etc/ssl/ca.pem"}
                ],
                "users": [{"name": "x", "token": "token-of-x", "credential": "a"}]
            }]
        }"#;
        let loaded = load(text, &env).unwrap();
        let told: Vec<_> =
            loaded.warnings.iter().map(|warning| (warning.path.as_str(), warning.message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("data_directory", "leads to a file; name the directory that it is in"),
                ("services[0].upstream.ca_path", "leads to a directory; name the file in it"),
                (
                    "services[0].credentials[0].credential_path",
                    "leads to a directory; name the file in it: there is a .credentials.json"
                ),
                ("services[0].credentials[1].credential_path", "leads to a directory; name the file in it"),
                (
                    "services[0].credentials[4].claude_directory",
                    "leads to a file; name the directory that it is in"
                ),
            ]
        );
    }
}
