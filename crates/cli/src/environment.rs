//! The process's environment, for reading a configuration.

use std::io;
use std::path::{Path, PathBuf};

use trunkline_config::{Environment, PlaceKind, Surroundings};

use crate::command::Failure;

/// The real one.
pub(crate) struct Process;

/// Largest file that `${file:}` reads.
const MAX_FILE: u64 = 1024 * 1024;

impl Environment for Process {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn is_empty_var(&self, name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| value.is_empty())
    }

    fn place_kind(&self, path: &Path) -> Option<PlaceKind> {
        let found = std::fs::metadata(path).ok()?;
        Some(match (found.is_file(), found.is_dir()) {
            (true, _) => PlaceKind::File,
            (_, true) => PlaceKind::Directory,
            _ => PlaceKind::Other,
        })
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        read_bounded(path, MAX_FILE)
    }

    fn home(&self) -> Option<PathBuf> {
        // Under sudo the logins are those of whoever called it.
        if let Some(user) = self.var("SUDO_USER").filter(|user| !user.is_empty() && user != "root")
            && let Some(home) = home_of(&user)
        {
            return Some(home);
        }
        std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
    }

    fn working_directory(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }
}

/// What the environment says about connections to providers. Each variable that cannot be used has a line of its own.
pub(crate) fn surroundings() -> Result<Surroundings, Failure> {
    Surroundings::read(&Process).map_err(|bad| {
        let lines: Vec<String> = bad.iter().map(ToString::to_string).collect();
        Failure::configuration(lines.join("\n"))
    })
}

/// What is to be said of variables that are set to nothing.
pub(crate) fn empty_variables() -> Vec<String> {
    let hint = |name| format!("environment variable {name} is empty, which counts as not set");
    trunkline_config::empty_variables(&Process).into_iter().map(hint).collect()
}

/// Reads a text file of at most `max` bytes.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(text)
}

/// The home directory of a user, from the user database.
fn home_of(user: &str) -> Option<PathBuf> {
    let database = read_bounded(Path::new("/etc/passwd"), MAX_FILE).ok()?;
    let line = database.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}
