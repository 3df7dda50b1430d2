//! A body as the HTTP library reads it, except that its end is an end.
//!
//! The library takes an HTTP/2 stream that is reset with `NO_ERROR` for one that has ended (hyper's `Incoming`), since RFC 9113,
//! 8.1, lets a server reset a stream in that way once its answer is complete. In the middle of a body it is a cut like any
//! other reset. What was received before the reset tells the two apart: the stream's state keeps that `END_STREAM` was seen.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body of a message received, from a client or from a provider. Every body of either goes through it.
#[derive(Debug)]
pub struct ReceivedBody {
    incoming: Incoming,
    is_http2: bool,
    /// Whether its end was seen, or its message has no body, whatever its length says.
    has_ended: bool,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// As the HTTP library says.
    #[error(transparent)]
    Library(#[from] hyper::Error),
    /// An HTTP/2 stream was let go in its middle.
    #[error("the stream was reset with NO_ERROR before its end")]
    LetGo,
}

impl ReceivedBody {
    /// The body of a message of this version.
    pub fn new(incoming: Incoming, version: http::Version) -> Self {
        Self { incoming, is_http2: version == http::Version::HTTP_2, has_ended: false }
    }

    /// The same, of an answer that has no body: to a HEAD, 204 or 304. Over HTTP/2 the library compares the length of what would
    /// have come with what does come, unless the stream ends with the head.
    #[must_use]
    pub fn absent(mut self) -> Self {
        self.has_ended = true;
        self
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(context));
        Poll::Ready(match frame {
            None if self.is_http2 && !self.incoming.is_end_stream() => Some(Err(BodyError::LetGo)),
            None => {
                self.has_ended = true;
                None
            }
            Some(frame) => Some(frame.map_err(BodyError::Library)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_ended { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::error::Error;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, h2::Error>>;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    /// These frames, and then a reset for this reason.
    fn reset<const N: usize>(frames: [Frame<Bytes>; N], reason: h2::Reason) -> Frames {
        frames.into_iter().map(Ok).chain([Err(reason.into())]).collect()
    }

    fn streamed(frames: Frames) -> UnsyncBoxBody<Bytes, h2::Error> {
        // One by one, so that none of them is lost in the library's queue to the reset.
        let frames = futures_util::stream::unfold(frames.into_iter(), |mut frames| async move {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            Some((frames.next()?, frames))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// A connection to a server that never looks at what it is sent, and answers with these frames.
    async fn exchange(
        sent: UnsyncBoxBody<Bytes, Infallible>,
        frames: impl Fn() -> Frames + Send + Sync + 'static,
    ) -> ReceivedBody {
        let (near, far) = tokio::io::duplex(1 << 16);
        let frames = Arc::new(frames);
        let service = service_fn(move |request: Request<Incoming>| {
            // Unread, so that the library lets the client's stream go once the answer is complete.
            drop(request);
            let body = streamed(frames());
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        tokio::spawn(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(far), service),
        );
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://localhost/").body(sent).unwrap();
        let (parts, incoming) = sender.send_request(request).await.unwrap().into_parts();
        // It must outlive the answer.
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(sender);
        });
        ReceivedBody::new(incoming, parts.version)
    }

    fn nothing() -> UnsyncBoxBody<Bytes, Infallible> {
        http_body_util::Empty::new().boxed_unsync()
    }

    /// A body that never ends.
    fn endless() -> UnsyncBoxBody<Bytes, Infallible> {
        StreamBody::new(futures_util::stream::pending()).boxed_unsync()
    }

    async fn read(mut body: ReceivedBody) -> (String, Result<(), BodyError>) {
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.into_data().unwrap_or_default();
                    text.push_str(std::str::from_utf8(&data).unwrap());
                }
                Err(error) => return (text, Err(error)),
            }
        }
        (text, Ok(()))
    }

    #[tokio::test]
    async fn a_stream_let_go_in_its_middle_has_not_ended() {
        let (text, end) =
            read(exchange(nothing(), || reset([data("one"), data("two")], h2::Reason::NO_ERROR)).await).await;
        assert_eq!(text, "onetwo");
        assert!(matches!(end, Err(BodyError::LetGo)), "{end:?}");
        let (text, end) = read(exchange(nothing(), || reset([], h2::Reason::NO_ERROR)).await).await;
        assert!(text.is_empty() && matches!(end, Err(BodyError::LetGo)), "{end:?}");
    }

    /// RFC 9113, 8.1: the server has answered and wants no more of the request.
    #[tokio::test]
    async fn a_stream_let_go_after_its_end_has_ended() {
        let (text, end) = read(exchange(endless(), || vec![Ok(data("one")), Ok(data("two"))]).await).await;
        assert!(text == "onetwo" && end.is_ok(), "{text} {end:?}");
        let trailers = || vec![Ok(data("one")), Ok(Frame::trailers(http::HeaderMap::new()))];
        let (text, end) = read(exchange(endless(), trailers).await).await;
        assert!(text == "one" && end.is_ok(), "{text} {end:?}");
        let (text, end) = read(exchange(endless(), Vec::new).await).await;
        assert!(text.is_empty() && end.is_ok(), "{end:?}");
    }

    #[tokio::test]
    async fn other_resets_are_told_by_the_library() {
        let cancelled = || reset([data("one")], h2::Reason::CANCEL);
        let (text, end) = read(exchange(nothing(), cancelled).await).await;
        assert_eq!(text, "one");
        let end = end.unwrap_err();
        assert!(matches!(end, BodyError::Library(_)) && end.source().is_some(), "{end:?}");
    }
}
