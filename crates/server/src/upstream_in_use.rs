//! The addresses of providers that a configuration leads to, each with its way out, for seeing whether they can be reached.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_config::model::{self, CredentialKind, Outbound};
use trunkline_config::{BaseUrl, Config, Surroundings};
use trunkline_engine::upstream::probe::{self, Report};
use trunkline_engine::upstream::tls::{SystemAuthorities, Trust};
use trunkline_engine::upstream::{Origin, UpstreamSettings};

use crate::way_out;

/// An address and the way there. What goes there in the same way is one of these.
#[derive(Debug, Clone)]
pub struct UpstreamInUse<'a> {
    /// The address as a base URL: of API requests with its path, otherwise without.
    pub url: String,
    /// The way there, the outbound that is dialled first in front; empty for none.
    pub hops: &'a [Outbound],
    /// The credentials that lead there, as `service/credential`, in the order of the configuration.
    pub credentials: Vec<String>,
    ca_path: Option<&'a Path>,
    connect: Duration,
    user_agent: Option<&'a str>,
}

/// Lists them in the order of the configuration.
pub fn upstreams_in_use<'a>(config: &'a Config, surroundings: &'a Surroundings) -> Vec<UpstreamInUse<'a>> {
    let mut known: Vec<UpstreamInUse<'a>> = Vec::new();
    for service in &config.services {
        for credential in &service.credentials {
            let name = format!("{}/{}", service.tag, credential.tag);
            for (base, url) in urls(credential) {
                let hops = way_out::hops(credential, base, surroundings);
                let found = UpstreamInUse {
                    url,
                    hops,
                    credentials: vec![name.clone()],
                    ca_path: credential.upstream.ca_path.as_deref(),
                    connect: service.timeouts.connect,
                    user_agent: credential.upstream.user_agent.as_deref(),
                };
                match known.iter_mut().find(|other| other.same_way(&found)) {
                    Some(other) if other.credentials.contains(&name) => {}
                    Some(other) => other.credentials.push(name.clone()),
                    None => known.push(found),
                }
            }
        }
    }
    known
}

/// Where a credential leads: API requests, and for a login its refreshes and polls. Of these only the host counts, so
/// that no token endpoint is asked anything.
fn urls(credential: &model::Credential) -> Vec<(&BaseUrl, String)> {
    let upstream = &credential.upstream;
    let host_of = |url: &BaseUrl| format!("{}://{}", url.scheme(), url.authority());
    match credential.kind {
        CredentialKind::ApiKey(_) => {
            let url = credential.request_url();
            vec![(url, url.to_string())]
        }
        CredentialKind::OauthToken(_) => {
            let polls = upstream.usage_url.iter().map(|url| (url, host_of(url)));
            std::iter::once((&upstream.api_url, upstream.api_url.to_string())).chain(polls).collect()
        }
        CredentialKind::LoginFile(_) => {
            let others = std::iter::once(&upstream.token_url).chain(&upstream.usage_url);
            let others = others.filter(|url| host_of(url) != host_of(&upstream.api_url));
            std::iter::once((&upstream.api_url, upstream.api_url.to_string()))
                .chain(others.map(|url| (url, host_of(url))))
                .collect()
        }
    }
}

impl UpstreamInUse<'_> {
    fn same_way(&self, other: &Self) -> bool {
        let of =
            |it: &Self| (it.url.clone(), it.hops.to_vec(), it.ca_path.map(Path::to_path_buf), it.connect);
        of(self) == of(other)
    }

    /// Goes there once, without a credential: see [`probe::probe`]. The error says what cannot be used, and why.
    pub async fn probe(&self, system: &Arc<SystemAuthorities>) -> Result<Report, String> {
        let more = self.ca_path.map(|path| way_out::authorities("upstream.ca_path", path)).transpose()?;
        let settings = UpstreamSettings {
            origin: Origin::parse(&self.url).map_err(|error| error.to_string())?,
            way: way_out::build(self.hops, system)?,
            trust: Trust::System(Arc::clone(system), more),
            connect: self.connect,
        };
        let agent = self.user_agent.unwrap_or(concat!("trunkline/", env!("CARGO_PKG_VERSION")));
        Ok(probe::probe(&settings, agent).await)
    }
}
