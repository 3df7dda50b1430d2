//! Watching files: Linux has limits for each user, which other programs use up.

#![cfg_attr(not(any(target_os = "linux", test)), expect(dead_code, reason = "only Linux has these limits"))]

use super::finding::Finding;

/// Watches below which a few editors leave none. Distributions set 8,192 and more.
const FEW_WATCHES: u64 = 4_096;

/// Instances below which a desktop leaves none. The kernel's own limit is 128.
const FEW_INSTANCES: u64 = 64;

/// What the system tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    max_watches: Option<u64>,
    max_instances: Option<u64>,
    /// Why none can be made now.
    refused: Option<String>,
}

/// The findings; none where there is nothing to look at.
#[cfg(target_os = "linux")]
pub(super) fn examine() -> Vec<Finding> {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    let made = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC);
    findings(&Facts {
        max_watches: read("max_user_watches"),
        max_instances: read("max_user_instances"),
        refused: made.err().map(|error| std::io::Error::from(error).to_string()),
    })
}

/// The findings; none where there is nothing to look at.
#[cfg(not(target_os = "linux"))]
pub(super) fn examine() -> Vec<Finding> {
    Vec::new()
}

fn findings(facts: &Facts) -> Vec<Finding> {
    let check = "machine.watches";
    let mut findings = Vec::new();
    if let Some(why) = &facts.refused {
        findings.push(Finding::warning(
            check,
            format!("no file can be watched: {why}; changes are seen late, or on SIGHUP only"),
            "raise fs.inotify.max_user_instances with sysctl, or end programs that watch files",
        ));
    }
    for (limit, few, name) in [
        (facts.max_watches, FEW_WATCHES, "fs.inotify.max_user_watches"),
        (facts.max_instances, FEW_INSTANCES, "fs.inotify.max_user_instances"),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit < few) {
            findings.push(Finding::warning(
                check,
                format!("{name} is {limit}, which other programs may use up"),
                format!("sysctl {name}={few}, or more"),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, "files can be watched"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn low_limits_and_a_refusal_are_told() {
        let usual = Facts { max_watches: Some(8_192), max_instances: Some(128), refused: None };
        let of = |facts: Facts| findings(&facts).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(of(usual.clone()), [Level::Ok]);
        assert_eq!(of(Facts { max_watches: None, max_instances: None, ..usual.clone() }), [Level::Ok]);
        assert_eq!(of(Facts { max_watches: Some(100), ..usual.clone() }), [Level::Warning]);
        let all = Facts { max_watches: Some(0), max_instances: Some(0), refused: Some("x".to_owned()) };
        assert_eq!(of(all), [Level::Warning; 3]);
        assert_eq!(of(Facts { refused: Some("too many".to_owned()), ..usual }), [Level::Warning]);
    }
}
