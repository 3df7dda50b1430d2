//! `trunkline check`.

use std::io::Write as _;
use std::path::PathBuf;

use super::{Failure, note, print};
use crate::configuration;
use crate::environment::empty_variables;

pub(super) fn run(file: Option<PathBuf>) -> Result<(), Failure> {
    for hint in empty_variables() {
        note("warning", &hint);
    }
    let found = configuration::find(file)?;
    let Some(file) = found.file else {
        return print("no configuration file: \"trunkline serve\" runs with its defaults\n");
    };
    let mut stderr = std::io::stderr().lock();
    for warning in &found.warnings {
        let _ = writeln!(stderr, "{}: warning: {warning}", file.display());
    }
    for warning in &found.exposed {
        let _ = writeln!(stderr, "warning: {warning}");
    }
    let services = &found.config.services;
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    print(&format!(
        "{}: valid: {}, {}, {}\n",
        file.display(),
        count(services.len(), "service"),
        count(services.iter().map(|service| service.credentials.len()).sum(), "credential"),
        count(services.iter().map(|service| service.users.len()).sum(), "user"),
    ))
}
