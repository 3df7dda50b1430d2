//! What environment variables say about connections to providers: proxies, and certificate authorities.
//!
//! They count where the configuration names no `detour`, and never for loopback. Spec: operations.md, *Outbound proxies*.

mod no_proxy;
mod proxy_url;

use std::fmt;

use crate::Environment;
use crate::model::{Outbound, OutboundName};
use crate::url::BaseUrl;
use no_proxy::NoProxy;

/// The names of each variable, the one that wins first. An empty one counts as not set, as it does elsewhere.
const HTTPS_PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const ALL_PROXY: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The variables that take the place of the system's certificate authorities: OpenSSL's, which other programs read too.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The environment's proxies and authorities, read once at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    https: Option<Outbound>,
    all: Option<Outbound>,
    no_proxy: NoProxy,
    authorities: Vec<&'static str>,
}

/// A variable that cannot be used. Never shows its value, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadVariable {
    name: &'static str,
    why: &'static str,
}

impl Surroundings {
    /// Reads the variables; the error has every one that cannot be used.
    pub fn read(env: &dyn Environment) -> Result<Self, Vec<BadVariable>> {
        let mut bad = Vec::new();
        let mut proxy = |names: [&'static str; 2]| {
            let (name, value) = first(env, names)?;
            match proxy_url::parse(&value) {
                Ok(kind) => {
                    Some(Outbound { name: OutboundName::Variable(name), connect_timeout: None, kind })
                }
                Err(why) => {
                    bad.push(BadVariable { name, why });
                    None
                }
            }
        };
        let https = proxy(HTTPS_PROXY);
        let all = proxy(ALL_PROXY);
        let no_proxy = match first(env, NO_PROXY) {
            None => NoProxy::default(),
            Some((name, value)) => NoProxy::parse(&value).unwrap_or_else(|why| {
                bad.push(BadVariable { name, why });
                NoProxy::default()
            }),
        };
        let authorities = AUTHORITIES.into_iter().filter(|name| env.var(name).is_some()).collect();
        if bad.is_empty() { Ok(Self { https, all, no_proxy, authorities }) } else { Err(bad) }
    }

    /// The proxy for this URL, if it is to be reached through one.
    pub fn proxy_for(&self, url: &BaseUrl) -> Option<&Outbound> {
        let named =
            if url.is_https() { self.https.as_ref().or(self.all.as_ref()) } else { self.all.as_ref() };
        named.filter(|_| !url.is_loopback() && !self.no_proxy.contains(url.host(), url.port()))
    }

    /// The variables that are set and take the place of the system's certificate authorities.
    pub fn authorities(&self) -> &[&'static str] {
        &self.authorities
    }
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable {}: {}", self.name, self.why)
    }
}

impl std::error::Error for BadVariable {}

fn first(env: &dyn Environment, names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = env.var(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (name, value.to_owned()))
    })
}

#[cfg(test)]
mod tests;
