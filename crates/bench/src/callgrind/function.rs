//! Functions that Trunkline calls for every request, called alone so that valgrind can count them.

use std::fmt;
use std::hint::black_box;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use trunkline_core::auth::{TokenTable, presented_token};
use trunkline_core::headers::{SetAnew, forwarded_request, forwarded_response};
use trunkline_core::kept_headers::KeptHeaders;
use trunkline_core::provider::Provider as _;
use trunkline_core::provider::claude::Claude;
use trunkline_core::request_head::is_contradictory;
use trunkline_core::scan::{BodyScan, Progress};
use trunkline_core::secret::TokenDigest;
use trunkline_core::target::normal_path;
use trunkline_core::web_guard;

use crate::load::{json_head, messages_request};

const SMALL_BODY: usize = 2048;
const LARGE_BODY: usize = 1 << 20;
/// The pieces that bodies are scanned in: about what one read from a socket gives.
const PIECE: usize = 16 * 1024;
/// Users besides the one whose token is presented.
const OTHER_USERS: u32 = 15;
/// Headers that the service adds to what is forwarded.
const EXTRA: usize = 4;

/// A function of the request path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Function {
    /// `headers::forwarded_request` on the headers of Claude Code, the map consumed, on the way to HTTP/1.1 with a login:
    /// nothing has to go.
    ForwardedRequest,
    /// The same with an API key: one has to go.
    ForwardedRequestKey,
    /// The same on the way to HTTP/2 with a login: some have to go.
    #[value(name = "forwarded-request-http2")]
    ForwardedRequestHttp2,
    /// `KeptHeaders::of` on the headers of Claude Code.
    KeptHeaders,
    /// `headers::forwarded_response` on the headers of the provider, the map consumed.
    ForwardedResponse,
    /// `auth::presented_token` and `TokenTable::find` among 16 users.
    FindUser,
    /// `target::normal_path` of `/v1/messages`.
    NormalPath,
    /// `web_guard::check` of a client that is no browser, `Host` included.
    WebGuard,
    /// `request_head::is_contradictory` on the head of a request of Claude Code.
    IsContradictory,
    /// `BodyScan` over a whole body of 2 KiB.
    #[value(name = "scan-2k")]
    Scan2K,
    /// `BodyScan` over a whole body of 1 MiB.
    #[value(name = "scan-1m")]
    Scan1M,
}

// === impl Function ===

impl Function {
    /// Calls of the shorter of the two runs that are subtracted from each other.
    pub(super) fn calls(self) -> u32 {
        match self {
            Self::Scan1M => 5,
            _ => 1000,
        }
    }

    /// Calls it `calls` times; arguments are made for `prepared` calls, so that runs of different numbers of calls
    /// differ in nothing but the calls.
    pub(crate) fn call(self, calls: u32, prepared: u32) -> anyhow::Result<()> {
        ensure!(calls <= prepared, "{calls} calls, but arguments for {prepared} only");
        let request = messages_request(SMALL_BODY, 0, true);
        let head_length =
            memchr::memmem::find(&request, b"\r\n\r\n").context("a request without a head")? + 4;
        let (head, body) = request.split_at(head_length);
        let headers = header_map(head)?;
        match self {
            Self::ForwardedRequest => {
                forward_request(headers, &AUTHORIZATION, true, 0, [calls, prepared])?;
            }
            Self::ForwardedRequestKey => {
                let name = HeaderName::from_static("x-api-key");
                forward_request(headers, &name, true, 1, [calls, prepared])?;
            }
            Self::ForwardedRequestHttp2 => {
                forward_request(headers, &AUTHORIZATION, false, 4, [calls, prepared])?;
            }
            Self::KeptHeaders => {
                let kept = KeptHeaders::of(&headers).and_then(|kept| kept.to_map());
                ensure!(kept.as_ref() == Some(&headers), "the headers were not kept");
                repeat(calls, || KeptHeaders::of(black_box(&headers)));
            }
            Self::ForwardedResponse => {
                let headers = header_map(json_head().as_bytes())?;
                let mut spare = HeaderMap::new();
                let mut forward = |headers| {
                    forwarded_response(headers, |name| Claude.is_limit_header(name), EXTRA, &mut spare)
                };
                let sent = forward(headers.clone()).len();
                ensure!(sent > 0 && sent < headers.len(), "{sent} of {} headers went through", headers.len());
                repeat_with(headers, [calls, prepared], forward)?;
            }
            Self::FindUser => {
                let others = (0..OTHER_USERS).map(|other| (TokenDigest::of(&other.to_be_bytes()), other));
                let known = (TokenDigest::of(b"bench-token"), OTHER_USERS);
                let table = TokenTable::new(others.chain([known]));
                let find = |headers| presented_token(headers).and_then(|token| table.find(token));
                ensure!(find(&headers) == Some(&OTHER_USERS), "the user was not found");
                repeat(calls, || find(black_box(&headers)).copied());
            }
            Self::NormalPath => {
                ensure!(normal_path("/v1/messages").is_ok(), "the path was refused");
                repeat(calls, || normal_path(black_box("/v1/messages")).is_ok());
            }
            Self::WebGuard => {
                let check = |headers| web_guard::check(headers, None, None, true);
                ensure!(check(&headers).is_ok(), "the request was refused");
                repeat(calls, || check(black_box(&headers)));
            }
            Self::IsContradictory => {
                ensure!(!is_contradictory(head), "the head was refused");
                repeat(calls, || is_contradictory(black_box(head)));
            }
            Self::Scan2K => scan_repeatedly(body, calls)?,
            Self::Scan1M => {
                let request = messages_request(LARGE_BODY, 0, true);
                scan_repeatedly(request.get(request.len() - LARGE_BODY..).unwrap_or_default(), calls)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every variant has a value on the command line.
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

fn repeat<T>(calls: u32, mut call: impl FnMut() -> T) {
    for _ in 0..calls {
        drop(black_box(call()));
    }
}

/// The same, each call consuming a map of its own.
fn repeat_with<T>(
    headers: HeaderMap,
    [calls, prepared]: [u32; 2],
    mut call: impl FnMut(HeaderMap) -> T,
) -> anyhow::Result<()> {
    let mut maps = vec![headers; usize::try_from(prepared)?].into_iter();
    repeat(calls, || maps.next().map(&mut call));
    // Dropping what is left would be work that the longer run does not have.
    std::mem::forget(maps);
    Ok(())
}

fn forward_request(
    headers: HeaderMap,
    authorization: &HeaderName,
    is_http1: bool,
    gone: usize,
    counts: [u32; 2],
) -> anyhow::Result<()> {
    let anew = SetAnew { authorization, is_http1 };
    let left = headers.len() - forwarded_request(headers.clone(), anew, EXTRA).len();
    ensure!(left == gone, "{left} of {} headers were left out, not {gone}", headers.len());
    repeat_with(headers, counts, |headers| forwarded_request(headers, black_box(anew), EXTRA))
}

fn scan_repeatedly(body: &[u8], calls: u32) -> anyhow::Result<()> {
    let scan = |body: &[u8]| {
        let mut scan = BodyScan::new(Claude.wanted());
        for piece in body.chunks(PIECE) {
            scan.push(piece);
        }
        scan
    };
    let scanned = scan(body);
    ensure!(scanned.progress() == Progress::Ended && scanned.is_satisfied(), "the body was not understood");
    repeat(calls, || scan(black_box(body)));
    Ok(())
}

/// The headers of a head as hyper gives them: values that share the bytes that were read.
fn header_map(head: &[u8]) -> anyhow::Result<HeaderMap> {
    let head = Bytes::copy_from_slice(head);
    let mut headers = HeaderMap::new();
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines.skip(1).take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).context("a header without a colon")?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        headers.append(
            HeaderName::from_bytes(name)?,
            HeaderValue::from_maybe_shared(head.slice_ref(value)).context("not a header value")?,
        );
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_does_what_it_is_called_for() {
        for function in Function::value_variants() {
            function.call(2, 4).unwrap_or_else(|error| panic!("{function}: {error:#}"));
            assert!(function.call(5, 4).is_err());
        }
    }

    #[test]
    fn headers_are_those_of_the_load() {
        let headers = header_map(&messages_request(SMALL_BODY, 0, true)).unwrap();
        assert!(headers.len() >= 18, "{}", headers.len());
        assert_eq!(headers["x-app"], "cli");
        assert_eq!(presented_token(&headers), Some(&b"bench-token"[..]));
    }
}
