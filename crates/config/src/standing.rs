//! Options of sing-box that are known here but not read: a warning where that is harmless, else an error.

use crate::diagnostic::Report;
use crate::record::{Decoded, Record};
use crate::table::Standing;

/// Looks at `record` and everything below it.
///
/// Except for outbounds: one that nothing goes through answers for nothing; see [`crate::check`].
pub(crate) fn review(record: &Record, report: &mut Report) {
    for (name, entry) in &record.entries {
        let standing = record.section.field(name).map_or(Standing::Read, |field| field.standing);
        match (standing, &entry.value) {
            (Standing::Harmless, value) if !value.is_idle() => {
                report.warn_once(name, &entry.spot, "has no effect here and is ignored");
            }
            (Standing::Refused(why), value) if !value.is_idle() => report.error(&entry.spot, why),
            (Standing::Read, Decoded::Record(record)) => review(record, report),
            (Standing::Read, Decoded::List(items)) if *name != "outbounds" => {
                for item in items {
                    if let Decoded::Record(record) = &item.value {
                        review(record, report);
                    }
                }
            }
            _ => {}
        }
    }
}
