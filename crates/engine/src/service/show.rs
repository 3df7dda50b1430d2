//! What a client is shown of its pool's limits (limits.md, *Rate-limit headers that a client sees*).

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::FixedState;
use http::{HeaderName, HeaderValue, StatusCode};
use trunkline_core::limits::{Aggregate, Caps, Member, MemberKind, NoCandidate, View, Weight};
use trunkline_core::provider::OwnAnswer;

use super::Service;
use super::asked::Asked;
use super::pool::{Pool, Seen};
use crate::credential::{LiveCredential, refused, standing};

/// Headers, in order.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What was shown last, and what it was made of.
#[derive(Debug)]
pub(super) struct Shown {
    /// [`LiveCredential::published`] when it was last found to be true.
    published: AtomicU64,
    /// What was known of the members.
    versions: u64,
    /// The second in which it was made: times are told in seconds.
    second: u64,
    is_429: bool,
    is_peer: bool,
    headers: Headers,
}

impl Service {
    /// The headers for an answer of the provider's that came at `now`.
    pub(super) fn shown_headers(&self, asked: &Asked, status: StatusCode, now: SystemTime) -> Arc<Shown> {
        let (is_429, is_peer) = (status == StatusCode::TOO_MANY_REQUESTS, asked.is_peer());
        let pool = &asked.pool;
        // Before anything is looked at, so that what is published meanwhile is not missed.
        let published = LiveCredential::published();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Where users see different parts of the pool, each is told anew.
        let shares = !pool.restricts_users();
        let last = pool.shown.load();
        let last = last.as_ref().filter(|last| {
            shares && last.second == second && (last.is_429, last.is_peer) == (is_429, is_peer)
        });
        // However many members there are.
        if let Some(last) = last
            && last.published.load(Ordering::Acquire) == published
        {
            return Arc::clone(last);
        }
        let seen = seen(pool, asked.user_name(), now);
        let mut hasher = FixedState::default().build_hasher();
        for seen in &seen {
            hasher.write_u64(seen.current.version);
        }
        let versions = hasher.finish();
        if let Some(last) = last
            && last.versions == versions
        {
            last.published.store(published, Ordering::Release);
            return Arc::clone(last);
        }
        let aggregate = aggregate(&seen, now);
        let view = View { aggregate: &aggregate, now, is_peer, is_429, no_candidate: None };
        let headers = self.provider.limit_facts().shown_headers(&view);
        let published = AtomicU64::new(published);
        let shown = Arc::new(Shown { published, versions, second, is_429, is_peer, headers });
        if shares {
            pool.shown.store(Some(Arc::clone(&shown)));
        }
        shown
    }

    /// The headers for an answer of our own, which no credential could give.
    pub(super) fn refusal_headers(&self, asked: &Asked, answer: &NoCandidate) -> Headers {
        let now = SystemTime::now();
        let aggregate = aggregate(&seen(&asked.pool, asked.user_name(), now), now);
        let is_peer = asked.is_peer();
        let view = View { aggregate: &aggregate, now, is_peer, is_429: true, no_candidate: Some(answer) };
        self.provider.limit_facts().shown_headers(&view)
    }

    /// What the pool has used, as the provider's usage endpoint tells it.
    pub(super) fn usage(&self, pool: &Pool, user: Option<&str>) -> OwnAnswer {
        let now = SystemTime::now();
        let aggregate = aggregate(&seen(pool, user, now), now);
        let body: Bytes = self.provider.limit_facts().usage_body(&aggregate, now);
        OwnAnswer { status: StatusCode::OK, content_type: "application/json", body }
    }
}

impl Shown {
    pub(super) fn headers(&self) -> &Headers {
        &self.headers
    }
}

/// What the pool shows to a user now.
pub(super) fn with_view<T>(asked: &Asked, make: impl FnOnce(&View<'_>) -> T) -> T {
    let now = SystemTime::now();
    let aggregate = aggregate(&seen(&asked.pool, asked.user_name(), now), now);
    let is_peer = asked.is_peer();
    make(&View { aggregate: &aggregate, now, is_peer, is_429: false, no_candidate: None })
}

/// The members that the user may use.
fn seen<'a>(pool: &'a Pool, user: Option<&str>, now: SystemTime) -> Vec<Seen<'a>> {
    let members = pool.members().iter().filter(|member| member.admits_user(user));
    members.map(|member| Seen::new(member, now)).collect()
}

fn aggregate(seen: &[Seen<'_>], now: SystemTime) -> Aggregate {
    let members: Vec<Member<'_>> = seen
        .iter()
        .map(|seen| {
            let is_api_key = seen.credential.is_api_key();
            Member {
                kind: if is_api_key { MemberKind::ApiKey } else { MemberKind::Login },
                standing: standing(seen.facts(), now),
                windows: &seen.current.windows,
                caps: if is_api_key { Caps::ALL } else { seen.current.caps() },
                weight: Weight::new(seen.credential.weight_by(&seen.current)).unwrap_or(Weight::ONE),
                refused: refused(seen.facts(), now),
            }
        })
        .collect();
    Aggregate::of(&members, now)
}
