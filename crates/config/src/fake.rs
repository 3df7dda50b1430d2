//! A map-backed [`Environment`] for unit tests.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::Environment;
use crate::environment::PlaceKind;

/// A machine with nothing on it but what a test puts there; home is `/home/me`, working directory `/here`.
#[derive(Default)]
pub(crate) struct FakeEnvironment {
    vars: HashMap<String, String>,
    files: HashMap<PathBuf, String>,
    links: HashMap<PathBuf, PathBuf>,
    homeless: bool,
}

impl FakeEnvironment {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn with_file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.into(), content.to_owned());
        self
    }

    pub(crate) fn with_link(mut self, from: &str, to: &str) -> Self {
        self.links.insert(from.into(), to.into());
        self
    }

    pub(crate) fn without_home(mut self) -> Self {
        self.homeless = true;
        self
    }
}

impl Environment for FakeEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn is_empty_var(&self, name: &str) -> bool {
        self.vars.get(name).is_some_and(String::is_empty)
    }

    fn place_kind(&self, path: &Path) -> Option<PlaceKind> {
        if self.files.contains_key(path) {
            return Some(PlaceKind::File);
        }
        self.files.keys().any(|file| file.starts_with(path)).then_some(PlaceKind::Directory)
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn home(&self) -> Option<PathBuf> {
        (!self.homeless).then(|| "/home/me".into())
    }

    fn working_directory(&self) -> Option<PathBuf> {
        Some("/here".into())
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        self.links.get(path).cloned()
    }
}
