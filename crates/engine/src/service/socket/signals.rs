//! What a relayed WebSocket is told from elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::sync::watch;

use crate::client_connection::Ending;
use crate::credential::Credential;
use crate::service::LiveService;

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// To end at the next boundary: the process ends, or the listener does.
    Stop,
    /// To end at once.
    Abort,
    /// Another configuration is in force.
    Configured,
    /// Sessions were sent elsewhere.
    Rebalanced,
    /// Something that is known of the credential has changed.
    Credential,
    /// Whoever waits for the credential may have to go elsewhere.
    Interrupted,
}

/// All of it as one, which costs nothing while nothing is told: it is looked at when it wakes, and not whenever a message
/// comes.
pub(super) struct Signals {
    told: Pin<Box<dyn Future<Output = (Signal, Sources)> + Send>>,
    flag: Arc<Flag>,
    waker: Waker,
}

struct Sources {
    ending: Ending,
    has_stopped: bool,
    has_aborted: bool,
    configured: watch::Receiver<u64>,
    rebalanced: watch::Receiver<u64>,
    changes: watch::Receiver<()>,
    interrupts: watch::Receiver<u64>,
}

/// Passes a wake-up on and remembers it.
#[derive(Default)]
struct Flag {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Signals {
    pub(super) fn new(ending: Ending, live: &LiveService, credential: &Credential) -> Self {
        let sources = Sources {
            ending,
            has_stopped: false,
            has_aborted: false,
            configured: live.configured.subscribe(),
            rebalanced: live.rebalanced.subscribe(),
            changes: credential.live().changes(),
            interrupts: credential.live().interrupts(),
        };
        let flag = Arc::new(Flag { is_set: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Arc::clone(&flag).into();
        Self { told: Box::pin(sources.next()), flag, waker }
    }

    pub(super) fn poll_next(&mut self, context: &Context<'_>) -> Poll<Signal> {
        self.flag.task.register(context.waker());
        if !self.flag.is_set.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let mut context = Context::from_waker(&self.waker);
        match self.told.as_mut().poll(&mut context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((signal, sources)) => {
                self.told = Box::pin(sources.next());
                // It has not been looked at yet.
                self.flag.is_set.store(true, Ordering::Release);
                Poll::Ready(signal)
            }
        }
    }
}

impl Sources {
    async fn next(mut self) -> (Signal, Self) {
        // The senders of the others live as long as what they tell of; if one is gone, nothing more is told.
        let signal = tokio::select! {
            biased;
            () = self.ending.abort.cancelled(), if !self.has_aborted => Signal::Abort,
            () = self.ending.stop.cancelled(), if !self.has_stopped => Signal::Stop,
            Ok(()) = self.configured.changed() => Signal::Configured,
            Ok(()) = self.rebalanced.changed() => Signal::Rebalanced,
            Ok(()) = self.changes.changed() => Signal::Credential,
            Ok(()) = self.interrupts.changed() => Signal::Interrupted,
            else => std::future::pending().await,
        };
        self.has_stopped |= signal == Signal::Stop;
        self.has_aborted |= signal == Signal::Abort;
        (signal, self)
    }
}
