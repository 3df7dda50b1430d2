//! Which headers go through, and which stay here.
//!
//! Spec: claude.md, *To the provider* and *To the client*; limits.md, the list that is always stripped. Maps are
//! built anew rather than removed from, since removing changes the order of what stays.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
};

/// Whether a header of a request never goes on to a provider: the user's token, what belongs to one connection,
/// what is set anew, what a proxy in front of us adds, and what tells of the client's own account (codex.md, *Headers*).
pub fn is_dropped_from_request(name: &HeaderName) -> bool {
    let name = name.as_str();
    // By first letters and length, since this runs for every header of every request. They are those of the names below.
    let may_be = match name.as_bytes() {
        [b'x', b'-', third, ..] => matches!(third, b'a' | b'f' | b'o' | b'r' | b't'),
        [first, ..] => b"acfhkoptuv".contains(first),
        [] => false,
    };
    if !may_be {
        return false;
    }
    let by_name = match name.len() {
        2 => name == "te",
        3 => name == "via",
        4 => name == "host",
        6 => name == "cookie",
        7 => matches!(name, "api-key" | "upgrade"),
        8 => name == "cdn-loop",
        9 => matches!(name, "x-api-key" | "x-real-ip" | "forwarded"),
        10 => matches!(name, "connection" | "keep-alive"),
        13 => name == "authorization",
        14 => matches!(name, "content-length" | "true-client-ip" | "openai-project"),
        16 => matches!(name, "proxy-connection" | "x-openai-fedramp"),
        17 => matches!(name, "transfer-encoding" | "x-oai-attestation"),
        18 => matches!(name, "proxy-authenticate" | "chatgpt-account-id"),
        19 => matches!(name, "proxy-authorization" | "openai-organization"),
        28 => name == "x-openai-actor-authorization",
        33 => matches!(name, "x-openai-account-routing-override" | "x-openai-internal-codex-residency"),
        _ => false,
    };
    by_name || name.starts_with("cf-") || name.starts_with("x-forwarded-") || name.starts_with("x-trunkline-")
}

/// Whether a header of an answer never goes on to a client: what belongs to one connection, and what says whose
/// account it was. Rate-limit headers are the provider's own list
/// ([`Provider::is_limit_header`](crate::provider::Provider::is_limit_header)).
pub fn is_dropped_from_response(name: &HeaderName) -> bool {
    let name = name.as_str();
    let by_name = match name.len() {
        3 => name == "nel",
        6 => name == "server",
        7 => matches!(name, "alt-svc" | "upgrade"),
        9 => name == "report-to",
        10 => matches!(name, "connection" | "keep-alive" | "set-cookie"),
        14 => name == "openai-project",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        18 => matches!(name, "proxy-authenticate" | "chatgpt-account-id"),
        19 => name == "openai-organization",
        25 => matches!(name, "anthropic-organization-id" | "strict-transport-security"),
        _ => false,
    };
    by_name || name.starts_with("cf-") || name.starts_with("x-trunkline-")
}

/// The headers named by `Connection`, which belong to this hop as well; in lower case.
fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        // The two usual ones are dropped by name in any case.
        if value == "keep-alive" || value == "close" {
            continue;
        }
        let tokens = value.to_str().unwrap_or("").split(',').map(str::trim).filter(|token| !token.is_empty());
        named.extend(tokens.map(str::to_ascii_lowercase));
    }
    named
}

/// Whether the client takes trailers (`TE: trailers`): the one part of `TE` that is worth passing on.
pub fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .any(|member| member.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"))
    })
}

/// What the headers of a request will be given anew, in the places of the client's.
#[derive(Debug, Clone, Copy)]
pub struct SetAnew<'a> {
    /// The header that carries the credential's token or key.
    pub authorization: &'a HeaderName,
    /// Whether the request goes out over HTTP/1.1: it then gets a `Host`, and may carry `Connection: keep-alive`.
    pub is_http1: bool,
}

impl SetAnew<'_> {
    /// Whether a header that is dropped by name may stay where it is, since it will be overwritten there, or since it says
    /// what we would say ourselves.
    fn covers(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        match name.as_str().len() {
            4 => self.is_http1 && *name == HOST,
            10 => self.is_http1 && *name == CONNECTION && value == "keep-alive",
            14 => *name == CONTENT_LENGTH,
            _ => name == self.authorization,
        }
    }
}

/// The headers of a client's request that go on to a provider, in their order. Room is left for `extra` more.
///
/// Where all that must go is to be set anew in any case, they are returned as they are; where only one more must go, it is
/// taken out in its place. Both are several times cheaper than building a map anew. The caller must then overwrite what
/// `anew` names, and `Content-Length`, wherever they stand.
pub fn forwarded_request(mut headers: HeaderMap, anew: SetAnew<'_>, extra: usize) -> HeaderMap {
    match to_be_taken_out(&headers, anew) {
        Out::Nothing => return headers,
        Out::One(name) => {
            headers.remove(name);
            return headers;
        }
        Out::More => {}
    }
    let named = named_by_connection(&headers);
    let takes_trailers = headers.contains_key(TE) && accepts_trailers(&headers);
    let mut out = HeaderMap::with_capacity(headers.len() + extra);
    move_over(&mut headers, &mut out, |name| {
        !is_dropped_from_request(name) && !named.iter().any(|token| token == name.as_str())
    });
    if takes_trailers {
        out.insert(TE, HeaderValue::from_static("trailers"));
    }
    out
}

/// What has to be taken out of a client's headers.
enum Out {
    Nothing,
    /// One header, and the order of the others that go on stays as it is.
    One(HeaderName),
    More,
}

fn to_be_taken_out(headers: &HeaderMap, anew: SetAnew<'_>) -> Out {
    let mut found = None;
    let mut is_last_free = false;
    for (name, value) in headers {
        is_last_free = is_dropped_from_request(name);
        if is_last_free && !anew.covers(name, value) {
            // These two say something of other headers.
            if found.is_some() || *name == CONNECTION || *name == TE {
                return Out::More;
            }
            found = Some(name);
        }
    }
    match found {
        None => Out::Nothing,
        // The last one moves into the place of one that is removed: so it must be the one, or one that is set anew.
        Some(name) if is_last_free => Out::One(name.clone()),
        Some(_) => Out::More,
    }
}

/// Moves the headers for which `goes_on` holds behind those of another map, in their order, and drops the others.
fn move_over(headers: &mut HeaderMap, out: &mut HeaderMap, goes_on: impl Fn(&HeaderName) -> bool) {
    let mut current = None;
    let mut fields = headers.drain().peekable();
    // A name comes with its first value only; further values of the same name follow without one.
    while let Some((name, value)) = fields.next() {
        if let Some(name) = name {
            current = None;
            if goes_on(&name) {
                if matches!(fields.peek(), Some((None, _))) {
                    current = Some(name.clone());
                }
                out.append(name, value);
            }
        } else if let Some(name) = &current {
            out.append(name, value);
        }
    }
}

/// The headers of a provider's answer that go on to the client, in their order, without those for which
/// `is_limit_header` holds. Room is left for `extra` more.
///
/// `spare` is an empty map, whose memory is used where a map has to be built anew; then the memory of `headers` is left in
/// its place.
pub fn forwarded_response(
    mut headers: HeaderMap,
    is_limit_header: impl Fn(&str) -> bool,
    extra: usize,
    spare: &mut HeaderMap,
) -> HeaderMap {
    if !headers.keys().any(|name| is_dropped_from_response(name) || is_limit_header(name.as_str())) {
        return headers;
    }
    let named = named_by_connection(&headers);
    let mut out = std::mem::take(spare);
    out.reserve(headers.len() + extra);
    move_over(&mut headers, &mut out, |name| {
        !is_dropped_from_response(name)
            && !is_limit_header(name.as_str())
            && !named.iter().any(|token| token == name.as_str())
    });
    *spare = headers;
    out
}

/// The trailers of a client's request that go on to a provider. What says where a message goes, where it ends and whose it is
/// counts in a head alone (RFC 9110, 6.5.1).
pub fn forwarded_request_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(trailers.len());
    move_over(&mut trailers, &mut out, |name| !is_dropped_from_request(name) && !is_of_head(name));
    out
}

/// The trailers of a provider's answer that go on to the client, without those for which `is_limit_header` holds.
pub fn forwarded_response_trailers(
    mut trailers: HeaderMap,
    is_limit_header: impl Fn(&str) -> bool,
) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(trailers.len());
    move_over(&mut trailers, &mut out, |name| {
        !is_dropped_from_response(name) && !is_of_head(name) && !is_limit_header(name.as_str())
    });
    out
}

/// Whether a field says how its message is to be read, which a trailer comes too late for.
fn is_of_head(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE, HOST, TE, TRAILER, TRANSFER_ENCODING]
        .contains(name)
}

/// The values of a header that is a list, whether they stand in one field or in several (RFC 9110, 5.3); `None` if there is
/// none. What is no text counts as a member that nothing understands.
pub fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let first = values.next()?.to_owned();
    Some(values.fold(first, |list, value| list + ", " + value))
}

/// A map without one header, in the order of the rest; removing would change it.
pub fn without(mut headers: HeaderMap, name: &HeaderName) -> HeaderMap {
    if !headers.contains_key(name) {
        return headers;
    }
    let mut out = HeaderMap::with_capacity(headers.len());
    move_over(&mut headers, &mut out, |other| other != name);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    const ANEW: SetAnew<'_> = SetAnew { authorization: &http::header::AUTHORIZATION, is_http1: true };

    #[test]
    fn what_is_set_anew_keeps_its_place() {
        let usual = [
            ("accept", "application/json"),
            ("authorization", "Bearer user"),
            ("connection", "keep-alive"),
            ("host", "h"),
            ("content-length", "3"),
            ("x-app", "cli"),
        ];
        assert_eq!(names(&forwarded_request(map(&usual), ANEW, 0)), usual);
        let kept = [("accept", "application/json"), ("x-app", "cli")];
        let others = [
            SetAnew { is_http1: false, ..ANEW },
            SetAnew { authorization: &HeaderName::from_static("x-api-key"), is_http1: true },
        ];
        for anew in others {
            assert_eq!(names(&forwarded_request(map(&usual), anew, 0)), kept, "{anew:?}");
        }
        let with = |other| map(&[&usual[..], &[other]].concat());
        for other in [("x-api-key", "k"), ("cookie", "c")] {
            assert_eq!(names(&forwarded_request(with(other), ANEW, 0)), usual, "{other:?}");
        }
        for other in [("connection", "close"), ("te", "trailers")] {
            let forwarded = forwarded_request(with(other), ANEW, 0);
            let mut expected = kept.to_vec();
            if other.0 == "te" {
                expected.push(other);
            }
            assert_eq!(names(&forwarded), expected, "{other:?}");
        }
    }

    #[test]
    fn one_is_taken_out_where_the_last_may_take_its_place() {
        let anew = SetAnew { authorization: &HeaderName::from_static("x-api-key"), is_http1: true };
        let usual =
            [("authorization", "Bearer user"), ("accept", "a"), ("x-b", "1"), ("x-b", "2"), ("x-c", "3")];
        let kept = |last: &[(&'static str, &'static str)]| {
            let headers = map(&[&usual[..], last].concat());
            let forwarded = forwarded_request(headers, anew, 0);
            let rest: Vec<_> = names(&forwarded)
                .into_iter()
                .filter(|(name, _)| !matches!(*name, "host" | "content-length" | "connection"))
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            (rest, forwarded.len())
        };
        let others: Vec<_> = usual[1..].iter().map(|(name, value)| format!("{name}: {value}")).collect();
        for (last, left) in [
            (&[("host", "h")][..], 5),
            (&[("content-length", "3")], 5),
            (&[("host", "h"), ("connection", "keep-alive")], 6),
            // The map is built anew, without what is set anew.
            (&[], 4),
            (&[("host", "h"), ("x-forwarded-for", "1")], 4),
            (&[("authorization", "Bearer other"), ("host", "h")], 4),
        ] {
            assert_eq!(kept(last), (others.clone(), left), "{last:?}");
        }
        let named = [("x-b", "1"), ("host", "h"), ("connection", "x-b"), ("content-length", "3")];
        assert_eq!(names(&forwarded_request(map(&named), anew, 0)), []);
        let trailers = [("x-b", "1"), ("te", "trailers"), ("host", "h")];
        assert_eq!(names(&forwarded_request(map(&trailers), anew, 0)), [("x-b", "1"), ("te", "trailers")]);
    }

    #[test]
    fn requests_keep_their_order_and_unknown_headers() {
        let headers = map(&[
            ("accept", "application/json"),
            ("authorization", "Bearer user"),
            ("x-api-key", "k"),
            ("anthropic-beta", "a,b"),
            ("x-unknown", "1"),
            ("x-unknown", "2"),
            ("cookie", "c"),
            ("host", "h"),
            ("content-length", "3"),
            ("x-forwarded-for", "1.2.3.4"),
            ("cf-ray", "1"),
            ("via", "1.1 x"),
            ("x-trunkline-explain", "1"),
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "hop"),
            ("te", "trailers;q=0.5, gzip"),
            ("expect", "100-continue"),
        ]);
        assert_eq!(
            names(&forwarded_request(headers, ANEW, 0)),
            [
                ("accept", "application/json"),
                ("anthropic-beta", "a,b"),
                ("x-unknown", "1"),
                ("x-unknown", "2"),
                ("expect", "100-continue"),
                ("te", "trailers"),
            ]
        );
    }

    #[test]
    fn every_named_header_is_dropped_from_requests() {
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "cookie",
            "proxy-authorization",
            "proxy-authenticate",
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "host",
            "content-length",
            "cf-ray",
            "cf-connecting-ip",
            "cdn-loop",
            "true-client-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "forwarded",
            "x-real-ip",
            "via",
            "x-trunkline-path",
            "chatgpt-account-id",
            "openai-organization",
            "openai-project",
            "x-openai-account-routing-override",
            "x-openai-fedramp",
            "x-openai-internal-codex-residency",
            "x-openai-actor-authorization",
            "x-oai-attestation",
        ] {
            assert!(is_dropped_from_request(&name.parse().unwrap()), "{name}");
        }
        for name in
            ["accept", "x-forwarded", "cfx", "x-app", "x-stainless-os", "anthropic-version", "trailer", "cf"]
        {
            assert!(!is_dropped_from_request(&name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn trailers_say_nothing_of_the_message_and_of_the_account() {
        let fields = [
            ("x-sum", "1"),
            ("content-length", "900"),
            ("transfer-encoding", "chunked"),
            ("host", "evil"),
            ("content-encoding", "gzip"),
            ("connection", "close"),
            ("x-sum", "2"),
        ];
        let request = [&fields[..], &[("authorization", "Bearer user"), ("cookie", "c")]].concat();
        assert_eq!(names(&forwarded_request_trailers(map(&request))), [("x-sum", "1"), ("x-sum", "2")]);
        let answer =
            [&fields[..], &[("set-cookie", "c"), ("anthropic-organization-id", "o"), ("x-limit", "1")]]
                .concat();
        let is_limit_header = |name: &str| name == "x-limit";
        assert_eq!(
            names(&forwarded_response_trailers(map(&answer), is_limit_header)),
            [("x-sum", "1"), ("x-sum", "2")]
        );
    }

    #[test]
    fn several_fields_are_one_list() {
        let headers = map(&[("content-encoding", "identity"), ("x", "1"), ("content-encoding", "br")]);
        assert_eq!(listed(&headers, &CONTENT_ENCODING).as_deref(), Some("identity, br"));
        assert_eq!(listed(&headers, &HOST), None);
    }

    #[test]
    fn one_is_left_out_and_the_rest_stay_in_order() {
        let headers = map(&[("a", "1"), ("b", "2"), ("b", "3"), ("c", "4"), ("a", "5")]);
        let b = HeaderName::from_static("b");
        assert_eq!(names(&without(headers.clone(), &b)), [("a", "1"), ("a", "5"), ("c", "4")]);
        assert_eq!(without(headers.clone(), &HeaderName::from_static("d")), headers);
    }

    #[test]
    fn answers_lose_what_tells_the_account() {
        let headers = map(&[
            ("date", "d"),
            ("content-type", "text/event-stream"),
            ("anthropic-organization-id", "org"),
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("request-id", "r"),
            ("warning", "1"),
            ("warning", "2"),
            ("server", "cloudflare"),
            ("cf-ray", "1"),
            ("strict-transport-security", "x"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
        ]);
        let mut spare = HeaderMap::new();
        let is_limit_header = |name: &str| name.starts_with("anthropic-ratelimit-");
        let out = forwarded_response(headers, is_limit_header, 1, &mut spare);
        assert!(spare.is_empty() && spare.capacity() > 0);
        assert_eq!(
            names(&out),
            [
                ("date", "d"),
                ("content-type", "text/event-stream"),
                ("request-id", "r"),
                ("warning", "1"),
                ("warning", "2")
            ]
        );
    }

    #[test]
    fn every_named_header_is_dropped_from_answers() {
        for name in [
            "anthropic-organization-id",
            "openai-organization",
            "openai-project",
            "chatgpt-account-id",
            "set-cookie",
            "cf-cache-status",
            "alt-svc",
            "strict-transport-security",
            "report-to",
            "nel",
            "server",
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "transfer-encoding",
            "upgrade",
        ] {
            assert!(is_dropped_from_response(&name.parse().unwrap()), "{name}");
        }
        for name in ["content-length", "content-encoding", "retry-after", "x-should-retry", "date", "trailer"]
        {
            assert!(!is_dropped_from_response(&name.parse().unwrap()), "{name}");
        }
    }
}
