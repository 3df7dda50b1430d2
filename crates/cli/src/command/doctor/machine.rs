//! This machine: ports, file watches, open files.

use trunkline_config::Config;

use super::data_directory::Instance;
use super::finding::Group;
use super::{open_files, ports, watches};

/// The group.
pub(super) fn examine(config: &Config, instance: &Instance) -> Group {
    let mut findings = ports::examine(config, instance);
    findings.extend(watches::examine());
    findings.push(open_files::examine(config, instance));
    Group { section: "machine", subject: None, about: None, findings }
}

/// What can be looked at where the configuration cannot be used.
pub(super) fn without_configuration() -> Group {
    Group { section: "machine", subject: None, about: None, findings: watches::examine() }
}
