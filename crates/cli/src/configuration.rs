//! Finding and reading the configuration.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use trunkline_config::{
    Config, Diagnostic, Environment as _, config_locations, file_error, load, zero_config,
};

use crate::command::Failure;
use crate::environment::{Process, read_bounded};
use crate::exposed;

/// Largest configuration file read.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// A configuration, and where it came from.
pub(crate) struct Found {
    pub(crate) config: Config,
    /// `None`: there is no file, this is what runs without one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Warnings about files that others can read.
    pub(crate) exposed: Vec<String>,
}

impl Found {
    /// What is to be said about the addresses that clients and providers are reached by.
    pub(crate) fn address_hints(&self) -> impl Iterator<Item = &Diagnostic> {
        const FIELDS: [&str; 5] = [".path", ".api_url", ".openai_url", ".token_url", ".usage_url"];
        self.warnings.iter().filter(|warning| FIELDS.iter().any(|field| warning.path.ends_with(field)))
    }
}

/// The configuration: the file that was named, else the first of the usual places, else none at all.
pub(crate) fn find(named: Option<PathBuf>) -> Result<Found, Failure> {
    read_or_default(locate(named))
}

/// The configuration in a file, or what runs without one.
pub(crate) fn read_or_default(located: Option<Located>) -> Result<Found, Failure> {
    if let Some(Located { file, by }) = located {
        return read_as(file, by);
    }
    let config = zero_config(&Process);
    let exposed = exposed::warnings(None, &config);
    Ok(Found { config, file: None, warnings: Vec::new(), exposed })
}

/// A configuration file.
pub(crate) struct Located {
    pub(crate) file: PathBuf,
    /// What named it, for messages; empty: it is one of the usual places.
    by: &'static str,
}

/// The file that [`find`] would read.
pub(crate) fn locate(named: Option<PathBuf>) -> Option<Located> {
    let by = |by| move |file| Located { file, by };
    let variable = || Process.var("TRUNKLINE_CONFIG").map(PathBuf::from);
    named
        .map(by(" (named by -c)"))
        .or_else(|| variable().map(by(" (named by TRUNKLINE_CONFIG)")))
        .or_else(|| config_locations(&Process).into_iter().find(|file| is_there(file)).map(by("")))
}

/// Whether there is anything of that name. What cannot be looked at, or leads nowhere, is an error to tell of, and not a
/// reason to run without a configuration.
fn is_there(file: &Path) -> bool {
    !file
        .symlink_metadata()
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// Reads one file. The failure lists every problem, one in a line.
pub(crate) fn read(file: PathBuf) -> Result<Found, Failure> {
    read_as(file, "")
}

fn read_as(file: PathBuf, by: &str) -> Result<Found, Failure> {
    let text = read_bounded(&file, MAX_CONFIG)
        .map_err(|error| Failure::configuration(format!("{}{by}: {}", file.display(), file_error(&error))))?;
    match load(&text, &Process) {
        Ok(loaded) => {
            let exposed = exposed::warnings(Some(&file), &loaded.config);
            Ok(Found { config: loaded.config, file: Some(file), warnings: loaded.warnings, exposed })
        }
        Err(problems) => {
            let mut lines = Vec::new();
            for warning in &problems.warnings {
                lines.push(format!("{}: warning: {warning}", file.display()));
            }
            for error in &problems.errors {
                lines.push(format!("{}: {error}", file.display()));
            }
            let count = problems.errors.len();
            if count > 1 {
                lines.push(format!("{}: {count} problems", file.display()));
            }
            Err(Failure::configuration(lines.join("\n")))
        }
    }
}

/// Moves the services to another address, as `--listen` asks.
pub(crate) fn listen_at(config: &mut Config, address: SocketAddr) -> Result<(), Failure> {
    let first = config.services.first().map(|service| (service.listen, service.listen_port));
    if config.services.iter().any(|service| Some((service.listen, service.listen_port)) != first) {
        return Err(Failure::usage(
            "--listen: the services of this configuration listen on several addresses; change listen and listen_port \
             there",
        ));
    }
    for service in &mut config.services {
        if !address.ip().is_loopback() && service.users.is_empty() && !service.allow_unauthenticated {
            return Err(Failure::configuration(format!(
                "--listen {address}: service {} has no users, so it may only listen on a loopback address; add users, or \
                 set \"allow_unauthenticated\": true",
                service.tag
            )));
        }
        service.listen = address.ip();
        service.listen_port = address.port();
    }
    Ok(())
}
