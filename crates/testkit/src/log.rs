//! An append-only list that can be waited on.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::signal::bounded;

/// What was seen so far, in order.
pub(crate) struct Log<T> {
    entries: Mutex<Vec<T>>,
    grown: watch::Sender<usize>,
}

impl<T: Clone> Log<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), grown: watch::Sender::new(0) }
    }

    pub(crate) fn push(&self, entry: T) {
        self.push_with(|_| entry);
    }

    /// Appends what `make` returns for its place in the list.
    pub(crate) fn push_with(&self, make: impl FnOnce(usize) -> T) {
        let len = {
            let mut entries = self.lock();
            let entry = make(entries.len());
            entries.push(entry);
            entries.len()
        };
        self.grown.send_modify(|grown| *grown = len.max(*grown));
    }

    pub(crate) fn snapshot(&self) -> Vec<T> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, index: usize) -> Option<T> {
        self.lock().get(index).cloned()
    }

    /// The first entry, past or future, that `wanted` picks.
    pub(crate) async fn wait_for(&self, what: &str, wanted: impl Fn(&T) -> bool) -> io::Result<T> {
        let mut grown = self.grown.subscribe();
        let mut seen = 0;
        bounded(what, async {
            loop {
                grown.borrow_and_update();
                {
                    let entries = self.lock();
                    if let Some(entry) = entries.iter().skip(seen).find(|entry| wanted(entry)) {
                        return entry.clone();
                    }
                    seen = entries.len();
                }
                // The sender lives in `self`, so this waits for growth and nothing else.
                let _ = grown.changed().await;
            }
        })
        .await
    }

    /// Waits until there are more than `index` entries.
    pub(crate) async fn nth(&self, what: &str, index: usize) -> io::Result<T> {
        let mut grown = self.grown.subscribe();
        bounded(what, async {
            loop {
                grown.borrow_and_update();
                if let Some(entry) = self.get(index) {
                    return entry;
                }
                let _ = grown.changed().await;
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a mutex whose data no panic can leave half written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn entries_are_found_before_and_after_they_come() {
        let log = Arc::new(Log::new());
        log.push(1);
        assert_eq!(log.wait_for("one", |&n| n == 1).await.unwrap(), 1);
        let waiter = tokio::spawn({
            let log = Arc::clone(&log);
            async move { (log.wait_for("three", |&n| n == 3).await, log.nth("second", 1).await) }
        });
        log.push(2);
        log.push(3);
        let (found, second) = waiter.await.unwrap();
        assert_eq!((found.unwrap(), second.unwrap()), (3, 2));
        assert_eq!(log.snapshot(), [1, 2, 3]);
    }
}
