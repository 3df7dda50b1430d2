//! The data directory: whether it can be used, who has it, and how much room there is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trunkline_config::Config;
use trunkline_server::DataDirectory;
use trunkline_server::control::AskError;
use trunkline_server::control::status::Status;

use super::finding::{Finding, Group};
use super::flock::{self, Flock};
use super::words;
use crate::command::status::display::duration;

/// Room below which it is time to look, in bytes.
const LITTLE_ROOM: u64 = 100_000_000;

/// What the control socket says.
#[derive(Debug)]
pub(super) enum Instance {
    /// An instance runs.
    Runs(Box<Status>),
    /// Nobody is there.
    Nobody,
    /// Somebody else's.
    Forbidden,
    /// It is there and does not answer as it should.
    Mute(String),
}

/// What can be done with the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It is there.
    There { access: Result<(), io::ErrorKind> },
    /// It is not there, and would be made below this one.
    ToBeMade { below: PathBuf, access: Result<(), io::ErrorKind> },
    /// Something else is in its place, or in that of a directory on the way.
    Blocked { by: PathBuf },
}

/// What findings follow from.
#[derive(Debug)]
struct Facts<'a> {
    place: Place,
    instance: &'a Instance,
    lock: Flock,
    /// The configuration file that was looked at, in full.
    file: Option<String>,
    room: Option<u64>,
}

/// The group, and whether journals could be kept in the directory.
pub(super) fn examine(config: &Config, file: Option<&Path>, instance: &Instance) -> (Group, bool) {
    let path = &config.data_directory;
    let place = place(path);
    let below = match &place {
        Place::There { .. } => Some(path.as_path()),
        Place::ToBeMade { below, .. } => Some(below.as_path()),
        Place::Blocked { .. } => None,
    };
    let facts = Facts {
        room: below.and_then(room),
        instance,
        lock: flock::of(&DataDirectory::lock(path)),
        file: file.map(|file| file.canonicalize().unwrap_or_else(|_| file.to_owned()).display().to_string()),
        place,
    };
    let findings = findings(&facts);
    let about = Some(path.display().to_string());
    (Group { section: "data_directory", subject: None, about, findings }, is_usable(&facts.place))
}

fn is_usable(place: &Place) -> bool {
    matches!(place, Place::There { access: Ok(()) } | Place::ToBeMade { access: Ok(()), .. })
}

fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = vec![of_place(&facts.place)];
    findings.extend(of_instance(facts));
    findings.extend(facts.room.map(of_room));
    findings
}

fn of_place(place: &Place) -> Finding {
    let check = "data_directory.usable";
    let remedy = "set data_directory to one that this user can write, or give it to this user";
    match place {
        Place::There { access: Ok(()) } => Finding::ok(check, "writable"),
        Place::There { access: Err(why) } => {
            Finding::problem(check, format!("not writable for this user: {}", words::failure(*why)), remedy)
        }
        Place::ToBeMade { access: Ok(()), .. } => {
            Finding::ok(check, "not there yet; it is made when trunkline starts")
        }
        Place::ToBeMade { below, access: Err(why) } => {
            let found =
                format!("not there, and it cannot be made in {}: {}", below.display(), words::failure(*why));
            Finding::problem(check, found, remedy)
        }
        Place::Blocked { by } => Finding::problem(
            check,
            format!("{} is not a directory", by.display()),
            "set another data_directory",
        ),
    }
}

fn of_instance(facts: &Facts<'_>) -> Vec<Finding> {
    let check = "data_directory.instance";
    let status = match (facts.instance, facts.lock) {
        (Instance::Runs(status), _) => status,
        (Instance::Nobody, Flock::Held(process)) => {
            return vec![Finding::problem(
                check,
                format!("process {process} holds it, but has no control socket"),
                "if it is a trunkline that has just started or is ending, wait; else end it",
            )];
        }
        (Instance::Nobody, _) => return vec![Finding::ok(check, "no trunkline is running with it")],
        (Instance::Forbidden, _) => {
            return vec![Finding::warning(
                check,
                "its control socket belongs to another user, so a running trunkline cannot be asked",
                "run doctor as the user whom trunkline runs as, or as root",
            )];
        }
        (Instance::Mute(why), _) => {
            return vec![Finding::problem(
                check,
                format!("a trunkline is running with it, but does not answer: {why}"),
                "look at its log; restart it if it hangs or is of another version",
            )];
        }
    };
    let mut found = format!(
        "trunkline {} is running (process {}, up {})",
        status.version,
        status.process,
        duration(status.uptime_seconds)
    );
    if status.draining {
        found.push_str(", and is stopping");
    }
    let mut findings = vec![Finding::ok(check, found)];
    if status.version != env!("CARGO_PKG_VERSION") {
        findings.push(Finding::warning(
            "data_directory.version",
            format!("it is of version {}, this is {}", status.version, env!("CARGO_PKG_VERSION")),
            "restart it, so that it is of this version too",
        ));
    }
    if in_full(status.configuration.as_deref()) != facts.file {
        let configured = match &status.configuration {
            Some(file) => format!("by {file}"),
            None => "by no file".to_owned(),
        };
        findings.push(Finding::warning(
            "data_directory.configuration",
            format!("it is configured {configured}, which is not the configuration looked at here"),
            "name its configuration with -c, or restart it with this one",
        ));
    }
    findings
}

/// A file as the instance calls it, with links resolved. A relative one cannot be: it has another working directory.
fn in_full(file: Option<&str>) -> Option<String> {
    file.map(|file| {
        Path::new(file).canonicalize().map_or_else(|_| file.to_owned(), |path| path.display().to_string())
    })
}

fn of_room(bytes: u64) -> Finding {
    let check = "data_directory.room";
    let found = format!("{} free on its disk", words::size(bytes));
    if bytes < LITTLE_ROOM {
        Finding::warning(check, found, "make room: without it logins cannot be refreshed")
    } else {
        Finding::ok(check, found)
    }
}

// === gathering ===

impl From<Result<Status, AskError>> for Instance {
    fn from(asked: Result<Status, AskError>) -> Self {
        match asked {
            Ok(status) => Self::Runs(Box::new(status)),
            Err(AskError::NotRunning { .. }) => Self::Nobody,
            Err(AskError::NotAllowed { .. }) => Self::Forbidden,
            Err(AskError::NoAnswer(why)) => Self::Mute(why),
        }
    }
}

impl Instance {
    /// The state of the instance that runs.
    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Runs(status) => Some(status),
            _ => None,
        }
    }
}

fn place(path: &Path) -> Place {
    for ancestor in path.ancestors() {
        match fs::metadata(ancestor) {
            Ok(found) if !found.is_dir() => return Place::Blocked { by: ancestor.to_owned() },
            Ok(_) if ancestor == path => return Place::There { access: access(path) },
            Ok(_) => return Place::ToBeMade { below: ancestor.to_owned(), access: access(ancestor) },
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                // A link that leads nowhere is in the way as well.
                if ancestor.symlink_metadata().is_ok() {
                    return Place::Blocked { by: ancestor.to_owned() };
                }
            }
            Err(error) => return Place::ToBeMade { below: ancestor.to_owned(), access: Err(error.kind()) },
        }
    }
    Place::ToBeMade { below: path.to_owned(), access: Err(io::ErrorKind::NotFound) }
}

/// Asks the kernel whether files could be made in a directory.
fn access(directory: &Path) -> Result<(), io::ErrorKind> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|error| io::Error::from(error).kind())
}

/// What an unprivileged user may still write, in bytes.
fn room(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests;
