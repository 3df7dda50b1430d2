//! The crate decides and does not act: it depends on nothing that acts, and its sources name nothing that does.

#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the crate may depend on. None of these reads a file, a socket or a random number, and a clock only `jiff`, whose
/// ways to ask for the time are forbidden below.
const ALLOWED: [&str; 13] = [
    "base64",
    "bytes",
    "http",
    "httparse",
    "httpdate",
    "jiff",
    "memchr",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "zeroize",
];

/// What its sources may not name outside tests. A time or an address as a value is fine; asking for one is not.
const FORBIDDEN: [&str; 27] = [
    "tokio",
    "async fn",
    ".await",
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "std::os",
    "std::net::Tcp",
    "std::net::Udp",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "TimeZone::system",
    ".elapsed()",
    "RandomState",
    "rand::",
    "fastrand",
    "getrandom",
    "print!",
    "println!",
    "static mut",
];

#[test]
fn it_depends_on_nothing_that_acts() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let core =
        packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).expect("this package");
    let dependencies: BTreeSet<&str> = core["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().expect("a name"))
        .collect();
    assert!(dependencies.contains("http"), "the dependencies were not read: {dependencies:?}");
    let more: Vec<_> = dependencies.difference(&BTreeSet::from(ALLOWED)).copied().collect();
    assert!(more.is_empty(), "trunkline-core may not depend on {more:?}");
}

#[test]
fn its_sources_name_nothing_that_acts() {
    let mut found = Vec::new();
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files.len() > 10, "the sources were not read: {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        for (number, line) in product_lines(&text) {
            let code = line.split("//").next().unwrap_or_default();
            for word in FORBIDDEN {
                if names(code, word) {
                    found.push(format!("{}:{number}: {word}", file.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_forbidden_is_recognized() {
    assert!(names("let now = Instant::now();", "Instant::now"));
    assert!(names("use tokio::net;", "tokio"));
    assert!(!names("let operand::x = 1;", "rand::"));
    assert!(names("rand::random()", "rand::"));
    let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod more;\nd\n";
    let lines: Vec<_> = product_lines(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["a", "c", "d"]);
}

/// Whether `code` has `word`, not as the end of a longer name.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !word.starts_with(char::is_alphabetic) || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The lines outside test modules, with their numbers.
fn product_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = text.lines().zip(1..).map(|(line, number)| (number, line));
    let mut kept = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push((number, line));
            continue;
        }
        let (number, module) = lines.next().unwrap_or_else(|| panic!("line {number}: nothing follows"));
        if module.ends_with('{') {
            // Formatted sources close a module at the start of a line.
            lines.find(|(_, line)| *line == "}");
        } else {
            assert!(module.ends_with(';'), "line {number}: {module}");
        }
    }
    kept
}

/// The sources of the crate without those that are tests as a whole.
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
