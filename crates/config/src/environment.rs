//! The outside world as the configuration sees it, and the references to it inside string values.
//!
//! Spec: config.md, *`${ENV_VAR}` and `${file:/path}`*.

use std::path::{Path, PathBuf};

use crate::file_error;
use crate::paths;

/// What loading a configuration may ask of the machine. Nothing else is read.
pub trait Environment {
    /// The environment variable `name`; an empty one counts as not set.
    fn var(&self, name: &str) -> Option<String>;

    /// Whether the environment variable `name` is set, and empty.
    fn is_empty_var(&self, name: &str) -> bool;

    /// What a path leads to, if there is anything and it can be looked at.
    fn place_kind(&self, path: &Path) -> Option<PlaceKind>;

    /// The content of a file that the configuration names with `${file:/path}`.
    fn read_file(&self, path: &Path) -> std::io::Result<String>;

    /// The home directory; under sudo that of `SUDO_USER`.
    fn home(&self) -> Option<PathBuf>;

    /// Where relative paths start.
    fn working_directory(&self) -> Option<PathBuf>;

    /// The path with every symlink resolved, if it exists.
    fn real_path(&self, path: &Path) -> Option<PathBuf>;
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A device, a pipe or a socket.
    Other,
}

/// The variables whose emptiness is probably a mistake: each names a file or a directory. An empty proxy variable is how a
/// proxy is switched off.
const NAMING_VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TRUNKLINE_CONFIG",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "STATE_DIRECTORY",
];

/// The variables that are read for a file or a directory, and are set to nothing: they count as not set.
pub fn empty_variables(env: &dyn Environment) -> Vec<&'static str> {
    NAMING_VARIABLES.into_iter().filter(|name| env.is_empty_var(name)).collect()
}

/// Replaces `${NAME}` and `${file:/path}` in `text`; `$${` stands for `${`. What was put in is not looked at again.
///
/// The error says what is missing, by name, and never shows a value.
pub(crate) fn expand(text: &str, env: &dyn Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(inside) = from.strip_prefix("${") {
            let Some((reference, after)) = inside.split_once('}') else {
                return Err("\"${\" has no closing \"}\"; write $${ for a literal ${".to_owned());
            };
            out.push_str(&look_up(reference, env)?);
            rest = after;
        } else {
            out.push('$');
            rest = from.get(1..).unwrap_or("");
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether `text` has anything in it that [`expand`] replaces.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("${")
}

fn look_up(reference: &str, env: &dyn Environment) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        if path.is_empty() {
            return Err("${file:} names no file".to_owned());
        }
        let path = paths::resolve(path, env)?;
        let content =
            env.read_file(&path).map_err(|error| format!("{}: {}", path.display(), file_error(&error)))?;
        return Ok(content.trim_end_matches(['\r', '\n']).to_owned());
    }
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let named = reference.bytes().next().is_some_and(letter)
        && reference.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if !named {
        // Not shown: what stands here may be the secret itself, put into braces by mistake.
        return Err("\"${...}\" must hold the name of an environment variable or file:/path; \
                    write $${ for a literal ${"
            .to_owned());
    }
    env.var(reference).ok_or_else(|| {
        let state = if env.is_empty_var(reference) { "empty" } else { "not set" };
        format!("the environment variable {reference} is {state}; set it where trunkline is started")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEnvironment;

    fn env() -> FakeEnvironment {
        FakeEnvironment::new()
            .with_var("NAME", "value")
            .with_var("NESTED", "${NAME}")
            .with_var("EMPTY", "")
            .with_file("/run/token", "secret\r\n\n")
            .with_file("/home/me/rel", "x")
    }

    #[test]
    fn references_are_replaced_once() {
        let env = env();
        for (text, expected) in [
            ("plain $ $$ $x", "plain $ $$ $x"),
            ("a${NAME}b${NAME}", "avaluebvalue"),
            ("${NESTED}", "${NAME}"),
            ("$${NAME}", "${NAME}"),
            ("$$${NAME}", "$${NAME}"),
            ("${file:/run/token}!", "secret!"),
            ("${file:~/rel}", "x"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let env = env();
        assert_eq!(
            expand("${GONE}", &env).unwrap_err(),
            "the environment variable GONE is not set; set it where trunkline is started"
        );
        assert_eq!(
            expand("${EMPTY}", &env).unwrap_err(),
            "the environment variable EMPTY is empty; set it where trunkline is started"
        );
        assert_eq!(empty_variables(&env.with_var("CODEX_HOME", "")), ["CODEX_HOME"]);
        let env = self::env();
        let error = expand("${file:/run/gone}", &env).unwrap_err();
        assert!(error.starts_with("/run/gone: there is no such file"), "{error}");
        assert!(expand("${NAME", &env).unwrap_err().contains("no closing"));
        assert!(expand("${file:}", &env).unwrap_err().contains("names no file"));
        let error = expand("${sk-ant-canary}", &env).unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }
}
