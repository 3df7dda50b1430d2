//! The library itself, over a pipe in memory, under a paused clock.

use std::convert::Infallible;

use bytes::BytesMut;
use h2::RecvStream;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// What a client lets a stream send ahead.
const WINDOW: u32 = 16 * 1024;

/// The answer to the path `/silent`: one byte after twenty minutes; to `/whole`: 100,000 bytes in one piece; else: pieces
/// without an end. It tells its path when it is dropped.
struct Answer {
    path: String,
    timer: Option<Pin<Box<Sleep>>>,
    is_done: bool,
    dropped: mpsc::UnboundedSender<(String, Instant)>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.dropped.send((self.path.clone(), Instant::now()));
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        if let Some(timer) = &mut self.timer {
            std::task::ready!(timer.as_mut().poll(context));
        }
        let length = match &*self.path {
            "/silent" => 1,
            "/whole" => 100_000,
            _ => 8 * 1024,
        };
        self.is_done = matches!(&*self.path, "/silent" | "/whole");
        Poll::Ready(Some(Ok(Frame::data(BytesMut::zeroed(length).freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done
    }
}

struct Set {
    client: h2::client::SendRequest<Bytes>,
    dropped: mpsc::UnboundedReceiver<(String, Instant)>,
}

impl Set {
    async fn new() -> Self {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let (told, dropped) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            let timer = (path == "/silent").then(|| Box::pin(tokio::time::sleep(Duration::from_secs(1200))));
            let answer = Answer { path, timer, is_done: false, dropped: told.clone() };
            async move { Ok::<_, Infallible>(Response::new(WatchedBody::new(answer))) }
        });
        let mut builder = auto::Builder::new(StreamExecutor);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_send_buf_size(1)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        tokio::spawn(
            async move { builder.http2_only().serve_connection(TokioIo::new(theirs), service).await },
        );
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(16 * 1024 * 1024)
            .handshake(ours)
            .await
            .unwrap();
        // It answers pings, as an attacker does.
        tokio::spawn(connection);
        Self { client, dropped }
    }

    async fn get(&mut self, path: &str) -> RecvStream {
        let mut client = self.client.clone().ready().await.unwrap();
        let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        answer.await.unwrap().into_body()
    }
}

/// Takes what is there, without letting more be sent.
async fn take_a_window(body: &mut RecvStream) -> usize {
    let mut taken = 0;
    while taken < WINDOW as usize {
        taken += body.data().await.unwrap().unwrap().len();
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_takes_nothing_is_reset_and_no_other() {
    let mut set = Set::new().await;
    let begun = Instant::now();
    let mut shut = set.get("/shut").await;
    let mut slow = set.get("/slow").await;
    let slow = tokio::spawn(async move {
        // A piece in four minutes is something.
        for _ in 0..10 {
            let taken = slow.data().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_secs(240)).await;
            slow.flow_control().release_capacity(taken.len()).unwrap();
        }
    });
    take_a_window(&mut shut).await;
    let (path, at) = set.dropped.recv().await.unwrap();
    assert_eq!(path, "/shut");
    let after = at - begun;
    assert!(after >= WRITE_STALL && after <= WRITE_STALL + 2 * LOOK, "{after:?}");
    let error = shut.data().await.unwrap().unwrap_err();
    assert!(error.is_reset() && error.reason() == Some(h2::Reason::CANCEL), "{error:?}");
    slow.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_provider_goes_on() {
    let mut set = Set::new().await;
    let mut silent = set.get("/silent").await;
    assert_eq!(silent.data().await.unwrap().unwrap().len(), 1);
    assert!(silent.data().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_answer_is_not_left_with_the_library() {
    let mut set = Set::new().await;
    let begun = Instant::now();
    let mut shut = set.get("/whole").await;
    take_a_window(&mut shut).await;
    let (_, at) = set.dropped.recv().await.unwrap();
    assert!(at - begun >= WRITE_STALL, "{:?}", at - begun);
    assert!(shut.data().await.unwrap().unwrap_err().is_reset());
    // Whoever takes it gets all of it.
    let mut taken = set.get("/whole").await;
    let mut length = 0;
    while let Some(piece) = taken.data().await {
        let piece = piece.unwrap();
        length += piece.len();
        taken.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(length, 100_000);
}
