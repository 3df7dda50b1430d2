//! Ways out, and the detours that name them.

mod proxy;

pub(crate) use proxy::{fits_basic, fits_socks};

use std::collections::HashMap;

use crate::diagnostic::{Report, did_you_mean, quoted};
use crate::model::{Detour, Outbound};
use crate::record::Record;
use crate::standing;

/// The outbounds of the file, and which of them are used.
///
/// A sing-box configuration has outbounds for sing-box's own sake, so that only those in use have to be ones that
/// can be had here.
pub(super) struct Outbounds<'r> {
    by_tag: HashMap<&'r str, &'r Record>,
    used: Vec<Used<'r>>,
}

/// One that something goes through.
struct Used<'r> {
    record: &'r Record,
    /// `None`: something about it is wrong, and was reported.
    built: Option<Outbound>,
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

    /// The way that the `detour` of a service or credential names, if it names one. What is wrong on it was reported.
    pub(super) fn detour(&mut self, record: &Record, report: &mut Report) -> Option<Detour> {
        let mut way: Vec<&str> = Vec::new();
        let mut outbounds = Vec::new();
        let mut at = record;
        while let Some(tag) = at.text("detour") {
            let spot = at.spot_of("detour");
            let Some((&tag, &next)) = self.by_tag.get_key_value(tag) else {
                let hint = did_you_mean(tag, self.by_tag.keys().copied());
                report.error(&spot, format!("there is no outbound with the tag {}{hint}", quoted(tag)));
                return None;
            };
            if next.section.open {
                let kind = next.text("type").unwrap_or_default();
                let message = format!(
                    "outbound {} is of type {}; only direct, http and socks can be used",
                    quoted(tag),
                    quoted(kind)
                );
                report.error(&spot, message);
                return None;
            }
            if way.contains(&tag) {
                if !report.has_error_at(&spot) {
                    report.error(&spot, format!("outbound {} is reached through itself", quoted(tag)));
                }
                return None;
            }
            way.push(tag);
            outbounds.push(self.used(tag, next, report));
            at = next;
        }
        let mut outbounds: Vec<Outbound> = outbounds.into_iter().collect::<Option<_>>()?;
        outbounds.reverse();
        (!outbounds.is_empty()).then_some(Detour { outbounds })
    }

    /// Looks at the options of those in use.
    pub(super) fn review(&self, report: &mut Report) {
        for used in &self.used {
            standing::review(used.record, report);
        }
    }

    /// An outbound that something goes through, built at its first use.
    fn used(&mut self, tag: &str, record: &'r Record, report: &mut Report) -> Option<Outbound> {
        if let Some(used) = self.used.iter().find(|used| std::ptr::eq(used.record, record)) {
            return used.built.clone();
        }
        let built = proxy::build(tag, record, report);
        self.used.push(Used { record, built: built.clone() });
        built
    }
}
