//! The bindings of sessions, written behind by a thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use trunkline_engine::bindings::{Bindings, StoredChanges};

use crate::Database;

/// How often changes are written. What was bound since is lost if the process is killed.
const INTERVAL: Duration = Duration::from_millis(250);

/// Changes in one transaction.
const AT_ONCE: usize = 4_096;

/// How long a file that failed is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// The store. Ends when dropped, after everything has been written.
#[derive(Debug)]
pub struct SessionStore {
    stop: Option<Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl SessionStore {
    /// Takes over what was stored in `directory` into `bindings`, and writes their changes from here on. A file that cannot
    /// be used is warned of, and service goes on without it.
    pub fn start(directory: &Path, bindings: Arc<Bindings>) -> Self {
        let (database, stored) = match open(directory) {
            Some(mut database) => match database.load_sessions(SystemTime::now()) {
                Ok(stored) => (Some(database), stored),
                Err(error) => {
                    warn(directory, &error);
                    (None, Vec::new())
                }
            },
            None => (None, Vec::new()),
        };
        let taken = bindings.restore(stored, SystemTime::now());
        if taken > 0 {
            tracing::info!("{taken} sessions go on with their credentials");
        }
        let (stop, stopped) = channel();
        let writer = Writer { directory: directory.to_path_buf(), bindings, database, is_behind: false };
        let writer =
            std::thread::Builder::new().name("sessions".to_owned()).spawn(move || writer.run(&stopped));
        let writer = writer
            .inspect_err(|error| tracing::warn!(%error, "sessions are not stored: no thread can be started"))
            .ok();
        Self { stop: Some(stop), writer }
    }
}

impl Drop for SessionStore {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(writer) = self.writer.take() {
            // A panic in there has been told.
            let _ = writer.join();
        }
    }
}

struct Writer {
    directory: PathBuf,
    bindings: Arc<Bindings>,
    database: Option<Database>,
    /// Whether something was taken from the table and is not in the file: everything is then written anew.
    is_behind: bool,
}

impl Writer {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut wait = INTERVAL;
        loop {
            let ends = !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            wait = if self.write() { INTERVAL } else { TRY_AGAIN };
            if ends {
                return;
            }
        }
    }

    /// Writes what has changed. Whether that could be done.
    fn write(&mut self) -> bool {
        if self.database.is_none() {
            // Nothing that was stored before is in the way: the table has all there is.
            self.database = open(&self.directory);
            self.is_behind = true;
        }
        let Some(database) = &mut self.database else {
            // The table must not remember changes without end.
            while let StoredChanges::Listed(changes) = self.bindings.take_changes(AT_ONCE) {
                if changes.is_empty() {
                    break;
                }
            }
            return false;
        };
        let written = loop {
            if std::mem::take(&mut self.is_behind) {
                let written = database.replace_sessions(self.bindings.all());
                if written.is_err() {
                    break written;
                }
            }
            match self.bindings.take_changes(AT_ONCE) {
                StoredChanges::Everything => self.is_behind = true,
                StoredChanges::Listed(changes) if changes.is_empty() => break Ok(()),
                StoredChanges::Listed(changes) => {
                    let written = database.save_sessions(&changes);
                    if written.is_err() {
                        break written;
                    }
                }
            }
        };
        if let Err(error) = written {
            warn(&self.directory, &error);
            self.database = None;
            return false;
        }
        true
    }
}

fn open(directory: &Path) -> Option<Database> {
    match Database::open(directory) {
        Ok((database, None)) => Some(database),
        Ok((database, Some(aside))) => {
            tracing::warn!(
                "{} was corrupt: it is kept as {}, and sessions begin anew",
                directory.join(crate::FILE).display(),
                aside.display()
            );
            Some(database)
        }
        Err(error) => {
            warn(directory, &error);
            None
        }
    }
}

fn warn(directory: &Path, error: &dyn std::fmt::Display) {
    tracing::warn!(
        "{} cannot be used ({error}): sessions are kept in memory only, and it is tried again",
        directory.join(crate::FILE).display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_core::sessions::{PoolScope, SessionKey};

    fn bind(bindings: &Bindings, session: &str, credential: &str) {
        let service = bindings.service("claude");
        let key = SessionKey::new(service, Some(bindings.user(service, "alice")), session).unwrap();
        let credential = bindings.credential(service, credential);
        bindings.table().bind(key, credential, PoolScope::All, SystemTime::now());
    }

    fn sessions(bindings: &Bindings) -> Vec<(String, String)> {
        let mut all: Vec<_> =
            bindings.all().into_iter().map(|stored| (stored.key.session, stored.credential)).collect();
        all.sort();
        all
    }

    #[test]
    fn bindings_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let bindings = Arc::new(Bindings::default());
        let store = SessionStore::start(directory.path(), Arc::clone(&bindings));
        for nth in 0..10_000 {
            bind(&bindings, &format!("s{nth}"), if nth % 2 == 0 { "a" } else { "b" });
        }
        drop(store);
        let again = Arc::new(Bindings::default());
        let store = SessionStore::start(directory.path(), Arc::clone(&again));
        assert_eq!(sessions(&again), sessions(&bindings));
        bind(&again, "s0", "b");
        let service = again.service("claude");
        let key = SessionKey::new(service, Some(again.user(service, "alice")), "s1").unwrap();
        again.table().unbind(&key);
        drop(store);
        let last = Arc::new(Bindings::default());
        drop(SessionStore::start(directory.path(), Arc::clone(&last)));
        assert_eq!(sessions(&last), sessions(&again));
        assert_eq!(sessions(&last).len(), 9_999);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_no_obstacle_and_may_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(crate::FILE);
        std::fs::create_dir(&path).unwrap();
        let bindings = Arc::new(Bindings::default());
        let mut writer = Writer {
            directory: directory.path().to_path_buf(),
            bindings: Arc::clone(&bindings),
            database: None,
            is_behind: false,
        };
        bindings.restore([], SystemTime::now());
        bind(&bindings, "s", "a");
        assert!(!writer.write());
        std::fs::remove_dir(&path).unwrap();
        assert!(writer.write());
        let again = Arc::new(Bindings::default());
        drop(SessionStore::start(directory.path(), Arc::clone(&again)));
        assert_eq!(sessions(&again), [("s".to_owned(), "a".to_owned())]);
    }
}
