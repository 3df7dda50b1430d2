//! The command lines of a document.

use std::fs;
use std::path::{Path, PathBuf};

/// A command line, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) document: String,
    pub(crate) number: usize,
    pub(crate) text: String,
}

/// Those of README.md and docs/*.md.
pub(crate) fn all() -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut documents: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    documents.push(root.join("README.md"));
    documents.sort();
    documents
        .iter()
        .flat_map(|path| of(path.file_name().unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap()))
        .collect()
}

/// Comments are left out, and a line that goes on behind a backslash is one.
fn of(document: &str, text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside && info.trim() == "sh";
            continue;
        }
        // A comment begins behind white space; a `#` in a word or in quotes is none, and none stands in our quotes.
        let code = line.split(" #").next().unwrap_or_default().trim();
        if !inside || code.is_empty() || code.starts_with('#') {
            continue;
        }
        let (code, more) = match code.strip_suffix('\\') {
            Some(code) => (code, true),
            None => (code, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.text.push_str(code),
            None => {
                lines.push(Line { document: document.to_owned(), number: number + 1, text: code.to_owned() });
            }
        }
        goes_on = more;
    }
    lines
}

#[test]
fn blocks_comments_and_long_lines() {
    let text = "x\n```sh\n# no\na b   # why\n\nc \\\n  d\n```\n```jsonc\ne\n```\nf\n```sh\ng\n```\n";
    let found: Vec<_> = of("x.md", text).into_iter().map(|line| (line.number, line.text)).collect();
    assert_eq!(found, [(4, "a b".to_owned()), (6, "c d".to_owned()), (14, "g".to_owned())]);
}
