//! The side of whoever asks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::Connection;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::event::Event;
use super::status::Status;
use super::{EVENTS, STATUS};

/// Largest answer taken.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Longest line of an event taken.
const MAX_LINE: usize = 64 * 1024;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no trunkline is running with the data directory {}", directory.display())]
    NotRunning {
        /// The directory.
        directory: PathBuf,
    },
    /// It is somebody else's.
    #[error("the control socket {} is not this user's: ask as the user whom trunkline runs as, or as root", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// It does not answer as it should.
    #[error("the running trunkline does not answer: {0}")]
    NoAnswer(String),
}

/// Asks the instance that holds a data directory for its state.
pub async fn ask(directory: &Path) -> Result<Status, AskError> {
    let stream = connect(directory).await?;
    tokio::time::timeout(PATIENCE, exchange(stream))
        .await
        .map_err(|_| AskError::NoAnswer(format!("nothing within {PATIENCE:?}")))?
}

/// What happens in the instance that holds a data directory, from now on.
pub async fn follow(directory: &Path) -> Result<Events, AskError> {
    let stream = connect(directory).await?;
    let answer = tokio::time::timeout(PATIENCE, request(stream, EVENTS));
    let (response, connection) =
        answer.await.map_err(|_| AskError::NoAnswer(format!("nothing within {PATIENCE:?}")))??;
    Ok(Events { body: response.into_body(), buffer: Vec::new(), connection })
}

/// Events as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    /// Of a line that is not whole yet, and of lines that were not asked for yet.
    buffer: Vec<u8>,
    connection: Driver,
}

impl Events {
    /// Waits for the next; `None` when the instance has ended.
    pub async fn next(&mut self) -> Result<Option<Event>, AskError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| AskError::NoAnswer(error.to_string()));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(AskError::NoAnswer(format!("a line of more than {MAX_LINE} bytes")));
            }
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                // Its end shows in the body.
                () = self.connection.run() => self.body.frame().await,
            };
            match frame {
                // Whether it ended well or was cut, it has gone.
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
        }
    }
}

async fn connect(directory: &Path) -> Result<UnixStream, AskError> {
    let path = crate::data_directory::DataDirectory::socket(directory);
    UnixStream::connect(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning { directory: directory.to_path_buf() }
        }
        io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: path.clone() },
        _ => AskError::NoAnswer(error.to_string()),
    })
}

async fn exchange(stream: UnixStream) -> Result<Status, AskError> {
    let (response, mut connection) = request(stream, STATUS).await?;
    let body = async {
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        body.map_err(|error| AskError::NoAnswer(error.to_string()))
    };
    tokio::pin!(body);
    let body = tokio::select! {
        body = &mut body => body,
        // Its end shows in the body.
        () = connection.run() => body.await,
    };
    serde_json::from_slice(&body?.to_bytes()).map_err(|error| AskError::NoAnswer(error.to_string()))
}

/// The side of a connection that moves bytes. It runs as long as somebody waits for it.
#[derive(Debug)]
struct Driver(Option<Connection<TokioIo<UnixStream>, Empty<Bytes>>>);

impl Driver {
    /// Until the connection has ended; never, if that was told before.
    async fn run(&mut self) {
        match &mut self.0 {
            Some(connection) => {
                let _ = connection.await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}

/// Asks for a path. The body of the answer comes as long as the connection is run.
async fn request(stream: UnixStream, path: &str) -> Result<(Response<Incoming>, Driver), AskError> {
    let failed = |error: hyper::Error| AskError::NoAnswer(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut connection = Driver(Some(connection));
    let request = Request::get(path)
        .header(http::header::HOST, "trunkline")
        .body(Empty::<Bytes>::new())
        .map_err(|error| AskError::NoAnswer(error.to_string()))?;
    let response = sender.send_request(request);
    tokio::pin!(response);
    let response = tokio::select! {
        response = &mut response => response,
        // Its end shows in the answer.
        () = connection.run() => response.await,
    };
    let response = response.map_err(failed)?;
    if response.status() != http::StatusCode::OK {
        return Err(AskError::NoAnswer(format!("status {}; is it of another version?", response.status())));
    }
    Ok((response, connection))
}
