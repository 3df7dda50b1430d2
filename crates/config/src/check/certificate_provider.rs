//! Sources of certificates, which listeners refer to by their tags.

use std::collections::HashSet;

use crate::diagnostic::{Report, did_you_mean, quoted};
use crate::record::Record;

/// The tags that `certificate_providers` has. Two of the same are an error.
pub(super) fn tags(document: &Record, report: &mut Report) -> HashSet<String> {
    let mut tags = HashSet::new();
    for provider in document.records("certificate_providers") {
        if let Some(tag) = provider.text("tag")
            && !tags.insert(tag.to_owned())
        {
            let message = "another certificate provider has this tag; tags must be unique";
            report.error(&provider.spot_of("tag"), message);
        }
    }
    tags
}

/// Checks where a listener's TLS says that its certificate comes from.
pub(super) fn check(tls: &Record, tags: &HashSet<String>, report: &mut Report) {
    let Some(spot) = tls.stated("certificate_provider") else { return };
    if tls.stated("acme").is_some() {
        report.error(spot, "stands beside acme; give one of them");
    }
    if let Some(tag) = tls.text("certificate_provider")
        && !tags.contains(tag)
    {
        let hint = did_you_mean(tag, tags.iter().map(String::as_str));
        report.error(spot, format!("there is no certificate provider with the tag {}{hint}", quoted(tag)));
    }
}
