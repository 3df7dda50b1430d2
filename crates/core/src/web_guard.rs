//! Keeping web pages out: a page in a browser can reach loopback, and must get nothing there.
//!
//! Spec: operations.md, *Security*, *Against web pages*.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, HeaderName, ORIGIN};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request looks like that of a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// `Host` is a name that resolves here but is not ours: a page with rebound DNS.
    #[error(
        "this service has no users, so it only answers to loopback addresses, \"localhost\" or its \
         \"server_name\" in Host: use one of these, or configure users"
    )]
    Host,
    /// `Origin` names another host than the request's own.
    #[error("requests from web pages of other origins are refused")]
    Origin,
    /// The browser itself says that the request comes from another site.
    #[error("cross-site requests of web pages are refused")]
    CrossSite,
}

/// Checks one request.
///
/// `authority` is the target's own authority, where it has one (HTTP/2, absolute form); it counts before `Host`.
/// `check_host` is set for services without authentication; `server_name` is the configured TLS name.
pub fn check(
    headers: &HeaderMap,
    authority: Option<&str>,
    server_name: Option<&str>,
    check_host: bool,
) -> Result<(), Foreign> {
    let host = authority.or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()));
    if check_host && !host.is_some_and(|host| is_own_host(host_of(host), server_name)) {
        return Err(Foreign::Host);
    }
    if let Some(origin) = headers.get(ORIGIN) {
        // `null` (sandboxed frames, files) and anything unreadable is another origin.
        let same =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, origin)| {
                host.is_some_and(|host| origin.trim_end_matches('/').eq_ignore_ascii_case(host))
            });
        if !same {
            return Err(Foreign::Origin);
        }
    }
    let cross =
        headers.get(SEC_FETCH_SITE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"cross-site"));
    if cross { Err(Foreign::CrossSite) } else { Ok(()) }
}

/// The host of `host:port`, `[v6]:port` or a bare host.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(authority, |(host, _)| host);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_own_host(host: &str, server_name: Option<&str>) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        || server_name.is_some_and(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn own_hosts_pass() {
        for host in [
            "127.0.0.1:8787",
            "127.9.9.9",
            "localhost",
            "LOCALHOST:1",
            "localhost.:80",
            "[::1]:8787",
            "[::1]",
        ] {
            assert_eq!(check(&request(&[("host", host)]), None, None, true), Ok(()), "{host}");
        }
        assert_eq!(check(&request(&[("host", "tl.example")]), None, Some("TL.example"), true), Ok(()));
    }

    #[test]
    fn foreign_hosts_are_refused_where_nobody_authenticates() {
        for host in ["evil.example", "127.0.0.1.evil.example:8787", "10.0.0.1", "", "localhost.evil"] {
            assert_eq!(check(&request(&[("host", host)]), None, None, true), Err(Foreign::Host), "{host}");
            assert_eq!(check(&request(&[("host", host)]), None, None, false), Ok(()), "{host}");
        }
        assert_eq!(check(&request(&[]), None, None, true), Err(Foreign::Host));
    }

    #[test]
    fn the_targets_authority_counts_before_the_header() {
        assert_eq!(
            check(&request(&[("host", "localhost")]), Some("evil.example"), None, true),
            Err(Foreign::Host)
        );
        assert_eq!(check(&request(&[]), Some("localhost:1"), None, true), Ok(()));
    }

    #[test]
    fn other_origins_are_refused_everywhere() {
        let host = ("host", "127.0.0.1:8787");
        for check_host in [true, false] {
            assert_eq!(
                check(&request(&[host, ("origin", "http://127.0.0.1:8787")]), None, None, check_host),
                Ok(())
            );
            for origin in ["http://evil.example", "null", "http://127.0.0.1:9", "127.0.0.1:8787"] {
                let refused = check(&request(&[host, ("origin", origin)]), None, None, check_host);
                assert_eq!(refused, Err(Foreign::Origin), "{origin}");
            }
            let cross = check(&request(&[host, ("sec-fetch-site", "cross-site")]), None, None, check_host);
            assert_eq!(cross, Err(Foreign::CrossSite));
            assert_eq!(check(&request(&[host, ("sec-fetch-site", "none")]), None, None, check_host), Ok(()));
        }
    }
}
