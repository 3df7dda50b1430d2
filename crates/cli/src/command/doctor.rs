//! `trunkline doctor`: everything that serving depends on, looked at once, with what to do about what is wrong.
//!
//! Each check is in two parts: facts are gathered from the machine, and findings follow from the facts, purely. Nothing is
//! changed, no lock is taken, and no token is printed or sent. Spec: operations.md, *Command line*.

mod configuration;
mod data_directory;
mod finding;
mod flock;
mod journals;
mod json;
mod locks;
mod login;
mod machine;
mod open_files;
mod ports;
mod shared_logins;
mod text;
mod tokens;
mod upstreams;
mod watches;
mod words;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use trunkline_server::control;

use self::data_directory::Instance;
use self::finding::{Level, Report};
use super::{Failure, print};

/// The exit code for a configuration that must be changed.
const CONFIGURATION: u8 = 78;

pub(super) fn run(file: Option<PathBuf>, offline: bool, json: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let (report, code) = runtime.block_on(examine(file, offline));
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    print(&if json { json::of(&report) } else { text::of(&report, colour) })?;
    if code == 0 { Ok(()) } else { Err(Failure::told(code)) }
}

/// The whole of it, and the exit code.
async fn examine(file: Option<PathBuf>, offline: bool) -> (Report, u8) {
    let mut report = Report { offline, groups: Vec::new() };
    let (group, usable) = configuration::examine(file);
    report.groups.push(group);
    let Some((found, surroundings)) = usable else {
        report.groups.push(machine::without_configuration());
        return (report, CONFIGURATION);
    };
    let config = &found.config;
    let asked = control::ask(&config.data_directory).await;
    let instance = Instance::from(asked);
    let (group, keeps_journals) = data_directory::examine(config, found.file.as_deref(), &instance);
    report.groups.push(group);
    report.groups.extend(login::examine(config, found.file.is_none(), &instance, keeps_journals));
    if !offline {
        report.groups.extend(upstreams::examine(config, &surroundings).await);
    }
    report.groups.push(machine::examine(config, &instance));
    let code = u8::from(report.worst() == Level::Problem);
    (report, code)
}
