//! Ways out, and the detours that name them.

use std::collections::HashMap;

use crate::diagnostic::{Report, did_you_mean, quoted};
use crate::record::Record;
use crate::standing;

/// The outbounds of the file, and which of them are used.
///
/// A sing-box configuration has outbounds for sing-box's own sake, so that only those in use have to be ones that
/// can be had here.
pub(super) struct Outbounds<'r> {
    by_tag: HashMap<&'r str, &'r Record>,
    used: Vec<&'r Record>,
}

impl<'r> Outbounds<'r> {
    /// The outbounds of a document.
    pub(super) fn of(document: &'r Record, report: &mut Report) -> Self {
        let mut by_tag = HashMap::new();
        for record in document.records("outbounds") {
            let Some(tag) = record.text("tag") else { continue };
            if by_tag.insert(tag, record).is_some() {
                report.error(&record.spot_of("tag"), "another outbound has this tag; tags must be unique");
            }
        }
        Self { by_tag, used: Vec::new() }
    }

    /// Checks the `detour` of a service or credential, and everything on its way.
    pub(super) fn detour(&mut self, record: &Record, report: &mut Report) {
        let mut way: Vec<&str> = Vec::new();
        let mut at = record;
        while let Some(tag) = at.text("detour") {
            let spot = at.spot_of("detour");
            let Some((&tag, &next)) = self.by_tag.get_key_value(tag) else {
                let hint = did_you_mean(tag, self.by_tag.keys().copied());
                report.error(&spot, format!("there is no outbound with the tag {}{hint}", quoted(tag)));
                return;
            };
            if next.section.open {
                let kind = next.text("type").unwrap_or_default();
                let message = format!(
                    "outbound {} is of type {}; only direct, http and socks can be used",
                    quoted(tag),
                    quoted(kind)
                );
                report.error(&spot, message);
                return;
            }
            if way.contains(&tag) {
                if !report.has_error_at(&spot) {
                    report.error(&spot, format!("outbound {} is reached through itself", quoted(tag)));
                }
                return;
            }
            way.push(tag);
            if !self.used.iter().any(|used| std::ptr::eq(*used, next)) {
                self.used.push(next);
            }
            at = next;
        }
    }

    /// Looks at the options of those in use.
    pub(super) fn review(&self, report: &mut Report) {
        for outbound in &self.used {
            standing::review(outbound, report);
        }
    }
}
