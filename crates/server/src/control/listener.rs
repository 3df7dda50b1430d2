//! The side of the instance.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use trunkline_engine::state_changes::StateChanges;

use super::status::{self, Status};
use super::{EVENTS, STATUS, event};
use crate::drain::Drain;
use crate::server::Running;

/// Callers at once, those who follow what happens among them.
const MAX_CALLERS: usize = 32;

/// The longest that one may take who does not follow what happens.
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
    pub async fn serve(self, running: Running, changes: StateChanges, drain: Drain) {
        let instance = Arc::new(Instance {
            started: Instant::now(),
            configuration: self.configuration.clone(),
            running,
            changes,
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
                let follows = AtomicBool::new(false);
                let answer = service_fn(|request| {
                    let answer = instance.answer(&request, &follows);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), answer);
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::time::timeout(CALL_TIMEOUT, &mut connection).await.is_ok();
                if !ended && follows.load(Ordering::Relaxed) {
                    // Ends with the instance, or when nobody takes its lines.
                    let _ = connection.await;
                }
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
    changes: StateChanges,
    drain: Drain,
}

/// Whole, or line by line.
type Body = Either<Full<Bytes>, Channel<Bytes>>;

impl Instance {
    /// `follows` is set once what happens is told over the connection.
    fn answer(&self, request: &Request<Incoming>, follows: &AtomicBool) -> Response<Body> {
        let path = request.uri().path();
        if ![STATUS, EVENTS].contains(&path) {
            return response(StatusCode::NOT_FOUND, r#"{"error":"not found"}"#.into());
        }
        if request.method() != Method::GET {
            return response(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"only GET"}"#.into());
        }
        if path == EVENTS {
            follows.store(true, Ordering::Relaxed);
            let body = event::stream(&self.changes, self.drain.clone());
            return answered(StatusCode::OK, "application/x-ndjson", Either::Right(body));
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

fn response(status: StatusCode, body: Bytes) -> Response<Body> {
    answered(status, "application/json", Either::Left(Full::new(body)))
}

fn answered(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}
