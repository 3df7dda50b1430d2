//! Keeping web pages out: a page in a browser can reach loopback, and must get nothing there.
//!
//! Spec: operations.md, *Security*, *Against web pages*.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue};

use crate::request_head::split_authority;

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
/// `authority` is the target's own authority, where it has one (HTTP/2, absolute form). It and every `Host`, `Origin` and
/// `Sec-Fetch-Site` count: a request that says two things is refused for the worse one. `check_host` is set for services
/// without authentication; `server_name` is the configured TLS name.
pub fn check(
    headers: &HeaderMap,
    authority: Option<&str>,
    server_name: Option<&str>,
    check_host: bool,
) -> Result<(), Foreign> {
    let hosts = || {
        let named = headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or(""));
        authority.into_iter().chain(named).peekable()
    };
    if check_host && !(hosts().peek().is_some() && hosts().all(|host| is_own_host(host, server_name))) {
        return Err(Foreign::Host);
    }
    // `null` (sandboxed frames, files), the schemes of applications, and anything unreadable is another origin.
    let is_same = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(scheme, origin)| {
            let origin = origin.strip_suffix('/').unwrap_or(origin);
            matches!(scheme, "http" | "https")
                && hosts().peek().is_some()
                && hosts().all(|host| origin.eq_ignore_ascii_case(host))
        })
    };
    if !headers.get_all(ORIGIN).iter().all(is_same) {
        return Err(Foreign::Origin);
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let is_cross = |value: &HeaderValue| {
        let mut members = value.as_bytes().split(|byte| *byte == b',');
        members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"cross-site"))
    };
    if sites.any(is_cross) { Err(Foreign::CrossSite) } else { Ok(()) }
}

fn is_own_host(authority: &str, server_name: Option<&str>) -> bool {
    let Some((host, _)) = split_authority(authority) else { return false };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        || server_name.is_some_and(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
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
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8787",
            "10.0.0.1",
            "",
            "localhost.evil",
            "[::1].evil.com",
            "[::1]evil.com",
            "[::1]:80.evil.com",
            "[::2]",
            "localhost@evil.com",
            "evil.com@localhost",
            "localhost:80@evil.com",
            "localhost, evil.com",
            "localhost evil.com",
            "localhost/evil.com",
            "localhost..",
            "localhost:x",
            ":8787",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
        ] {
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

    #[test]
    fn every_value_counts() {
        let own = ("host", "localhost:1");
        let evil = ("host", "evil.com");
        for both in [[own, evil], [evil, own]] {
            assert_eq!(check(&request(&both), None, None, true), Err(Foreign::Host));
            assert_eq!(check(&request(&both), Some("localhost:1"), None, true), Err(Foreign::Host));
        }
        assert_eq!(check(&request(&[own, own]), None, None, true), Ok(()));
        let same = ("origin", "http://localhost:1");
        for other in [
            "http://evil.com",
            "null",
            "",
            "http://localhost:1, http://evil.com",
            "http://localhost:1//",
            "tauri://localhost:1",
        ] {
            for both in [[own, same, ("origin", other)], [own, ("origin", other), same]] {
                assert_eq!(check(&request(&both), None, None, false), Err(Foreign::Origin), "{other}");
            }
        }
        let here = ("sec-fetch-site", "same-origin");
        for cross in ["cross-site", "Cross-Site", "none, cross-site", " cross-site "] {
            for both in [[own, here, ("sec-fetch-site", cross)], [own, ("sec-fetch-site", cross), here]] {
                assert_eq!(check(&request(&both), None, None, false), Err(Foreign::CrossSite), "{cross}");
            }
        }
    }

    proptest! {
        /// Whatever stands around it, a foreign name among the hosts is seen; and what passes is an own host and nothing else.
        #[test]
        fn only_own_hosts_pass(text in "(\\[::1\\]|localhost|127\\.0\\.0\\.1|evil|[.:@/ 1,]){0,4}") {
            let passes = check(&request(&[("host", &text)]), None, None, true).is_ok();
            let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(&*text, |(host, _)| host);
            let host = host.strip_suffix('.').unwrap_or(host);
            let is_own = ["localhost", "[::1]"].contains(&host)
                || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
            prop_assert_eq!(passes, is_own);
        }
    }
}
