//! Ends an HTTP/2 stream whose client takes nothing of the answer that waits for it.
//!
//! An HTTP/1.1 client that takes nothing stops the writes of its connection, which the connection's own waits see. A stream
//! of HTTP/2 has a window of its own: a client can shut it, go on reading the connection and answering pings, and hold the
//! stream and the provider's connection behind it for good. The HTTP library gives no way to see such a stream from outside,
//! but it runs each stream as a future on an executor that we supply, and it asks the answer's body for more only when what
//! it was given before has left. So the executor watches each stream together with its body: when the library has been
//! given a piece and has not asked for more in [`WRITE_STALL`], the future is dropped, which resets the stream and drops
//! the body with everything behind it. Other streams of the connection go on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use trunkline_engine::client_connection::WRITE_STALL;

/// How often a stream is looked at that waits for its client. The clock is not read for every piece of an answer, so a
/// stall ends up to one of these later than [`WRITE_STALL`].
const LOOK: Duration = Duration::from_secs(30);

/// How many looks in a row that find nothing taken make a stall.
const LOOKS: u32 = 10;
const _: () = assert!(WRITE_STALL.as_secs() == LOOK.as_secs() * LOOKS as u64, "the looks make up the stall");

tokio::task_local! {
    /// The stream whose future is being polled.
    static STREAM: Arc<Progress>;
}

/// What the body of a stream and the one who watches the stream share. Twice the number of times that the library asked the
/// body for more, and one more while it has a piece that it was given.
#[derive(Debug, Default)]
struct Progress(AtomicU32);

impl Progress {
    fn on_asked(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now & !1).wrapping_add(2), Ordering::Relaxed);
    }

    fn on_given(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now | 1, Ordering::Relaxed);
    }

    /// What tells one wait for the client from another; `None`: the client is not waited for.
    fn wait(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|now| now & 1 == 1)
    }
}

/// Runs the streams of HTTP/2 connections as tasks, and watches them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = Arc::<Progress>::default();
        let stream = STREAM.scope(Arc::clone(&progress), stream);
        tokio::spawn(Watch { stream, progress, look: None, seen: (0, 0) });
    }
}

pin_project! {
    struct Watch<F> {
        #[pin]
        stream: F,
        progress: Arc<Progress>,
        // There is one only while the client is waited for, or was when it was set.
        look: Option<Pin<Box<Sleep>>>,
        // The wait that was seen at the last look, and how many looks have found it.
        seen: (u32, u32),
    }
}

impl<F: Future<Output = ()>> Future for Watch<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(look) = this.look else {
                let Some(wait) = this.progress.wait() else { return Poll::Pending };
                *this.seen = (wait, 0);
                *this.look = Some(Box::pin(tokio::time::sleep(LOOK)));
                continue;
            };
            if look.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match this.progress.wait() {
                None => *this.look = None,
                Some(wait) if wait != this.seen.0 => {
                    *this.seen = (wait, 0);
                    look.as_mut().reset(tokio::time::Instant::now() + LOOK);
                }
                Some(wait) => {
                    *this.seen = (wait, this.seen.1 + 1);
                    if this.seen.1 >= LOOKS {
                        tracing::debug!(
                            "an HTTP/2 client took nothing of an answer for {WRITE_STALL:?}: reset"
                        );
                        return Poll::Ready(());
                    }
                    look.as_mut().reset(tokio::time::Instant::now() + LOOK);
                }
            }
        }
    }
}

/// Most that is given to the library as the end of a stream. Once it has the end, it lets go of the future that is watched
/// here, and keeps what it was given for as long as the connection lasts; so that is bounded by this for each stream.
const LAST_PIECE: usize = 16 * 1024;

pin_project! {
    /// The body of an answer, which tells the one who watches its stream how far it is.
    #[derive(Debug)]
    pub(crate) struct WatchedBody<B> {
        #[pin]
        body: B,
        // There is none over HTTP/1.1.
        progress: Option<Arc<Progress>>,
        // What is left of the last piece.
        last: Option<Bytes>,
    }
}

impl<B> WatchedBody<B> {
    /// Must be called while the stream's future is polled.
    pub(crate) fn new(body: B) -> Self {
        Self { body, progress: STREAM.try_with(Arc::clone).ok(), last: None }
    }
}

impl<B: Body<Data = Bytes>> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(progress) = this.progress else { return this.body.poll_frame(context) };
        progress.on_asked();
        let mut polled = match this.last.take() {
            Some(last) => Poll::Ready(Some(Ok(Frame::data(last)))),
            None => this.body.as_mut().poll_frame(context),
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            progress.on_given();
            if let Some(data) = frame.data_mut().filter(|data| data.len() > LAST_PIECE)
                && this.body.is_end_stream()
            {
                *this.last = Some(data.split_off(data.len() - LAST_PIECE));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let last = self.last.as_ref().map_or(0, |last| last.len() as u64);
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(last));
        }
        hint.set_lower(hint.lower().saturating_add(last));
        hint
    }
}

#[cfg(test)]
mod tests;
