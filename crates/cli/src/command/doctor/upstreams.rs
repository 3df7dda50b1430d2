//! The addresses of providers: whether each can be reached on its way out, and what its clock shows.

use std::time::{Duration, SystemTime};

use trunkline_config::{Config, Surroundings};
use trunkline_engine::upstream::probe::{Failed, Report, Stage, StageKind};
use trunkline_engine::upstream::tls::SystemAuthorities;
use trunkline_server::{UpstreamInUse, upstreams_in_use};

use super::finding::{Finding, Group};
use super::words;

/// How far clocks may be apart before it is worth a word.
const NOTABLE_SKEW: Duration = Duration::from_secs(30);

/// How far before something fails: a token is refreshed five minutes ahead of its end.
const HARMFUL_SKEW: Duration = Duration::from_secs(4 * 60);

/// Addresses that are shown of a name.
const SHOWN_ADDRESSES: usize = 4;

/// A group for each.
pub(super) async fn examine(config: &Config, surroundings: &Surroundings) -> Vec<Group> {
    let system = SystemAuthorities::new(surroundings.authorities());
    let upstreams = upstreams_in_use(config, surroundings);
    let mut groups = Vec::with_capacity(upstreams.len());
    // One after the other: they share the line whose times are told, and each is bounded.
    for upstream in &upstreams {
        groups.push(group(upstream, upstream.probe(&system).await));
    }
    groups
}

fn group(upstream: &UpstreamInUse<'_>, report: Result<Report, String>) -> Group {
    let findings = match report {
        Ok(report) => findings(&report, !upstream.hops.is_empty()),
        Err(why) => {
            vec![Finding::problem("upstream.settings", why, "correct the option that it names")]
        }
    };
    let way: Vec<_> = upstream.hops.iter().rev().map(ToString::to_string).collect();
    let mut about = format!("for {}", upstream.credentials.join(", "));
    if !way.is_empty() {
        about = format!("{about}, through {}", way.join(", reached through "));
    }
    Group { section: "upstream", subject: Some(upstream.url.clone()), about: Some(about), findings }
}

/// What follows from how far it went. `has_way`: whether proxies are on the way.
fn findings(report: &Report, has_way: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for passed in &report.passed {
        let took = words::short(passed.took);
        match &passed.stage {
            Stage::Lookup { host, addresses } => {
                let mut shown: Vec<_> =
                    addresses.iter().take(SHOWN_ADDRESSES).map(ToString::to_string).collect();
                if let Some(more @ 1..) = addresses.len().checked_sub(SHOWN_ADDRESSES) {
                    shown.push(format!("{more} more"));
                }
                let found = format!("{host} is {}, found in {took}", shown.join(", "));
                findings.push(Finding::ok("upstream.lookup", found));
            }
            Stage::Connect { address } => {
                findings.push(Finding::ok("upstream.connect", format!("TCP to {address} in {took}")));
            }
            Stage::Proxy { outbound } => {
                findings.push(Finding::ok("upstream.proxy", format!("{outbound} opened the way in {took}")));
            }
            Stage::Tls { is_http2 } => {
                let protocol = if *is_http2 { "HTTP/2" } else { "HTTP/1.1" };
                findings.push(Finding::ok("upstream.tls", format!("TLS in {took}, with {protocol}")));
            }
            Stage::Answer { status, date, received } => {
                let found = format!("it answered in {took} (status {status}, asked without a credential)");
                findings.push(Finding::ok("upstream.answer", found));
                findings.push(of_clock(*date, *received, passed.took));
            }
        }
    }
    findings.extend(report.failed.as_ref().map(|failed| of_failure(failed, has_way)));
    findings
}

fn of_failure(failed: &Failed, has_way: bool) -> Finding {
    let why = failed.why.as_str();
    let way = if has_way { "the outbounds on the way and " } else { "" };
    match failed.at {
        StageKind::Lookup => Finding::problem(
            "upstream.lookup",
            why,
            format!(
                "check {way}the name and this machine's resolver; without a direct way out, set a detour or HTTPS_PROXY"
            ),
        ),
        StageKind::Connect => Finding::problem(
            "upstream.connect",
            why,
            format!("check {way}the firewall; without a direct way out, set a detour or HTTPS_PROXY"),
        ),
        StageKind::Proxy => {
            Finding::problem("upstream.proxy", why, "check the proxy's address, login and rules")
        }
        StageKind::Tls => Finding::problem(
            "upstream.tls",
            why,
            "check that TLS is spoken there; if its certificate is of a private authority, or a proxy opens TLS on the way, name the authority in \
             upstream.ca_path",
        ),
        StageKind::Answer => Finding::problem(
            "upstream.answer",
            why,
            format!("check {way}what is on the way: the connection stands, but is not answered"),
        ),
    }
}

/// `date` is cut to the second, and was true at some moment while the answer was waited for.
fn of_clock(date: Option<SystemTime>, received: SystemTime, took: Duration) -> Finding {
    let check = "upstream.clock";
    let Some(date) = date else {
        return Finding::ok(check, "it does not say what its clock shows");
    };
    let earliest = received.checked_sub(took).unwrap_or(received);
    let latest = date.checked_add(Duration::from_secs(1)).unwrap_or(date);
    let (skew, which) = match (earliest.duration_since(latest), date.duration_since(received)) {
        (Ok(ahead), _) => (ahead, "ahead of"),
        (_, Ok(behind)) => (behind, "behind"),
        _ => (Duration::ZERO, "with"),
    };
    let remedy = "set this machine's clock, and keep it right with NTP";
    let found = format!("this machine's clock is {} {which} the provider's", words::long(skew));
    if skew > HARMFUL_SKEW {
        Finding::problem(check, format!("{found}: tokens are refreshed at the wrong time"), remedy)
    } else if skew > NOTABLE_SKEW {
        Finding::warning(check, found, remedy)
    } else if skew.as_secs() == 0 {
        Finding::ok(check, "the clocks agree")
    } else {
        Finding::ok(check, found)
    }
}

#[cfg(test)]
mod tests;
