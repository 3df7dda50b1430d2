//! A base URL, taken apart once.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// Scheme, host, port and base path of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
    /// `host` or `host:port`, as it stands in `Host`.
    authority: http::uri::Authority,
    host_header: HeaderValue,
    base_path: String,
}

/// A base URL that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable base URL: {0}")]
pub struct BadOrigin(&'static str);

impl Origin {
    /// Takes a base URL apart: `http` or `https`, a host, perhaps a port and a path.
    pub fn parse(url: &str) -> Result<Self, BadOrigin> {
        let uri: Uri = url.parse().map_err(|_| BadOrigin("it does not parse"))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(BadOrigin("the scheme must be http or https")),
        };
        let authority = uri.authority().ok_or(BadOrigin("it has no host"))?.clone();
        if authority.as_str().contains('@') {
            return Err(BadOrigin("it has user information"));
        }
        if uri.query().is_some() {
            return Err(BadOrigin("it has a query"));
        }
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let host_header = HeaderValue::from_str(authority.as_str())
            .map_err(|_| BadOrigin("its host is no header value"))?;
        Ok(Self {
            https,
            host,
            port,
            host_header,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            authority,
        })
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`.
    pub fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// The request target for the base URL itself. For HTTP/2 it has scheme and authority.
    pub fn own_target(&self, is_http2: bool) -> Result<Uri, http::Error> {
        let path = if self.base_path.is_empty() { "/" } else { &self.base_path };
        self.complete(PathAndQuery::try_from(path)?, is_http2)
    }

    /// The request target for a path and query as the client sent them, under the base path. For HTTP/2 it has scheme and
    /// authority.
    pub fn target(&self, path_and_query: &PathAndQuery, is_http2: bool) -> Result<Uri, http::Error> {
        let path_and_query = if self.base_path.is_empty() {
            path_and_query.clone()
        } else {
            PathAndQuery::from_maybe_shared(bytes::Bytes::from(format!(
                "{}{path_and_query}",
                self.base_path
            )))?
        };
        self.complete(path_and_query, is_http2)
    }

    fn complete(&self, path_and_query: PathAndQuery, is_http2: bool) -> Result<Uri, http::Error> {
        if !is_http2 {
            return Ok(Uri::from(path_and_query));
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query);
        Ok(Uri::from_parts(parts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_apart() {
        let origin = Origin::parse("https://api.anthropic.com").unwrap();
        assert_eq!((origin.is_https(), origin.host(), origin.port()), (true, "api.anthropic.com", 443));
        let origin = Origin::parse("http://[::1]:8080/base/").unwrap();
        assert_eq!(
            (origin.host(), origin.port(), origin.host_header().to_str().unwrap()),
            ("::1", 8080, "[::1]:8080")
        );
        let target = PathAndQuery::from_static("/v1/messages?beta=true&x=%2F");
        assert_eq!(origin.target(&target, false).unwrap().to_string(), "/base/v1/messages?beta=true&x=%2F");
        assert_eq!(
            origin.target(&target, true).unwrap().to_string(),
            "http://[::1]:8080/base/v1/messages?beta=true&x=%2F"
        );
        for bad in ["api.anthropic.com", "ftp://x", "https://u:p@x", "https://x?q", "", "https://"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
