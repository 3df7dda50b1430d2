//! What fields mean together: references resolved, contradictions found, and the model built.
//!
//! Checks go on after a problem wherever there is something left to look at; whatever could not be built makes the
//! result `None`, and has been reported.

mod admin;
mod certificate_provider;
mod credential;
mod limit;
mod listener;
mod login;
mod outbound;
mod places;
mod pool;
mod service;
mod tls;
mod upstream;
mod user;

pub(crate) use outbound::{fits_basic, fits_socks};

use std::collections::HashSet;
use std::path::Path;

use trunkline_core::client_address::Network;

use crate::diagnostic::Report;
use crate::model::{Config, Log, LogFormat, LogLevel};
use crate::record::Record;
use crate::{Environment, defaults, format, paths, standing};

/// Something is wrong, and has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reported;

/// What every check needs.
struct Context<'a> {
    env: &'a dyn Environment,
    report: &'a mut Report,
    outbounds: outbound::Outbounds<'a>,
    /// The tags of certificate providers.
    certificate_providers: HashSet<String>,
}

/// Checks the whole document.
pub(crate) fn document(record: &Record, env: &dyn Environment, report: &mut Report) -> Option<Config> {
    standing::review(record, report);
    let outbounds = outbound::Outbounds::of(record, report);
    let certificate_providers = certificate_provider::tags(record, report);
    let mut context = Context { env, report, outbounds, certificate_providers };
    let log = log(record.record("log"), &mut context);
    let has_ledger = ledger(record, &mut context);
    let admin = record.record("admin").map(|admin| admin::check(admin, &mut context));

    let records: Vec<&Record> = record.records("services").collect();
    let spot = record.spot_of("services");
    if records.is_empty() && !context.report.has_error_below(&spot) {
        context.report.error(&spot, "no service of type ccm, claude, ocm or codex; there is nothing to do");
    }
    let tags = tags(&records, &mut context);
    let checked: Vec<_> =
        records.iter().zip(tags).map(|(record, tag)| service::check(record, tag, &mut context)).collect();

    let listeners = checked.iter().map(|service| &service.listener).chain(admin.as_ref());
    listener::check(listeners, context.report);
    login::check(checked.iter().flat_map(|service| &service.logins), &mut context);
    context.outbounds.review(context.report);
    places::review(record, env, context.report);

    let services: Option<Vec<_>> = checked.into_iter().map(|service| service.model).collect();
    let data_directory =
        record.path("data_directory").map_or_else(|| paths::default_data_directory(env), Path::to_path_buf);
    Some(Config {
        log,
        data_directory,
        has_ledger,
        trusted_proxies: record
            .owned_texts("trusted_proxies")
            .iter()
            .filter_map(|text| Network::parse(text))
            .collect(),
        drain_timeout: record.duration("drain_timeout").unwrap_or(defaults::DRAIN_TIMEOUT),
        reuse_port: record.flag("reuse_port").unwrap_or(false),
        services: services.filter(|services| !services.is_empty())?,
    })
}

/// The tag of each service. Two of the same are an error; two that state none and are of the same type are told
/// apart, since sing-box takes them.
fn tags(records: &[&Record], context: &mut Context<'_>) -> Vec<String> {
    let mut taken = HashSet::new();
    for record in records {
        if let Some(tag) = record.text("tag")
            && !taken.insert(tag.to_owned())
        {
            context.report.error(&record.spot_of("tag"), "another service has this tag; tags must be unique");
        }
    }
    let mut tag = |record: &Record| {
        if let Some(tag) = record.text("tag") {
            return tag.to_owned();
        }
        let kind = record.choice("type").unwrap_or_default();
        let numbered = (2..).map(|number| format!("{kind}-{number}"));
        let mut names = std::iter::once(kind.to_owned()).chain(numbered);
        let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
        if name != kind && record.stated("tag").is_none() {
            let message =
                format!("without a tag this service is called {name} in logs and metrics; give it one");
            context.report.warn(&record.spot, message);
        }
        taken.insert(name.clone());
        name
    };
    records.iter().map(|record| tag(record)).collect()
}

fn log(record: Option<&Record>, context: &mut Context<'_>) -> Log {
    let Some(record) = record else { return defaults::LOG };
    let level = match record.choice("level") {
        Some("trace") => LogLevel::Trace,
        Some("debug") => LogLevel::Debug,
        Some("warn") => LogLevel::Warn,
        Some("error") => LogLevel::Error,
        _ => defaults::LOG.level,
    };
    let shape = match record.choice("format") {
        Some("pretty") => LogFormat::Pretty,
        Some("json") => LogFormat::Json,
        _ => defaults::LOG.format,
    };
    if record.text("output") == Some(format::STDOUT) {
        let message = "logs go to standard error; standard output is for answers";
        context.report.warn(&record.spot_of("output"), message);
    }
    Log {
        level,
        disabled: record.flag("disabled").unwrap_or(defaults::LOG.disabled),
        timestamp: record.flag("timestamp").unwrap_or(defaults::LOG.timestamp),
        format: shape,
        output: record.path("output").map(Path::to_path_buf),
    }
}

/// Whether there is to be one.
fn ledger(record: &Record, context: &mut Context<'_>) -> bool {
    let Some(ledger) = record.record("ledger") else { return true };
    let is_none = ledger.choice("type") == Some("none");
    if is_none && ledger.stated("retention").is_some() {
        context.report.warn(&ledger.spot_of("retention"), "has no effect without a ledger");
    }
    !is_none
}
