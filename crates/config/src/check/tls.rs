//! TLS of a listener.

use super::{Context, Reported};
use crate::model::{PemSource, Tls, TlsVersion};
use crate::record::Record;
use trunkline_core::secret::Secret;

/// TLS as it was asked for.
pub(super) fn check(record: Option<&Record>, context: &mut Context<'_>) -> Result<Option<Tls>, Reported> {
    let Some(record) = record else { return Ok(None) };
    let enabled = record.flag("enabled").unwrap_or(false);
    if !enabled {
        if record.stated("enabled").is_none() && !record.stated.is_empty() {
            let message = "TLS is described here but not switched on; set \"enabled\": true";
            context.report.warn(&record.spot, message);
        }
        return Ok(None);
    }
    let certificate = pem(record, "certificate", "certificate_path", "-----BEGIN CERTIFICATE-----", context);
    let key = pem(record, "key", "key_path", "PRIVATE KEY-----", context);
    let min_version = match record.choice("min_version") {
        Some("1.3") => TlsVersion::V1_3,
        Some(older @ ("1.0" | "1.1")) => {
            let message = format!("TLS {older} is not spoken any more; connections use 1.2 or 1.3");
            context.report.warn(&record.spot_of("min_version"), message);
            TlsVersion::V1_2
        }
        _ => TlsVersion::V1_2,
    };
    Ok(Some(Tls {
        certificate: certificate.ok_or(Reported)?,
        key: key.ok_or(Reported)?,
        server_name: record.text("server_name").map(str::to_owned),
        alpn: record.owned_texts("alpn"),
        min_version,
    }))
}

/// PEM text, given itself or as a file. `marker` is what such text cannot be without.
fn pem(
    record: &Record,
    inline: &str,
    path: &str,
    marker: &str,
    context: &mut Context<'_>,
) -> Option<PemSource> {
    match (record.stated(inline), record.stated(path)) {
        (Some(spot), Some(_)) => {
            context.report.error(spot, format!("stands beside {path}; give one of them"));
            None
        }
        (None, None) => {
            // With ACME there is neither yet, and nothing to complain about.
            if record.stated("acme").is_none() {
                context.report.error(&record.spot, format!("TLS needs {inline} or {path}"));
            }
            None
        }
        (None, Some(_)) => record.path(path).map(|path| PemSource::Path(path.to_path_buf())),
        (Some(spot), None) => {
            let lines: Vec<&str> = record.secrets(inline).map(Secret::expose).collect();
            let text = Secret::new(lines.join("\n"));
            if text.expose().contains(marker) {
                return Some(PemSource::Inline(text));
            }
            if record.entry(inline).is_some() && !context.report.has_error_at(spot) {
                context.report.error(spot, format!("no PEM text: it has no line with {marker}"));
            }
            None
        }
    }
}
