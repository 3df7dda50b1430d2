//! Which credential serves which session, for all services of the process: the one table, and the numbers that stand in it
//! for tags and names.
//!
//! Spec: routing.md, *Sessions*. The table outlives every change of the configuration, and is stored: see
//! [`Bindings::take_changes`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use trunkline_core::ids::{CredentialId, ServiceId, UserId};
use trunkline_core::sessions::{Binding, Change, Changes, PoolScope, SessionKey, SessionTable};

/// The table. See the module.
#[derive(Debug, Default)]
pub struct Bindings {
    table: Mutex<SessionTable>,
    names: Mutex<Names>,
}

/// What has a number. A number is never given anew; they are as many as names ever stood in the configuration.
#[derive(Debug, Default)]
struct Names {
    services: Vec<Arc<str>>,
    users: Vec<(ServiceId, Arc<str>)>,
    credentials: Vec<(ServiceId, Arc<str>)>,
}

/// A binding by names, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBinding {
    /// What it is found by.
    pub key: StoredKey,
    /// The credential's tag.
    pub credential: String,
    /// What it was picked from.
    pub scope: PoolScope,
    /// When it was last used.
    pub last_used: SystemTime,
}

/// A session by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The service's tag.
    pub service: String,
    /// The user's name, where there are users.
    pub user: Option<String>,
    /// The client's id of it.
    pub session: String,
}

/// What has changed in the table since it was last stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredChanges {
    /// These: what is to be stored, or removed.
    Listed(Vec<Result<StoredBinding, StoredKey>>),
    /// So much that everything is to be stored anew: [`Bindings::all`].
    Everything,
}

impl Bindings {
    /// The table.
    pub fn table(&self) -> MutexGuard<'_, SessionTable> {
        // Nothing in it can panic half way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a service.
    pub fn service(&self, tag: &str) -> ServiceId {
        let mut names = self.names();
        let known = names.services.iter().position(|known| **known == *tag);
        let at = known.unwrap_or_else(|| {
            names.services.push(tag.into());
            names.services.len() - 1
        });
        ServiceId(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// The number of a service's user.
    pub fn user(&self, service: ServiceId, name: &str) -> UserId {
        UserId(number(&mut self.names().users, service, name))
    }

    /// The number of a service's credential.
    pub fn credential(&self, service: ServiceId, tag: &str) -> CredentialId {
        CredentialId(number(&mut self.names().credentials, service, tag))
    }

    /// How many sessions are bound to each of these credentials.
    pub fn bound_to(&self, credentials: impl IntoIterator<Item = CredentialId>) -> Vec<usize> {
        let table = self.table();
        credentials.into_iter().map(|credential| table.bound_to(credential)).collect()
    }

    // --- stored ---

    /// Takes over what was stored, the latest used first; from here on changes are remembered. How many were taken.
    pub fn restore(&self, stored: impl IntoIterator<Item = StoredBinding>, now: SystemTime) -> usize {
        let bindings: Vec<_> = stored
            .into_iter()
            .filter_map(|stored| {
                let service = self.service(&stored.key.service);
                let user = stored.key.user.map(|user| self.user(service, &user));
                let key = SessionKey::new(service, user, &stored.key.session)?;
                let credential = self.credential(service, &stored.credential);
                Some((key, Binding { credential, scope: stored.scope, last_used: stored.last_used }))
            })
            .collect();
        let mut table = self.table();
        table.remember_changes();
        table.restore(bindings, now)
    }

    /// At most `most` changes since the last call.
    pub fn take_changes(&self, most: usize) -> StoredChanges {
        // In this order everywhere: the table is never held while names are looked up.
        let changes = self.table().drain_changes(most);
        let names = self.names();
        match changes {
            Changes::Everything => StoredChanges::Everything,
            Changes::Listed(changes) => StoredChanges::Listed(
                changes
                    .into_iter()
                    .filter_map(|change| match change {
                        Change::Put(key, binding) => names.binding(&key, &binding).map(Ok),
                        Change::Remove(key) => names.key(&key).map(Err),
                    })
                    .collect(),
            ),
        }
    }

    /// Every binding, the one used longest ago first.
    pub fn all(&self) -> Vec<StoredBinding> {
        let all: Vec<_> = self.table().iter().map(|(key, binding)| (key.clone(), *binding)).collect();
        let names = self.names();
        all.iter().filter_map(|(key, binding)| names.binding(key, binding)).collect()
    }
}

impl Names {
    fn key(&self, key: &SessionKey) -> Option<StoredKey> {
        let user = match key.user() {
            None => None,
            Some(UserId(at)) => Some(self.users.get(at as usize)?.1.to_string()),
        };
        Some(StoredKey {
            service: self.services.get(usize::from(key.service().0))?.to_string(),
            user,
            session: key.session().to_owned(),
        })
    }

    fn binding(&self, key: &SessionKey, binding: &Binding) -> Option<StoredBinding> {
        Some(StoredBinding {
            key: self.key(key)?,
            credential: self.credentials.get(binding.credential.0 as usize)?.1.to_string(),
            scope: binding.scope,
            last_used: binding.last_used,
        })
    }
}

fn number(known: &mut Vec<(ServiceId, Arc<str>)>, service: ServiceId, name: &str) -> u32 {
    let at = known.iter().position(|(of, known)| *of == service && **known == *name);
    let at = at.unwrap_or_else(|| {
        known.push((service, name.into()));
        known.len() - 1
    });
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stored(session: &str, user: Option<&str>, credential: &str, last_used: SystemTime) -> StoredBinding {
        StoredBinding {
            key: StoredKey {
                service: "claude".to_owned(),
                user: user.map(str::to_owned),
                session: session.to_owned(),
            },
            credential: credential.to_owned(),
            scope: PoolScope::All,
            last_used,
        }
    }

    #[test]
    fn numbers_stay_and_are_each_service_s_own() {
        let bindings = Bindings::default();
        let (one, other) = (bindings.service("one"), bindings.service("other"));
        assert_eq!(bindings.service("one"), one);
        assert_ne!(bindings.credential(one, "a"), bindings.credential(other, "a"));
        assert_ne!(bindings.user(one, "a"), bindings.user(one, "b"));
        assert_eq!(bindings.credential(one, "a"), bindings.credential(one, "a"));
    }

    #[test]
    fn what_is_stored_by_name_comes_back() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let bindings = Bindings::default();
        let before = [stored("s", Some("alice"), "a", now), stored("t", None, "b", now)];
        assert_eq!(bindings.restore(before.clone(), now), 2);
        let mut all = bindings.all();
        all.sort_by(|one, other| one.key.session.cmp(&other.key.session));
        assert_eq!(all, before);
        // Nothing has changed by that.
        assert_eq!(bindings.take_changes(10), StoredChanges::Listed(Vec::new()));
        let service = bindings.service("claude");
        let key = SessionKey::new(service, Some(bindings.user(service, "alice")), "s").unwrap();
        let other = SessionKey::new(service, None, "t").unwrap();
        let b = bindings.credential(service, "b");
        bindings.table().bind(key, b, PoolScope::All, now);
        bindings.table().unbind(&other);
        assert_eq!(
            bindings.take_changes(10),
            StoredChanges::Listed(vec![Ok(stored("s", Some("alice"), "b", now)), Err(before[1].key.clone())])
        );
        assert_eq!(bindings.bound_to([b]), [1]);
    }
}
