//! The body of an answer, which drives the connection that it comes from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Link;

/// The most that frames are merged into; a frame of this size or more is passed on as it is.
const MERGED: usize = 64 * 1024;

/// An upstream body whose waiting frames are handed on as one.
pub(crate) struct RelayBody {
    source: Option<Source>,
    /// What ended the merge before, to be handed on next.
    held: Option<Next>,
}

struct Source {
    body: Incoming,
    link: Link,
    ended: bool,
}

type Next = Option<Result<Frame<Bytes>, hyper::Error>>;

// === impl RelayBody ===

impl RelayBody {
    /// The body of an answer that came over `link`.
    pub(crate) fn new(body: Incoming, link: Link) -> Self {
        Self { source: Some(Source { body, link, ended: false }), held: None }
    }

    /// No body.
    pub(crate) fn empty() -> Self {
        Self { source: None, held: None }
    }

    /// Goes on taking frames until none is waiting.
    fn merge(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut merged = BytesMut::new();
        let mut length = first.len();
        let mut single = Some(first);
        while length < MERGED {
            let Some(source) = &mut self.source else { break };
            let Poll::Ready(next) = source.poll_next(cx) else { break };
            match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if let Some(first) = single.take() {
                        merged.reserve(2 * (first.len() + data.len()));
                        merged.extend_from_slice(&first);
                    }
                    merged.extend_from_slice(&data);
                    length += data.len();
                }
                Some(Ok(Err(trailers))) => {
                    self.held = Some(Some(Ok(trailers)));
                    break;
                }
                Some(Err(error)) => {
                    self.held = Some(Some(Err(error)));
                    break;
                }
                None => {
                    self.held = Some(None);
                    break;
                }
            }
        }
        single.unwrap_or_else(|| merged.freeze())
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(held);
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let next = ready!(source.poll_next(cx));
        Poll::Ready(match next.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => Some(Ok(Frame::data(self.merge(data, cx)))),
            Some(Ok(Err(trailers))) => Some(Ok(trailers)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match (&self.held, &self.source) {
            (Some(held), _) => held.is_none(),
            (None, Some(source)) => source.is_ended(),
            (None, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |source| source.body.size_hint())
    }
}

impl Drop for RelayBody {
    /// Returns the connection, here and not at the last frame because hyper does not ask a body of known length
    /// for the end that follows.
    fn drop(&mut self) {
        if let Some(source) = self.source.take()
            && source.is_ended()
        {
            source.link.release();
        }
    }
}

// === impl Source ===

impl Source {
    /// The next frame, for which the connection is asked when the body has none.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut next = Pin::new(&mut self.body).poll_frame(cx);
        if next.is_pending() {
            self.link.drive(cx);
            next = Pin::new(&mut self.body).poll_frame(cx);
        }
        self.ended |= matches!(next, Poll::Ready(None));
        next
    }

    fn is_ended(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}
