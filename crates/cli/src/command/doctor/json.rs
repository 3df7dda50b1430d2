//! The report for programs. Its fields and the names of checks stay; further ones may join them.

use serde_json::{Value, json};

use super::finding::{Group, Level, Report};

/// The text: one object, with the findings of all groups in one list.
pub(super) fn of(report: &Report) -> String {
    let findings: Vec<_> = report.groups.iter().flat_map(of_group).collect();
    let whole = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "level": report.worst().word(),
        "problems": report.count(Level::Problem),
        "warnings": report.count(Level::Warning),
        "offline": report.offline,
        "findings": findings,
    });
    format!("{whole:#}\n")
}

fn of_group(group: &Group) -> impl Iterator<Item = Value> {
    group.findings.iter().map(|finding| {
        json!({
            "section": group.section,
            "subject": group.subject,
            "check": finding.check,
            "level": finding.level.word(),
            "found": finding.found,
            "remedy": finding.remedy,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Finding;
    use super::*;

    #[test]
    fn every_finding_has_all_fields() {
        let findings = vec![Finding::ok("a.b", "fine"), Finding::warning("a.c", "not fine", "mend it")];
        let group = Group { section: "a", subject: None, about: Some("x".to_owned()), findings };
        let read: Value = serde_json::from_str(&of(&Report { offline: false, groups: vec![group] })).unwrap();
        let expected = json!({
            "version": env!("CARGO_PKG_VERSION"), "level": "warning", "problems": 0, "warnings": 1, "offline": false,
            "findings": [
                { "section": "a", "subject": null, "check": "a.b", "level": "ok", "found": "fine", "remedy": null },
                { "section": "a", "subject": null, "check": "a.c", "level": "warning", "found": "not fine",
                  "remedy": "mend it" },
            ],
        });
        assert_eq!(read, expected);
    }
}
