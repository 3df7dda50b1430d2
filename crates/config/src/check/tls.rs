//! TLS, of a listener and to a proxy.

use super::{Context, Reported, certificate_provider};
use crate::diagnostic::Report;
use crate::model::{PemSource, ProxyTls, Tls, TlsVersion};
use crate::record::Record;
use trunkline_core::secret::Secret;

/// What PEM text of certificates cannot be without.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The only protocol that a proxy is spoken to in.
const HTTP1: &str = "http/1.1";

/// TLS as it was asked for.
pub(super) fn check(record: Option<&Record>, context: &mut Context<'_>) -> Result<Option<Tls>, Reported> {
    let Some(record) = record.filter(|record| is_on(record, context.report)) else { return Ok(None) };
    certificate_provider::check(record, &context.certificate_providers, context.report);
    let certificate = pem(record, ["certificate", "certificate_path"], CERTIFICATE, context.report);
    let key = pem(record, ["key", "key_path"], "PRIVATE KEY-----", context.report);
    for (found, names) in [(&certificate, "certificate or certificate_path"), (&key, "key or key_path")] {
        // Where another source is named there is neither, and nothing to complain about.
        let has_source = ["acme", "certificate_provider"].iter().any(|name| record.stated(name).is_some());
        if matches!(found, Ok(None)) && !has_source {
            context.report.error(&record.spot, format!("TLS needs {names}"));
        }
    }
    let min_version = min_version(record, context.report);
    Ok(Some(Tls {
        certificate: certificate?.ok_or(Reported)?,
        key: key?.ok_or(Reported)?,
        server_name: record.text("server_name").map(str::to_owned),
        alpn: record.owned_texts("alpn"),
        min_version,
    }))
}

/// TLS to a proxy as it was asked for.
pub(super) fn check_proxy(
    record: Option<&Record>,
    report: &mut Report,
) -> Result<Option<ProxyTls>, Reported> {
    let Some(record) = record.filter(|record| is_on(record, report)) else { return Ok(None) };
    for (name, spot) in record.texts("alpn") {
        if name != HTTP1 {
            report.error(spot, "a proxy is spoken to in http/1.1, and may be offered nothing else");
        }
    }
    let insecure = record.flag("insecure").unwrap_or(false);
    let certificate = pem(record, ["certificate", "certificate_path"], CERTIFICATE, report)?;
    if insecure {
        let message =
            "any certificate is accepted: whoever is on the way to the proxy can read the login there";
        report.warn(&record.spot_of("insecure"), message);
    }
    Ok(Some(ProxyTls {
        server_name: record.text("server_name").map(str::to_owned),
        insecure,
        alpn: record.owned_texts("alpn"),
        min_version: min_version(record, report),
        certificate,
    }))
}

fn is_on(record: &Record, report: &mut Report) -> bool {
    let enabled = record.flag("enabled").unwrap_or(false);
    if !enabled && record.stated("enabled").is_none() && !record.stated.is_empty() {
        report.warn(&record.spot, "TLS is described here but not switched on; set \"enabled\": true");
    }
    enabled
}

fn min_version(record: &Record, report: &mut Report) -> TlsVersion {
    match record.choice("min_version") {
        Some("1.3") => TlsVersion::V1_3,
        Some(older @ ("1.0" | "1.1")) => {
            let message = format!("TLS {older} is not spoken any more; connections use 1.2 or 1.3");
            report.warn(&record.spot_of("min_version"), message);
            TlsVersion::V1_2
        }
        _ => TlsVersion::V1_2,
    }
}

/// PEM text, given itself or as a file. `marker` is what such text cannot be without.
fn pem(
    record: &Record,
    [inline, path]: [&str; 2],
    marker: &str,
    report: &mut Report,
) -> Result<Option<PemSource>, Reported> {
    match (record.stated(inline), record.stated(path)) {
        (Some(spot), Some(_)) => {
            report.error(spot, format!("stands beside {path}; give one of them"));
            Err(Reported)
        }
        (None, None) => Ok(None),
        (None, Some(_)) => match record.path(path) {
            Some(path) => Ok(Some(PemSource::Path(path.to_path_buf()))),
            None => Err(Reported),
        },
        (Some(spot), None) => {
            let lines: Vec<&str> = record.secrets(inline).map(Secret::expose).collect();
            let text = Secret::new(lines.join("\n"));
            if text.expose().contains(marker) {
                return Ok(Some(PemSource::Inline(text)));
            }
            if record.entry(inline).is_some() && !report.has_error_at(spot) {
                report.error(spot, format!("no PEM text: it has no line with {marker}"));
            }
            Err(Reported)
        }
    }
}
