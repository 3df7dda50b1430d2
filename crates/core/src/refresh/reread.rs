//! Whether somebody else has refreshed a login meanwhile: what the file holds when it is read again.
//!
//! Spec: credentials.md, *Refreshing*, steps 1 and 3, and what follows a failure at step 5.

use std::time::SystemTime;

use super::RefreshKind;
use crate::login::Login;

/// Whether the login that was read again makes the refresh needless. `failed`: the login that a forced refresh is about; of
/// that only another access token counts, since the provider refused that one whatever its end says.
pub fn settled_by(read: &Login, kind: RefreshKind, failed: &Login, now: SystemTime) -> bool {
    match kind {
        RefreshKind::Proactive => !read.needs_refresh(now),
        RefreshKind::Forced => read.access_token != failed.access_token,
    }
}

/// Whether the login that was read again after a failed refresh shows that another process succeeded. `sent`: the login that
/// the refresh was made with.
pub fn is_settled_after_failure(read: &Login, kind: RefreshKind, sent: &Login, now: SystemTime) -> bool {
    read.access_token != sent.access_token || settled_by(read, kind, sent, now)
}
