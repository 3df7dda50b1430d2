//! What a binding is, and what it is found by.

use std::sync::Arc;
use std::time::SystemTime;

use crate::ids::{CredentialId, ServiceId, UserId};
use crate::provider::MAX_SESSION_ID;

/// What a binding is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    service: ServiceId,
    user: Option<UserId>,
    session: Arc<str>,
}

impl SessionKey {
    /// The key of a session; `None` if the id is empty or longer than [`MAX_SESSION_ID`]: it is then no session id, and
    /// the request is routed without one. `user` is `None` where no users are configured.
    pub fn new(service: ServiceId, user: Option<UserId>, session: &str) -> Option<Self> {
        (1..=MAX_SESSION_ID).contains(&session.len()).then(|| Self { service, user, session: session.into() })
    }

    /// The service.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// The user, if there are users.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The client's id of the session, at most [`MAX_SESSION_ID`] bytes.
    pub fn session(&self) -> &str {
        &self.session
    }
}

/// Which part of its pool a session was bound in. A session whose scope changes is bound anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolScope {
    /// Every credential.
    All,
    /// All but external credentials: the user has no `allow_external_usage`.
    NoExternals,
}

/// A session's credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The credential.
    pub credential: CredentialId,
    /// What it was picked from.
    pub scope: PoolScope,
    /// When a request last used it.
    pub last_used: SystemTime,
}
