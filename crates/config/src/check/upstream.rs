//! Where requests go: a credential's settings over its service's over the provider's.

use std::path::Path;

use trunkline_core::login::LoginKind;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::provider::{Provider, UpstreamBase};

use crate::defaults;
use crate::diagnostic::Report;
use crate::model::{ProviderKind, Upstream};
use crate::record::Record;
use crate::url::BaseUrl;

/// The fields that hold a URL.
const URLS: [&str; 4] = ["api_url", "token_url", "usage_url", "openai_url"];

/// Those of them that only a Codex service reads.
const CODEX_ONLY: [&str; 2] = ["usage_url", "openai_url"];

/// The settings that apply, the later layers over the earlier ones.
pub(super) fn resolve(provider: ProviderKind, layers: [Option<&Record>; 2]) -> Upstream {
    let mut upstream = defaults::upstream(provider);
    for layer in layers.into_iter().flatten() {
        let url = |name| layer.url(name).cloned();
        upstream.api_url = url("api_url").unwrap_or(upstream.api_url);
        upstream.token_url = url("token_url").unwrap_or(upstream.token_url);
        upstream.usage_url = url("usage_url").or(upstream.usage_url);
        upstream.openai_url = url("openai_url").or(upstream.openai_url);
        upstream.user_agent =
            layer.secret("user_agent").map(|text| text.expose().to_owned()).or(upstream.user_agent);
        upstream.ca_path = layer.path("ca_path").map(Path::to_path_buf).or(upstream.ca_path);
        upstream.insecure_http = layer.flag("insecure_http").unwrap_or(upstream.insecure_http);
    }
    upstream
}

/// Checks one layer. `below` is the layer that it overrides.
pub(super) fn check(layer: &Record, below: Option<&Record>, provider: ProviderKind, report: &mut Report) {
    let own = layer.flag("insecure_http");
    let allowed = own.or_else(|| below?.flag("insecure_http")).unwrap_or(false);
    for name in URLS {
        if !allowed && layer.url(name).is_some_and(is_open) {
            let message = "http is for loopback only, since tokens would be sent in the clear; \
                           use https, or set insecure_http beside it";
            report.error(&layer.spot_of(name), message);
        }
    }
    let inherited = |name: &&str| {
        layer.stated(name).is_none() && below.and_then(|below| below.url(name)).is_some_and(is_open)
    };
    if own == Some(false)
        && let Some(name) = URLS.into_iter().find(inherited)
    {
        let message = format!("false, but the service's {name} is http; set {name} here too");
        report.error(&layer.spot_of("insecure_http"), message);
    }
    for name in URLS {
        if let Some(url) = layer.url(name)
            && let Some(hint) = mistaken(name, url, provider)
        {
            report.warn(&layer.spot_of(name), hint);
        }
    }
    for name in CODEX_ONLY {
        if provider == ProviderKind::Claude && layer.stated(name).is_some() {
            report.error(&layer.spot_of(name), "only for Codex; a Claude service uses api_url");
        }
    }
}

/// What is probably wrong with the path of a URL that could be used.
fn mistaken(name: &str, url: &BaseUrl, provider: ProviderKind) -> Option<String> {
    let usual = defaults::upstream(provider);
    let usual = match name {
        "api_url" => Some(usual.api_url),
        "token_url" => Some(usual.token_url),
        "usage_url" => usual.usage_url,
        _ => usual.openai_url,
    };
    if let Some((added, doubled)) = doubled(name, url, provider) {
        // The rest of the URL is not shown: a reference may have put anything there.
        return Some(format!(
            "ends in {doubled}, which requests add themselves: they would ask for …{doubled}{added}; leave {doubled} out"
        ));
    }
    let usual = usual?;
    let is_providers = usual.host() == url.host() && usual.path() != url.path();
    is_providers.then(|| {
        format!("is on the provider's own host with another path than the provider's; its own is {usual}")
    })
}

/// A path that is added to a base URL, and the part of it that the URL ends in already.
fn doubled(name: &str, url: &BaseUrl, provider: ProviderKind) -> Option<(&'static str, &'static str)> {
    let (facts, call): (&dyn Provider, _) = match provider {
        ProviderKind::Claude => (&Claude, "/v1/messages"),
        ProviderKind::Codex => (&Codex, "/v1/responses"),
    };
    [LoginKind::OAuth, LoginKind::ApiKey].into_iter().find_map(|kind| {
        let target = facts.upstream_target(call, kind);
        let option = match target.base {
            UpstreamBase::Api => "api_url",
            UpstreamBase::OpenAi => "openai_url",
        };
        // The whole of it, and each part that ends before a slash, the longest first.
        let parts = target.target.rmatch_indices('/').filter_map(|(at, _)| target.target.get(..at));
        let mut parts = std::iter::once(target.target).chain(parts).filter(|part| !part.is_empty());
        let found = parts.find(|part| option == name && url.path().ends_with(part))?;
        Some((target.target, found))
    })
}

/// Whether anyone on the way could read what is sent there.
fn is_open(url: &BaseUrl) -> bool {
    !url.is_https() && !url.is_loopback()
}
