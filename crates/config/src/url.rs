//! Base URLs of upstreams: what a configuration may name, and nothing more.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `http` or `https`, a host, perhaps a port, and a path without a trailing slash.
///
/// Without user information, query or fragment, so that it can be shown, and extended by a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    https: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

/// The longest host name of DNS.
const MAX_HOST: usize = 253;

impl BaseUrl {
    /// An `https` URL whose parts are known to be good: for the providers' own addresses.
    pub(crate) fn https(host: &str, path: &str) -> Self {
        Self { https: true, host: host.to_owned(), port: None, path: path.to_owned() }
    }

    /// Reads a base URL. The reason says what is wrong without repeating the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("a URL starts with https:// or http://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("a URL starts with https:// or http://"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a URL must not contain a user name or password");
        }
        if path.contains('?') || path.contains('#') {
            return Err("a base URL must not have a query or fragment");
        }
        let (host, port) = split_authority(authority)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        check_path(path)?;
        Ok(Self { https, host, port, path: path.to_owned() })
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The host, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, stated or the scheme's own.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    /// Host and port as in a `Host` header: with brackets around IPv6, and without the scheme's own port.
    pub fn authority(&self) -> String {
        let bracketed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{bracketed}:{port}"),
            None => bracketed,
        }
    }

    /// The path: empty, or starting with a slash and not ending with one.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the host can only be this machine.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

/// Takes a host and its port apart. The host comes out in lower case, an IPv6 address without brackets.
pub(crate) fn split_authority(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("an IPv6 address needs its closing bracket")?;
        let address: Ipv6Addr = address.parse().map_err(|_| "not an IPv6 address between the brackets")?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err("only a port may follow the brackets"),
        };
        (address.to_string(), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        check_host(host)?;
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err("the port must be between 1 and 65535"),
        },
        Some(_) => return Err("the port must be between 1 and 65535"),
    };
    Ok((host, port))
}

/// A host name or an IPv4 address.
pub(crate) fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is missing");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let labels_ok = host.split('.').all(|label| !label.is_empty() && label.bytes().all(plain));
    if host.len() > MAX_HOST || !labels_ok {
        return Err("not a host name");
    }
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("not an IPv4 address");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err("the path has characters that a URL must not contain");
    }
    let below = path.strip_prefix('/').unwrap_or(path);
    if !path.is_empty() && below.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("the path must not contain // or . or ..");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_good_urls() {
        for (text, shown, port, loopback) in [
            ("https://api.anthropic.com", "https://api.anthropic.com", 443, false),
            ("HTTPS://Api.Anthropic.com/", "https://api.anthropic.com", 443, false),
            ("http://127.0.0.1:9000/claude/", "http://127.0.0.1:9000/claude", 9_000, true),
            ("http://[::1]", "http://[::1]", 80, true),
            ("http://[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1", 1, true),
            ("http://a.localhost/x", "http://a.localhost/x", 80, true),
            ("http://localhost.example.org", "http://localhost.example.org", 80, false),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.port(), url.is_loopback()),
                (shown, port, loopback),
                "{text}"
            );
            assert!(shown.parse::<http::Uri>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url() {
        for text in [
            "",
            "api.anthropic.com",
            "ftp://a",
            "https://",
            "https:///x",
            "https://user:pass@host",
            "https://host?x",
            "https://host/#x",
            "https://host:0",
            "https://host:",
            "https://host:+80",
            "https://host:99999",
            "https://ho st",
            "https://a..b",
            "https://1.2.3",
            "https://bücher.example",
            "https://[::1",
            "https://[::1]x",
            "https://[x]",
            "https://host/a//b",
            "https://host/../b",
            "https://host/a b",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reasons_do_not_repeat_the_url() {
        let reason = BaseUrl::parse("https://user:canary@host").unwrap_err();
        assert!(!reason.contains("canary"), "{reason}");
    }
}
