//! HTTP/1.1 connections to a provider, driven by whoever waits on them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use trunkline_core::answer_head::{MAX_FIELDS, MAX_SIZE};

use super::stream::Stream;
use crate::upload::UploadBody;

/// Largest read buffer of a connection. Buffers grow with the traffic up to this; larger ones gain nothing for streams. The
/// head of an answer must fit into it, with its status line.
const MAX_BUFFER: usize = MAX_SIZE + 1024;

/// Idle connections kept to one provider address.
const MAX_IDLE: usize = 256;

/// How long one is kept idle. Shorter than what providers' front ends allow, so that we close first.
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Http1 {
    sender: http1::SendRequest<UploadBody>,
    connection: http1::Connection<TokioIo<Stream>, UploadBody>,
    closed: bool,
}

impl Http1 {
    pub(super) async fn open(stream: Stream) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Box::new(Self { sender, connection, closed: false }))
    }

    /// Moves the connection's own work on: writing what is left of the request, reading what there is of the answer.
    pub fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.closed {
            return Poll::Ready(());
        }
        match Pin::new(&mut self.connection).poll(context) {
            // The reason reaches the reader through the answer.
            Poll::Ready(_) => {
                self.closed = true;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(
        &mut self,
        request: http::Request<UploadBody>,
    ) -> Result<http::Response<Incoming>, hyper::Error> {
        let mut response = pin!(self.sender.send_request(request));
        std::future::poll_fn(|context| {
            if let Poll::Ready(response) = response.as_mut().poll(context) {
                return Poll::Ready(response);
            }
            if !self.closed && Pin::new(&mut self.connection).poll(context).is_ready() {
                self.closed = true;
            }
            response.as_mut().poll(context)
        })
        .await
    }

    /// The bytes of a connection that has changed its protocol (101), and what has been read of the new one already.
    pub(crate) async fn into_upgraded(mut self) -> (Stream, Bytes) {
        // The library's part of it ends with the head of the answer.
        std::future::poll_fn(|context| self.drive(context)).await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    /// Whether it could take another request now.
    fn is_idle(&mut self) -> bool {
        // Polling tells whether the other side has closed it, and lets it come to rest after an answer. Nobody is to be woken:
        // whoever takes it next polls it again.
        self.drive(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }
}

/// Idle connections, the one used last first.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<(Box<Http1>, Instant)>>,
}

impl Pool {
    /// An idle connection that still stands, if there is one.
    pub(super) fn take(&self) -> Option<Box<Http1>> {
        loop {
            let (mut connection, since) =
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()?;
            if since.elapsed() < MAX_IDLE_AGE && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer has been read, if it can be used again.
    pub(super) fn put(&self, mut connection: Box<Http1>) {
        // Nearly always it came to rest as it was driven for the end of the answer.
        if !connection.sender.is_ready() && !connection.is_idle() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= MAX_IDLE_AGE)
            || idle.len() >= MAX_IDLE
        {
            idle.pop_front();
        }
        idle.push_back((connection, now));
    }
}
