//! No source of the workspace is longer than a thousand lines, tests left out.

#![expect(clippy::expect_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

const MOST: usize = 1_000;

#[test]
fn no_source_is_too_long() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the crates");
    let mut files = Vec::new();
    collect(crates, &mut files);
    assert!(files.len() > 50, "the sources were not found: {}", files.len());
    let too_long: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let lines = fs::read_to_string(file).expect("a source").lines().count();
            (lines > MOST).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(too_long.is_empty(), "split these, {MOST} lines are the most: {too_long:#?}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "tests" | "target") && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}
