//! HTTP proxies: CONNECT (RFC 9110, section 9.3.6), over TLS if the proxy wants that.

use std::future::{Future as _, poll_fn};
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use trunkline_core::secret::Secret;
use zeroize::Zeroizing;

use super::{ProxyLogin, ProxyServer, Target};
use crate::upstream::dial::{DialError, chain};
use crate::upstream::stream::Stream;
use crate::upstream::tls::ProxyTls;

/// The longest head of an answer that is read, in bytes. Real ones have a few hundred.
const MAX_HEAD: usize = 16 * 1024;

/// An HTTP proxy.
#[derive(Debug)]
pub struct HttpConnect {
    server: ProxyServer,
    /// What is asked for instead of the target.
    path: Option<PathAndQuery>,
    /// Sent along, the login among them; all of them are marked as sensitive.
    headers: HeaderMap,
    has_login: bool,
    tls: Option<ProxyTls>,
}

impl HttpConnect {
    /// A proxy. `path`, for odd ones, is asked for instead of the target, which then stands in `Host` alone.
    ///
    /// The error says what is wrong with a header, without its value.
    pub fn new<'a>(
        server: ProxyServer,
        login: Option<&ProxyLogin>,
        path: Option<&str>,
        headers: impl IntoIterator<Item = (&'a str, &'a Secret)>,
        tls: Option<ProxyTls>,
    ) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let header = HeaderName::try_from(name).map_err(|_| format!("{name} is no header name"))?;
            let value = HeaderValue::try_from(value.expose());
            let mut value = value.map_err(|_| format!("the value of {name} is no header value"))?;
            value.set_sensitive(true);
            map.append(header, value);
        }
        if let Some(login) = login {
            map.insert(header::PROXY_AUTHORIZATION, basic(login)?);
        }
        let path = match path {
            None => None,
            Some(path) => Some(path.parse().map_err(|_| "path is no path of a URL".to_owned())?),
        };
        Ok(Self { server, path, headers: map, has_login: login.is_some(), tls })
    }

    pub(super) fn server(&self) -> &ProxyServer {
        &self.server
    }

    pub(super) async fn ask(&self, stream: Stream, target: Target<'_>) -> Result<Stream, DialError> {
        let stream = match &self.tls {
            None => stream,
            Some(tls) => tls.connect(stream, &self.server.host).await?,
        };
        self.connect(stream, target).await
    }

    /// Asks over a connection that stands, and gives it back once it leads to `target`.
    async fn connect<S>(&self, stream: S, target: Target<'_>) -> Result<S, DialError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(target)?;
        let (mut sender, mut connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let mut ended = false;
        let response = {
            let mut response = pin!(sender.send_request(request));
            poll_fn(|context| {
                if !ended {
                    // What ends it is told by the answer that then does not come.
                    ended = connection.poll_without_shutdown(context).is_ready();
                }
                response.as_mut().poll(context)
            })
            .await
            .map_err(|error| failed(&error))?
        };
        match response.status() {
            // The library goes over to the tunnel at any 2xx but this one.
            status if status.is_success() && status != StatusCode::NO_CONTENT => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.has_login => {
                return Err(DialError::new(
                    "the proxy refused the user and the password (407)",
                    "correct its username and password",
                ));
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                return Err(DialError::new(
                    "the proxy wants a user and a password (407)",
                    "set its username and password",
                ));
            }
            status => return Err(DialError::new("the proxy refused the connection", status.to_string())),
        }
        drop(response);
        if !ended {
            poll_fn(|context| connection.poll_without_shutdown(context))
                .await
                .map_err(|error| failed(&error))?;
        }
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            // Neither TLS nor HTTP lets the other side speak first: whatever this is, it is no tunnel to the target.
            return Err(DialError::new(
                "the proxy sent more than its answer",
                "this is no working HTTP proxy",
            ));
        }
        Ok(parts.io.into_inner())
    }

    fn request(&self, target: Target<'_>) -> Result<Request<Empty<Bytes>>, DialError> {
        let authority = target.to_string();
        let bad = |error: &dyn std::fmt::Display| DialError::new("bad address", error.to_string());
        let uri = match &self.path {
            None => Uri::try_from(&authority).map_err(|error| bad(&error))?,
            Some(path) => Uri::from(path.clone()),
        };
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = uri;
        let host = HeaderValue::try_from(authority).map_err(|error| bad(&error))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

/// The login as Basic authentication has it (RFC 7617), in UTF-8.
fn basic(login: &ProxyLogin) -> Result<HeaderValue, String> {
    let plain = Zeroizing::new(format!("{}:{}", login.username.expose(), login.password.expose()));
    let encoded = Zeroizing::new(format!("Basic {}", STANDARD.encode(plain.as_bytes())));
    let mut value = HeaderValue::try_from(encoded.as_str()).map_err(|_| "the login is no header value")?;
    value.set_sensitive(true);
    Ok(value)
}

fn failed(error: &hyper::Error) -> DialError {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        DialError::new("the proxy closed the connection", "before it answered")
    } else if error.is_parse() {
        DialError::new("the proxy did not answer with HTTP", chain(error))
    } else {
        DialError::new("the connection to the proxy failed", chain(error))
    }
}

#[cfg(test)]
mod tests;
