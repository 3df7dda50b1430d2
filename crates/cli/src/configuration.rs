//! Finding and reading the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use trunkline_config::{Config, Diagnostic, Environment as _, config_locations, load, zero_config};

use crate::command::Failure;
use crate::environment::{Process, read_bounded};

/// Largest configuration file read.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// A configuration, and where it came from.
pub(crate) struct Found {
    pub(crate) config: Config,
    /// `None`: there is no file, this is what runs without one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The configuration: the file that was named, else the first of the usual places, else none at all.
pub(crate) fn find(named: Option<PathBuf>) -> Result<Found, Failure> {
    read_or_default(locate(named))
}

/// The configuration in a file, or what runs without one.
pub(crate) fn read_or_default(file: Option<PathBuf>) -> Result<Found, Failure> {
    match file {
        Some(file) => read(file),
        None => Ok(Found { config: zero_config(&Process), file: None, warnings: Vec::new() }),
    }
}

/// The file that [`find`] would read.
pub(crate) fn locate(named: Option<PathBuf>) -> Option<PathBuf> {
    let named =
        named.or_else(|| Process.var("TRUNKLINE_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from));
    named.or_else(|| config_locations(&Process).into_iter().find(|file| file.exists()))
}

/// Reads one file. The failure lists every problem, one in a line.
pub(crate) fn read(file: PathBuf) -> Result<Found, Failure> {
    let text = read_bounded(&file, MAX_CONFIG)
        .map_err(|error| Failure::configuration(format!("{}: cannot be read: {error}", file.display())))?;
    match load(&text, &Process) {
        Ok(loaded) => Ok(Found { config: loaded.config, file: Some(file), warnings: loaded.warnings }),
        Err(problems) => {
            let mut lines = Vec::new();
            for warning in &problems.warnings {
                lines.push(format!("{}: warning: {warning}", file.display()));
            }
            for error in &problems.errors {
                lines.push(format!("{}: {error}", file.display()));
            }
            let count = problems.errors.len();
            lines.push(format!("{}: {count} problem{}", file.display(), if count == 1 { "" } else { "s" }));
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
