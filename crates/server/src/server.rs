//! The whole of it: listeners bound, served, and drained.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use trunkline_config::model;
use trunkline_config::{Config, Surroundings};
use trunkline_engine::service::Service;

use crate::assemble::{self, AssembleError, Common};
use crate::connection::Http;
use crate::connection_limit::ConnectionLimit;
use crate::drain::Drain;
use crate::listener::{self, Listener};
use crate::mounts::Mounts;
use crate::tls::{self, TlsError};
use crate::workers::{self, Workers};

/// How often login files are looked at.
const LOGIN_INTERVAL: Duration = Duration::from_secs(1);

/// Why serving cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why, and what to do.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("service {service}: {error}")]
    Tls {
        /// The service's tag.
        service: String,
        /// Why.
        error: TlsError,
    },
    /// The system gives no threads.
    #[error("cannot start the worker threads: {0}")]
    Workers(io::Error),
    /// A service cannot be built.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}

impl BindError {
    /// Whether the configuration is what must be changed.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Workers(_))
    }
}

/// One service, listening.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The service.
    pub service: Arc<Service>,
    /// The address as bound, with the port that was chosen for 0.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Bound {
    /// The base URL for a client on this machine.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let settings = self.service.settings();
        let host = match (&settings.server_name, self.address.ip()) {
            (Some(name), _) if self.tls => name.clone(),
            (_, ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            (_, IpAddr::V6(ip)) => format!("[{ip}]"),
            (_, IpAddr::V4(ip)) => ip.to_string(),
        };
        format!("{scheme}://{host}:{}{}", self.address.port(), settings.prefix)
    }
}

/// What became of the requests under way at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All finished.
    Cleanly,
    /// Connections were cut off: the time was up, or it was asked for.
    Cut(usize),
}

/// Bound listeners, ready to serve.
pub struct Server {
    listeners: Vec<Listener>,
    bound: Vec<Bound>,
    drain_timeout: Duration,
    workers: Arc<Workers>,
}

impl Server {
    /// Builds all services and binds all addresses. Nothing is served if anything fails. `surroundings`: the proxies and
    /// authorities that count where the configuration names none.
    pub fn bind(config: &Config, surroundings: &Surroundings) -> Result<Self, BindError> {
        let common = Common::new(workers::count(), surroundings)?;
        let workers = Arc::new(Workers::start().map_err(BindError::Workers)?);
        let mut groups: Vec<(&model::Service, Vec<&model::Service>)> = Vec::new();
        for service in &config.services {
            // Port 0 is a port of its own each time.
            let same = |other: &model::Service| {
                other.listen == service.listen
                    && other.listen_port == service.listen_port
                    && service.listen_port != 0
            };
            match groups.iter_mut().find(|(first, _)| same(first)) {
                Some((_, members)) => members.push(service),
                None => groups.push((service, vec![service])),
            }
        }
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for (first, members) in groups {
            let services = members
                .iter()
                .map(|member| assemble::service(member, &common))
                .collect::<Result<Vec<_>, _>>()?;
            let tls = match &first.tls {
                None => None,
                Some(tls) => Some(TlsAcceptor::from(
                    tls::server_config(tls)
                        .map_err(|error| BindError::Tls { service: first.tag.clone(), error })?,
                )),
            };
            let wanted = SocketAddr::new(first.listen, first.listen_port);
            let refused = |error: io::Error| BindError::Listen { address: wanted, why: explain(&error) };
            let socket =
                listener::bind(first.listen, first.listen_port, config.reuse_port).map_err(refused)?;
            let address = socket.local_addr().map_err(refused)?;
            bound.extend(services.iter().map(|service| Bound {
                service: Arc::clone(service),
                address,
                tls: tls.is_some(),
            }));
            let least = |value: fn(&model::Service) -> usize| {
                members.iter().map(|member| value(member)).min().unwrap_or(1)
            };
            let max_header = members.iter().map(|member| member.max_header).max().unwrap_or(1);
            let Some(mounts) = Mounts::new(services) else { continue };
            listeners.push(Listener {
                socket,
                tls,
                mounts: Arc::new(mounts),
                http: Http::new(max_header),
                limit: ConnectionLimit::new(
                    least(|service| service.max_connections),
                    least(|service| service.max_connections_per_address),
                ),
                workers: Arc::clone(&workers),
            });
        }
        Ok(Self { listeners, bound, drain_timeout: config.drain_timeout, workers })
    }

    /// The services, with the addresses that they are bound to.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Serves until `drain` is stopped, then lets requests finish for as long as `drain_timeout`.
    pub async fn run(self, drain: Drain) -> Drained {
        let tasks = TaskTracker::new();
        let background = TaskTracker::new();
        for listener in self.listeners {
            background.spawn(watch_logins(Arc::clone(&listener.mounts), drain.clone()));
            background.spawn(listener.run(tasks.clone(), drain.clone()));
        }
        background.close();
        background.wait().await;
        tasks.close();
        if !tasks.is_empty() {
            tracing::info!(connections = tasks.len(), "draining for at most {:?}", self.drain_timeout);
        }
        let drained = tokio::select! {
            () = tasks.wait() => Drained::Cleanly,
            () = tokio::time::sleep(self.drain_timeout) => Drained::Cut(tasks.len()),
            () = drain.aborted() => Drained::Cut(tasks.len()),
        };
        drain.abort();
        tasks.wait().await;
        // The last holder ends and joins the threads; that blocks, briefly.
        drop(self.workers);
        drained
    }
}

/// Looks at login files until told to stop.
async fn watch_logins(mounts: Arc<Mounts>, drain: Drain) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOGIN_INTERVAL) => {}
            () = drain.stopped() => return,
        }
        let mounts = Arc::clone(&mounts);
        // File systems can block for long.
        let looked = tokio::task::spawn_blocking(move || {
            mounts.services().iter().for_each(|service| service.look_at_logins());
        });
        if looked.await.is_err() {
            tracing::error!("looking at login files failed");
        }
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use, perhaps by another trunkline: choose another with --listen or listen_port"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!("{error}: ports below 1024 need a privilege; choose another with --listen or listen_port")
        }
        io::ErrorKind::AddrNotAvailable => format!("{error}: this machine does not have that address"),
        _ => error.to_string(),
    }
}
