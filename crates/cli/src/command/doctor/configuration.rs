//! The configuration, the variables beside it, and who can read the file.

use std::path::{Path, PathBuf};

use trunkline_config::Surroundings;

use super::finding::{Finding, Group};
use crate::configuration::{self, Found};
use crate::environment;
use crate::exposed::others_can_read;

/// The group, and what can be gone on with if it can be used.
pub(super) fn examine(file: Option<PathBuf>) -> (Group, Option<(Found, Surroundings)>) {
    let mut findings = Vec::new();
    let found = match configuration::find(file) {
        Ok(found) => {
            findings.extend(of_valid(&found));
            Some(found)
        }
        Err(failure) => {
            let lines: Vec<_> = failure.lines().collect();
            let remedy = "correct it; \"trunkline check\" reports the same";
            findings.push(Finding::problem("configuration.valid", lines.join("\n"), remedy));
            None
        }
    };
    findings.extend(
        environment::empty_variables()
            .into_iter()
            .map(|hint| Finding::warning("configuration.environment", hint, "unset it, or give it a value")),
    );
    let surroundings = match environment::surroundings() {
        Ok(surroundings) => Some(surroundings),
        Err(failure) => {
            let lines: Vec<_> = failure.lines().collect();
            let remedy = "correct or unset it";
            findings.push(Finding::problem("configuration.environment", lines.join("\n"), remedy));
            None
        }
    };
    let about = found.as_ref().and_then(|found| found.file.as_ref()).map(|file| file.display().to_string());
    (Group { section: "configuration", subject: None, about, findings }, found.zip(surroundings))
}

fn of_valid(found: &Found) -> Vec<Finding> {
    let services = &found.config.services;
    let Some(file) = &found.file else {
        let text = "there is no configuration file; \"trunkline serve\" runs with its defaults";
        return vec![Finding::ok("configuration.valid", text)];
    };
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut findings = vec![Finding::ok(
        "configuration.valid",
        format!(
            "valid: {}, {}, {}",
            count(services.len(), "service"),
            count(services.iter().map(|service| service.credentials.len()).sum(), "credential"),
            count(services.iter().map(|service| service.users.len()).sum(), "user"),
        ),
    )];
    findings.extend(found.warnings.iter().map(|warning| {
        let is_ignored = warning.message.contains("ignored");
        let remedy = if is_ignored {
            "remove it, unless another program reads this file too"
        } else {
            "correct it there"
        };
        Finding::warning("configuration.warning", warning.to_string(), remedy)
    }));
    findings.push(of_exposure(file, others_can_read(file)));
    findings
}

fn of_exposure(file: &Path, is_exposed: bool) -> Finding {
    let check = "configuration.private";
    if is_exposed {
        let text = "other users of this machine can read it, and it may hold tokens";
        Finding::warning(check, text, format!("chmod 600 {}", file.display()))
    } else {
        Finding::ok(check, "other users of this machine cannot read it")
    }
}
