//! Whether a failed request is sent again is decided by the table of failures alone (`core::failure`): nothing else here
//! judges, and a client's request goes out at one place, whose caller does what the table says.

#![expect(clippy::expect_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FAILED: &str = "service/failed.rs";
const ATTEMPT: &str = "service/attempt.rs";
const SOCKET: &str = "service/socket/failure.rs";

/// What stands where, and nowhere else.
const PLACES: [(&str, &[&str]); 8] = [
    // The table, and what belongs to it. The judge of refreshes has the same name.
    (" judge(", &[FAILED, SOCKET, "credential/refresh.rs"]),
    ("after_recovery(", &[FAILED]),
    ("after_interrupt(", &[ATTEMPT, SOCKET]),
    // What it says is named where it is done.
    ("Action::", &[ATTEMPT, FAILED, SOCKET]),
    ("Repeat::", &[FAILED, SOCKET]),
    // Sending: a client's request here, and requests of our own, which have rules of their own, there.
    ("(forward(", &[ATTEMPT]),
    ("= forward(", &[]),
    (".next_try()", &["forward.rs", "own_request.rs"]),
];

#[test]
fn nothing_but_the_table_decides_what_is_sent_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 30, "the sources were not read: {files:?}");
    for (what, places) in PLACES {
        let names = |file: &PathBuf| {
            let text = fs::read_to_string(file).expect("a source");
            let name = file.strip_prefix(&root).expect("below the root").display().to_string();
            product(&text).contains(what).then_some(name)
        };
        let found: BTreeSet<_> = files.iter().filter_map(names).collect();
        let places: BTreeSet<_> = places.iter().map(ToString::to_string).collect();
        assert_eq!(found, places, "where {what:?} stands, and where it may");
    }
}

/// A source without its comments and its tests.
fn product(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}
