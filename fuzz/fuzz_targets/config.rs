//! Any text as a configuration: it is read or refused without a panic, the same way twice, every problem stands at a
//! place of the text, and no secret that it refers to is in what is shown.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use trunkline_config::{Diagnostic, Environment, PlaceKind, load};

const CANARY: &str = "Qz7Xk2Vw9Lp4Tn6Rb8Hs3Jd5Gf1Mc0Ya";

/// A machine with a few variables and files. Those with secrets in them have the canary.
struct Machine;

impl Environment for Machine {
    fn var(&self, name: &str) -> Option<String> {
        match name {
            "KEY" | "ANTHROPIC_API_KEY" => Some(format!("sk-ant-api03-{CANARY}-tail")),
            "TOKEN" => Some(format!("token-{CANARY}-tail")),
            "HOME" => Some("/home/me".to_owned()),
            _ => None,
        }
    }

    fn is_empty_var(&self, name: &str) -> bool {
        name == "EMPTY"
    }

    fn place_kind(&self, path: &Path) -> Option<PlaceKind> {
        match path.to_str() {
            Some("/home/me/.claude") => Some(PlaceKind::Directory),
            Some("/home/me/.claude/.credentials.json") => Some(PlaceKind::File),
            _ => None,
        }
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/run/token" | "/etc/trunkline/alice.token") => Ok(format!("file-{CANARY}-tail\n")),
            Some("/etc/trunkline/bob.token") => Ok(format!("other-{CANARY}-tail\r\n")),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        Some("/home/me".into())
    }

    fn working_directory(&self) -> Option<PathBuf> {
        Some("/here".into())
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        (path == Path::new("/home/me/link")).then(|| "/home/me/.claude".into())
    }
}

fn check(text: &str, problem: &Diagnostic) {
    let line = text.split('\n').nth(problem.line.checked_sub(1).expect("lines count from 1"));
    let line = line.unwrap_or_else(|| panic!("the text has no line {}", problem.line));
    // One behind the last character is the line's end.
    assert!((1..=line.chars().count() + 1).contains(&problem.column), "{problem:?} in {line:?}");
    assert!(!problem.message.is_empty());
    assert!(!problem.to_string().contains(CANARY), "{problem}");
}

fuzz_target!(|text: &str| {
    let loaded = load(text, &Machine);
    assert_eq!(loaded, load(text, &Machine));
    // The text itself may hold the canary's letters only if the fuzzer found them out.
    assert!(text.contains(CANARY) || !format!("{loaded:?}").contains(CANARY));
    match loaded {
        Ok(loaded) => {
            assert!(!loaded.config.services.is_empty());
            loaded.warnings.iter().for_each(|warning| check(text, warning));
        }
        Err(problems) => {
            assert!(!problems.errors.is_empty());
            problems.errors.iter().chain(&problems.warnings).for_each(|problem| check(text, problem));
        }
    }
});
