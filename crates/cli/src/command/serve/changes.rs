//! Changes of files on their way from the thread that watches to the loop that acts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Files that have changed. At most as many as are watched.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<BTreeSet<PathBuf>>,
    notify: Notify,
}

impl Changes {
    /// Notes that these have changed. Never blocks for long.
    pub(super) fn note(&self, files: &[PathBuf]) {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(files.iter().cloned());
        self.shared.notify.notify_one();
    }

    /// Waits for changes, and takes them.
    pub(super) async fn next(&self) -> BTreeSet<PathBuf> {
        loop {
            let taken =
                std::mem::take(&mut *self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.shared.notify.notified().await;
        }
    }
}
