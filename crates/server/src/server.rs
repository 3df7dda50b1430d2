//! The whole of it: listeners bound, served, changed while they run, and drained.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use trunkline_config::model::{self, PemSource};
use trunkline_config::{Change, Config, Surroundings, difference};
use trunkline_engine::credential::{Credential, CredentialSource};
use trunkline_engine::service::Service;
use trunkline_engine::state_changes::StateChanges;
use trunkline_ledger::SessionStore;

use crate::assemble::{self, AssembleError, Common, Parts};
use crate::connection::Http;
use crate::connection_limit::ConnectionLimit;
use crate::drain::Drain;
use crate::file_watch::FileWatch;
use crate::front::{CurrentFront, Front};
use crate::listen_error::explain;
use crate::listener::{self, Listener};
use crate::mounts::Mounts;
use crate::tls::{self, TlsError};
use crate::upstreams::{self, Upstreams};
use crate::workers::{self, Workers};

/// Why serving cannot begin, or not in this way.
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

/// What runs now, for whoever watches it: each service with its address, in the order of the configuration.
pub type Running = Arc<ArcSwap<Vec<Bound>>>;

/// A server that runs.
pub struct Server {
    config: Config,
    listeners: Vec<Active>,
    running: Running,
    drain: Drain,
    /// The accept loops, which end when the drain begins.
    background: TaskTracker,
    /// The keepers of credentials, which end when no request needs them any more.
    keepers: TaskTracker,
    keeping: Drain,
    logins: Option<FileWatch>,
    connections: TaskTracker,
    common: Common,
    upstreams: Upstreams,
    workers: Arc<Workers>,
    /// Ends last: it writes what the last requests have bound.
    sessions: Option<SessionStore>,
}

/// What makes a listener the same one in two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Address(SocketAddr),
    /// Port 0 is a port of its own for each service.
    Chosen(IpAddr, String),
}

/// A listener that runs.
struct Active {
    place: Place,
    address: SocketAddr,
    socket: Arc<TcpListener>,
    fronts: CurrentFront,
    limit: Arc<ConnectionLimit>,
    drain: Drain,
    accepting: JoinHandle<()>,
}

/// What a configuration asks for, with everything that can fail already done.
struct Plan {
    listeners: Vec<Planned>,
    upstreams: Upstreams,
}

/// A listener as a configuration wants it, with its services built and its socket open.
struct Planned {
    place: Place,
    /// A socket of its own; `None`: that of the listener that is there.
    opened: Option<(TcpListener, SocketAddr)>,
    tls: Option<TlsAcceptor>,
    services: Vec<Arc<Service>>,
    max_header: usize,
    max_connections: usize,
    max_per_address: usize,
}

impl Server {
    /// Builds all services, binds all addresses and begins to serve. Nothing is served if anything fails.
    ///
    /// `surroundings`: the proxies and authorities that count where the configuration names none.
    pub fn start(config: Config, surroundings: Surroundings, drain: Drain) -> Result<Self, BindError> {
        let common = Common::new(workers::count(), surroundings)?;
        let sessions = config
            .has_ledger
            .then(|| SessionStore::start(&config.data_directory, Arc::clone(&common.bindings)));
        let mut server = Self {
            common,
            sessions,
            upstreams: Upstreams::default(),
            listeners: Vec::new(),
            running: Arc::default(),
            drain,
            background: TaskTracker::new(),
            keepers: TaskTracker::new(),
            keeping: Drain::default(),
            logins: None,
            connections: TaskTracker::new(),
            workers: Arc::new(Workers::start().map_err(BindError::Workers)?),
            config,
        };
        let plan = server.plan(&server.config)?;
        let config = server.config.clone();
        server.logins = watch_logins(Arc::clone(&server.running));
        server.commit(config, plan);
        Ok(server)
    }

    /// What runs now. It changes with every reload.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Where changes of credentials' states are told.
    pub fn changes(&self) -> &StateChanges {
        &self.common.changes
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the environment says about connections to providers.
    pub fn surroundings(&self) -> &Surroundings {
        &self.common.surroundings
    }

    /// Puts another configuration in force. Everything that can fail is done first, so that an error changes nothing.
    /// Requests under way keep what they began with; the state of credentials and services that stay goes on.
    pub async fn reload(&mut self, config: Config) -> Result<Vec<Change>, BindError> {
        let plan = self.plan(&config)?;
        let changes = difference(&self.config, &config);
        let before = self.running.load_full();
        for leaving in self.commit(config, plan) {
            leaving.drain.stop();
            // At once: the socket is closed when this returns. A panic in there has been told.
            let _ = leaving.accepting.await;
        }
        if !changes.is_empty() {
            before.iter().for_each(|bound| bound.service.live().on_configured());
        }
        Ok(changes)
    }

    /// Reads certificates, keys and authorities again. An error changes nothing.
    pub fn reload_tls(&mut self) -> Result<(), BindError> {
        let config = self.config.clone();
        let plan = self.plan(&config)?;
        self.commit(config, plan);
        Ok(())
    }

    /// Everything that may fail, without any effect on what runs.
    fn plan(&self, config: &Config) -> Result<Plan, BindError> {
        let before: Vec<Arc<Service>> =
            self.running.load().iter().map(|bound| Arc::clone(&bound.service)).collect();
        let parts = Parts {
            common: &self.common,
            running: &before,
            upstreams: &self.upstreams,
            data_directory: &self.config.data_directory,
            trusted_proxies: &config.trusted_proxies,
        };
        let mut groups: Vec<(Place, Vec<&model::Service>)> = Vec::new();
        for service in &config.services {
            let place = place(service);
            match groups.iter_mut().find(|(other, _)| *other == place) {
                Some((_, members)) => members.push(service),
                None => groups.push((place, vec![service])),
            }
        }
        let places: Vec<_> = groups.iter().map(|(place, _)| place.clone()).collect();
        let mut upstreams = Upstreams::default();
        let mut listeners = Vec::with_capacity(groups.len());
        for (place, members) in groups {
            let Some(first) = members.first() else { continue };
            let mounted = assemble::mounted(&members);
            let services = members
                .iter()
                .enumerate()
                .map(|(at, member)| assemble::service(member, (&mounted, at), &parts, &mut upstreams))
                .collect::<Result<Vec<_>, _>>()?;
            let tls = match &first.tls {
                None => None,
                Some(tls) => Some(TlsAcceptor::from(
                    tls::server_config(tls)
                        .map_err(|error| BindError::Tls { service: first.tag.clone(), error })?,
                )),
            };
            let opened = if self.listeners.iter().any(|active| active.place == place) {
                None
            } else {
                Some(self.open(first, &places, config.reuse_port)?)
            };
            let least = |value: fn(&model::Service) -> usize| {
                members.iter().map(|member| value(member)).min().unwrap_or(1)
            };
            listeners.push(Planned {
                place,
                opened,
                tls,
                services,
                max_header: members.iter().map(|member| member.max_header).max().unwrap_or(1),
                max_connections: least(|service| service.max_connections),
                max_per_address: least(|service| service.max_connections_per_address),
            });
        }
        Ok(Plan { listeners, upstreams })
    }

    /// Opens a socket, beside one of ours that `places` has no more use for if they overlap.
    fn open(
        &self,
        service: &model::Service,
        places: &[Place],
        reuse_port: bool,
    ) -> Result<(TcpListener, SocketAddr), BindError> {
        let wanted = SocketAddr::new(service.listen, service.listen_port);
        let refused = |error: io::Error| BindError::Listen { address: wanted, why: explain(wanted, &error) };
        let socket = match listener::bind(service.listen, service.listen_port, reuse_port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let leaving = self.listeners.iter().find(|active| {
                    active.address.port() == service.listen_port && !places.contains(&active.place)
                });
                match leaving {
                    Some(held) => listener::bind_beside(service.listen, service.listen_port, &held.socket),
                    None => Err(error),
                }
            }
            other => other,
        };
        let socket = socket.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok((socket, address))
    }

    /// Puts a plan into effect: new listeners begin before old ones end. Returns those that nothing is wanted of any more.
    fn commit(&mut self, config: Config, plan: Plan) -> Vec<Active> {
        let mut bound = Vec::new();
        let mut kept = Vec::with_capacity(plan.listeners.len());
        self.upstreams = plan.upstreams;
        for planned in plan.listeners {
            let present = self.listeners.iter().position(|active| active.place == planned.place);
            let present = present.map(|at| self.listeners.swap_remove(at));
            let Some(mounts) = Mounts::new(planned.services.clone()) else { continue };
            let tls = planned.tls.is_some();
            let drain = present.as_ref().map_or_else(|| self.drain.part(), |active| active.drain.clone());
            let before = present.as_ref().map(|active| active.fronts.load_full());
            let connections = match &before {
                // Whoever came in clear does not stay when TLS is asked for, nor the other way round.
                Some(before) if before.tls.is_some() == tls => before.connections.clone(),
                _ => drain.part(),
            };
            let front = Arc::new(Front {
                tls: planned.tls,
                mounts: Arc::new(mounts),
                http: Http::new(planned.max_header),
                trusted_proxies: config.trusted_proxies.clone(),
                connections,
            });
            let active = match (present, planned.opened) {
                (Some(active), _) => {
                    active.fronts.store(Arc::clone(&front));
                    active.limit.set(planned.max_connections, planned.max_per_address);
                    active
                }
                (None, Some((socket, address))) => {
                    let listener = Listener {
                        socket: Arc::new(socket),
                        fronts: Arc::new(ArcSwap::new(Arc::clone(&front))),
                        limit: ConnectionLimit::new(planned.max_connections, planned.max_per_address),
                        workers: Arc::clone(&self.workers),
                    };
                    Active {
                        place: planned.place,
                        address,
                        socket: Arc::clone(&listener.socket),
                        fronts: Arc::clone(&listener.fronts),
                        limit: Arc::clone(&listener.limit),
                        accepting: self
                            .background
                            .spawn(listener.run(self.connections.clone(), drain.clone())),
                        drain,
                    }
                }
                // There is always one or the other.
                (None, None) => continue,
            };
            if let Some(before) = before.filter(|before| before.tls.is_some() != tls) {
                before.connections.stop();
            }
            let address = active.address;
            bound.extend(planned.services.into_iter().map(|service| Bound { service, address, tls }));
            kept.push(active);
        }
        let leaving = std::mem::replace(&mut self.listeners, kept);
        let position = |bound: &Bound| {
            config.services.iter().position(|service| *service.tag == *bound.service.settings().tag)
        };
        bound.sort_by_key(position);
        self.running.store(Arc::new(bound));
        self.config = config;
        self.keep_credentials();
        leaving
    }

    /// Starts the keepers of credentials that have none yet, and watches the login files that there are now.
    fn keep_credentials(&self) {
        let running = self.running.load_full();
        let credentials: Vec<_> =
            running.iter().flat_map(|bound| &bound.service.settings().credentials).collect();
        if let Some(logins) = &self.logins {
            let files = credentials.iter().filter_map(|credential| login_file(credential));
            logins.set(files.cloned().collect());
        }
        for credential in credentials {
            let keeping = self.keeping.clone();
            if let Some(keeper) = credential.live().start(async move { keeping.stopped().await }) {
                self.keepers.spawn(keeper);
                // It may have changed between the first look and the watch.
                credential.live().on_file_changed();
            }
        }
    }

    /// Once the drain was asked for: lets requests finish for as long as `drain_timeout`, and ends.
    pub async fn finish(self) -> Drained {
        let Self {
            config,
            listeners,
            drain,
            background,
            keepers,
            keeping,
            connections,
            workers,
            running,
            sessions,
            ..
        } = self;
        drain.stop();
        // The sockets close with the last of their holders.
        drop(listeners);
        background.close();
        background.wait().await;
        connections.close();
        if !connections.is_empty() {
            tracing::info!(
                connections = connections.len(),
                "draining for at most {:?}",
                config.drain_timeout
            );
        }
        let drained = tokio::select! {
            () = connections.wait() => Drained::Cleanly,
            () = tokio::time::sleep(config.drain_timeout) => Drained::Cut(connections.len()),
            () = drain.aborted() => Drained::Cut(connections.len()),
        };
        drain.abort();
        connections.wait().await;
        // What a refresh under way is answered must be kept, however long that takes: it has bounds of its own.
        keeping.stop();
        keepers.close();
        keepers.wait().await;
        drop(running);
        // The last holder ends and joins the threads; that blocks, briefly.
        drop(workers);
        drop(sessions);
        drained
    }
}

/// The files that are read for TLS: certificates, keys, authorities.
pub fn tls_files(config: &Config) -> Vec<PathBuf> {
    let tls = config.services.iter().filter_map(|service| service.tls.as_ref());
    let path = |source: &PemSource| match source {
        PemSource::Path(path) => Some(path.clone()),
        PemSource::Inline(_) => None,
    };
    let of_listeners = tls.flat_map(|tls| [path(&tls.certificate), path(&tls.key)]).flatten();
    of_listeners.chain(upstreams::authority_files(config)).collect()
}

fn place(service: &model::Service) -> Place {
    if service.listen_port == 0 {
        Place::Chosen(service.listen, service.tag.clone())
    } else {
        Place::Address(SocketAddr::new(service.listen, service.listen_port))
    }
}

/// The login file of a credential that has one.
fn login_file(credential: &Credential) -> Option<&PathBuf> {
    match credential.live().source() {
        CredentialSource::LoginFile(file) => Some(&file.path),
        CredentialSource::OAuthToken(_) | CredentialSource::ApiKey(_) => None,
    }
}

/// Tells the keepers when their login files change.
fn watch_logins(running: Running) -> Option<FileWatch> {
    let watch = FileWatch::start(Vec::new(), move |changed| {
        for bound in running.load().iter() {
            for credential in &bound.service.settings().credentials {
                if login_file(credential).is_some_and(|path| changed.contains(path)) {
                    credential.live().on_file_changed();
                }
            }
        }
    });
    watch.inspect_err(|error| tracing::warn!(%error, "login files are not watched")).ok()
}
