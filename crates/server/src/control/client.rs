//! The side of whoever asks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::STATUS;
use super::status::Status;

/// Largest answer taken.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

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
    let path = crate::data_directory::DataDirectory::socket(directory);
    let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning { directory: directory.to_path_buf() }
        }
        io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: path.clone() },
        _ => AskError::NoAnswer(error.to_string()),
    })?;
    tokio::time::timeout(PATIENCE, exchange(stream))
        .await
        .map_err(|_| AskError::NoAnswer(format!("nothing within {PATIENCE:?}")))?
}

async fn exchange(stream: UnixStream) -> Result<Status, AskError> {
    let failed = |error: hyper::Error| AskError::NoAnswer(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(STATUS)
        .header(http::header::HOST, "trunkline")
        .body(Empty::<Bytes>::new())
        .map_err(|error| AskError::NoAnswer(error.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| AskError::NoAnswer(error.to_string()))?
            .to_bytes();
        if !status.is_success() {
            return Err(AskError::NoAnswer(format!("status {status}; is it of another version?")));
        }
        serde_json::from_slice(&body).map_err(|error| AskError::NoAnswer(error.to_string()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // Its end shows in the exchange.
        _ = connection => exchange.await,
    }
}
