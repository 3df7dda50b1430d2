//! The table of sessions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Row, params};
use trunkline_core::sessions::{IDLE_EXPIRY, MAX_BINDINGS, PoolScope};
use trunkline_engine::bindings::{StoredBinding, StoredKey};

use crate::Database;

/// A change, or the removal, of a binding.
pub(crate) type Change = Result<StoredBinding, StoredKey>;

impl Database {
    /// What was stored, the latest used first, no more than a table holds. What nobody has used for long enough is removed.
    pub(crate) fn load_sessions(&mut self, now: SystemTime) -> rusqlite::Result<Vec<StoredBinding>> {
        let oldest = millis(now.checked_sub(IDLE_EXPIRY).unwrap_or(UNIX_EPOCH));
        self.connection.execute("DELETE FROM session WHERE last_used <= ?1", [oldest])?;
        let mut statement = self.connection.prepare(
            "SELECT service, user, session, credential, scope, last_used FROM session ORDER BY last_used DESC LIMIT ?1",
        )?;
        let most = i64::try_from(MAX_BINDINGS).unwrap_or(i64::MAX);
        statement.query_map([most], binding)?.collect()
    }

    /// Writes changes, all of them or none.
    pub(crate) fn save_sessions(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO session (service, user, session, credential, scope, last_used) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET credential = ?4, scope = ?5, last_used = ?6",
            )?;
            let mut remove = transaction
                .prepare_cached("DELETE FROM session WHERE service = ?1 AND user = ?2 AND session = ?3")?;
            for change in changes {
                match change {
                    Ok(binding) => put.execute(params![
                        binding.key.service,
                        user(&binding.key),
                        binding.key.session,
                        binding.credential,
                        scope_to(binding.scope),
                        millis(binding.last_used),
                    ])?,
                    Err(key) => remove.execute(params![key.service, user(key), key.session])?,
                };
            }
        }
        transaction.commit()
    }

    /// Puts these in the place of everything.
    pub(crate) fn replace_sessions(&mut self, all: Vec<StoredBinding>) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM session", [])?;
        let all: Vec<Change> = all.into_iter().map(Ok).collect();
        self.save_sessions(&all)
    }
}

fn user(key: &StoredKey) -> &str {
    key.user.as_deref().unwrap_or_default()
}

fn scope_to(scope: PoolScope) -> i64 {
    match scope {
        PoolScope::All => 0,
        PoolScope::NoExternals => 1,
    }
}

fn binding(row: &Row<'_>) -> rusqlite::Result<StoredBinding> {
    let user: String = row.get(1)?;
    let last_used: i64 = row.get(5)?;
    let since = Duration::from_millis(u64::try_from(last_used).unwrap_or(0));
    Ok(StoredBinding {
        key: StoredKey {
            service: row.get(0)?,
            user: Some(user).filter(|user| !user.is_empty()),
            session: row.get(2)?,
        },
        credential: row.get(3)?,
        scope: if row.get::<_, i64>(4)? == 0 { PoolScope::All } else { PoolScope::NoExternals },
        last_used: UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH),
    })
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
