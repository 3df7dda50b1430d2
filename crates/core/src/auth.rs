//! Whose request it is: the token in its headers, and the users by token.
//!
//! Spec: operations.md, *Security*; claude.md, *Authentication*.

use std::collections::HashMap;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::secret::TokenDigest;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The token a request carries: that of `Authorization: Bearer`; without an `Authorization` header, `x-api-key`.
///
/// `None` when there is neither, when `Authorization` has another scheme, or when one of them stands twice (two
/// readers could then disagree about whose request it is).
pub fn presented_token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = authorization.next() {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        let token = token.trim_ascii();
        let single = authorization.next().is_none();
        return (single && scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token);
    }
    let mut keys = headers.get_all(API_KEY).iter();
    let key = keys.next()?.as_bytes();
    (keys.next().is_none() && !key.is_empty()).then_some(key)
}

/// The value that tells whose request it is, as it was sent: that of the header which [`presented_token`] reads.
pub fn presented(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(AUTHORIZATION).or_else(|| headers.get(API_KEY))
}

/// Users by the digest of their token.
///
/// A token is looked up by its SHA-256, so that neither the lookup nor the comparison depends on how much of a
/// guess is right.
#[derive(Debug)]
pub struct TokenTable<U> {
    users: HashMap<TokenDigest, U>,
}

impl<U> TokenTable<U> {
    /// A table of the given users. Of two with the same token the later one stays; the configuration refuses that.
    pub fn new(users: impl IntoIterator<Item = (TokenDigest, U)>) -> Self {
        Self { users: users.into_iter().collect() }
    }

    /// Whether there are no users, which means that nobody authenticates.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user whose token this is.
    pub fn find(&self, token: &[u8]) -> Option<&U> {
        let digest = TokenDigest::of(token);
        let (known, user) = self.users.get_key_value(&digest)?;
        known.same(&digest).then_some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn token(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        presented_token(&headers).map(|token| String::from_utf8(token.to_vec()).unwrap())
    }

    #[test]
    fn bearer_decides_and_x_api_key_is_the_fallback() {
        assert_eq!(token(&[("authorization", "Bearer t1")]).as_deref(), Some("t1"));
        assert_eq!(token(&[("authorization", "bearer t1")]).as_deref(), Some("t1"));
        assert_eq!(token(&[("x-api-key", "k1")]).as_deref(), Some("k1"));
        assert_eq!(token(&[("x-api-key", "k1"), ("authorization", "Bearer t1")]).as_deref(), Some("t1"));
    }

    #[test]
    fn anything_unclear_is_no_token() {
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("authorization", "Basic dDE6")]), None);
        assert_eq!(token(&[("authorization", "Basic dDE6"), ("x-api-key", "k1")]), None);
        assert_eq!(token(&[("authorization", "Bearer ")]), None);
        assert_eq!(token(&[("authorization", "Bearer t1"), ("authorization", "Bearer t2")]), None);
        assert_eq!(token(&[("x-api-key", "a"), ("x-api-key", "b")]), None);
        assert_eq!(token(&[("x-api-key", "")]), None);
        assert_eq!(token(&[("authorization", "Bear")]), None);
    }

    #[test]
    fn users_are_found_by_their_token_only() {
        let table = TokenTable::new([(TokenDigest::of(b"t1"), "alice"), (TokenDigest::of(b"t2"), "bob")]);
        assert_eq!(table.find(b"t2"), Some(&"bob"));
        assert_eq!(table.find(b"t3"), None);
        assert_eq!(table.find(b""), None);
    }
}
