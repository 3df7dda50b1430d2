//! The bare proxy: hyper on both sides, a pool, and nothing else.
//!
//! It shows what the transport costs, so that the cost of Trunkline's features can be told from it. The upstream
//! connection has no task of its own: whoever waits for the answer drives it, so that an event passes without a
//! channel between tasks or a wake-up.

mod pool;
mod relay;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context as _;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use self::pool::Pool;
use self::relay::RelayBody;
use crate::args::BareArgs;

/// Serves until killed.
pub(crate) async fn serve(args: BareArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).await.context("failed to listen")?;
    let gateway = Rc::new(Gateway::new(args.upstream)?);
    loop {
        let (stream, _) = listener.accept().await.context("failed to accept")?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(connection(stream, Rc::clone(&gateway)));
    }
}

async fn connection(stream: TcpStream, gateway: Rc<Gateway>) {
    let service = service_fn(|request| {
        let gateway = Rc::clone(&gateway);
        async move { Ok::<_, Infallible>(gateway.forward(request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that leaves in the middle of an answer is an ordinary end here.
    drop(connection.await);
}

struct Gateway {
    pool: Rc<Pool>,
    host: HeaderValue,
    authorization: HeaderValue,
}

// === impl Gateway ===

impl Gateway {
    fn new(upstream: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            pool: Pool::new(upstream),
            host: HeaderValue::try_from(upstream.to_string())?,
            authorization: HeaderValue::from_static("Bearer bench-key"),
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<RelayBody> {
        self.exchange(request).await.unwrap_or_else(|_| {
            let mut response = Response::new(RelayBody::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        })
    }

    async fn exchange(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<RelayBody>> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        let headers = request.headers_mut();
        headers.remove(CONNECTION);
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());

        let mut link = Pool::take(&self.pool).await?;
        let (mut head, body) = link.send(request).await?.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, RelayBody::new(body, link)))
    }
}
