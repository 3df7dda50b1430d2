//! The side of the instance.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::STATUS;
use super::status::{self, Status};
use crate::drain::Drain;
use crate::server::Running;

/// Callers at once.
const MAX_CALLERS: usize = 16;

/// The longest that one may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The root user.
const ROOT: u32 = 0;

/// A control socket, which is removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    user: u32,
    configuration: Option<String>,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("control socket {}: {why}", path.display())]
pub struct ControlSocketError {
    path: PathBuf,
    why: io::Error,
}

impl ControlSocket {
    /// Opens it. The data directory must be held: what lies there of an instance before is removed.
    pub fn open(path: &Path, configuration: Option<&Path>) -> Result<Self, ControlSocketError> {
        let open = || -> io::Result<(UnixListener, u32)> {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(path, mode)?;
            // Whoever made it is who we are; the library has no other safe way to ask.
            let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path)?);
            Ok((listener, user))
        };
        let (listener, user) = open().map_err(|why| ControlSocketError { path: path.to_path_buf(), why })?;
        Ok(Self {
            path: path.to_path_buf(),
            listener,
            user,
            configuration: configuration.map(|file| file.display().to_string()),
        })
    }

    /// Answers until `drain` is aborted or this is dropped: a draining instance can still be asked.
    pub async fn serve(self, running: Running, drain: Drain) {
        let instance = Arc::new(Instance {
            started: Instant::now(),
            configuration: self.configuration.clone(),
            running,
            drain: drain.clone(),
        });
        let callers = Arc::new(Semaphore::new(MAX_CALLERS));
        loop {
            let Ok(place) = Arc::clone(&callers).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.aborted() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !self.admits(&stream) {
                tracing::warn!("somebody else tried the control socket: refused");
                continue;
            }
            let instance = Arc::clone(&instance);
            // Bounded in number and in time, and with nothing to lose at the end.
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let instance = Arc::clone(&instance);
                    async move { Ok::<_, Infallible>(instance.answer(&request)) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), answer);
                let _ = tokio::time::timeout(CALL_TIMEOUT, connection).await;
                drop(place);
            });
        }
    }

    /// The same user, or root.
    fn admits(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.user || peer.uid() == ROOT)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Instance {
    started: Instant,
    configuration: Option<String>,
    running: Running,
    drain: Drain,
}

impl Instance {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != STATUS {
            return response(StatusCode::NOT_FOUND, r#"{"error":"not found"}"#.into());
        }
        if request.method() != Method::GET {
            return response(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"only GET"}"#.into());
        }
        match serde_json::to_vec(&self.status()) {
            Ok(body) => response(StatusCode::OK, body.into()),
            Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            configuration: self.configuration.clone(),
            draining: self.drain.is_stopping(),
            services: status::of_services(&self.running.load(), SystemTime::now()),
        }
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
