//! What a listener serves with: the part that a change of the configuration replaces while the socket stays.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use trunkline_core::client_address::Network;

use crate::connection::Http;
use crate::drain::Drain;
use crate::mounts::Mounts;

/// One state of a listener. Connections begin with the newest; each request on them finds its service in the newest.
pub(crate) struct Front {
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) mounts: Arc<Mounts>,
    pub(crate) http: Http,
    /// Proxies, which hold the connections of many.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Ends the connections that were begun with it. Carried over as long as they may go on.
    pub(crate) connections: Drain,
}

/// The newest front of a listener.
pub(crate) type CurrentFront = Arc<ArcSwap<Front>>;
