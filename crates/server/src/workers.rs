//! Worker threads, each with a single-threaded runtime of its own.
//!
//! A connection stays on one worker, together with the provider's connection that serves it, so that an event passes
//! through without a lock or a wake-up across threads; a shared work-stealing runtime costs half as much again per request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The workers.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    end: CancellationToken,
}

/// One of them.
pub(crate) struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A connection on a worker, counted until dropped.
pub(crate) struct Placed(Arc<AtomicUsize>);

impl Drop for Placed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts one worker for each processor that this process may use.
    pub(crate) fn start() -> io::Result<Self> {
        let mut workers = Self { workers: Vec::new(), end: CancellationToken::new() };
        for index in 0..count() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let end = workers.end.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                trunkline_engine::upstream::set_worker(index);
                runtime.block_on(end.cancelled());
            })?;
            workers.workers.push(Worker { handle, connections: Arc::default(), thread: Some(thread) });
        }
        Ok(workers)
    }

    /// The worker with the fewest connections, and a place on it.
    pub(crate) fn place(&self) -> Option<(&Handle, Placed)> {
        let worker = self.workers.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed))?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Some((&worker.handle, Placed(Arc::clone(&worker.connections))))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end.cancel();
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A worker that panicked has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

/// How many workers there are.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
