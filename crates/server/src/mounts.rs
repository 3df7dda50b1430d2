//! The services that share an address, by their path prefixes.

use std::sync::Arc;

use trunkline_core::target;
use trunkline_engine::service::Service;

/// Services of one address; at least one.
#[derive(Debug)]
pub(crate) struct Mounts {
    /// The one with the longest prefix first.
    services: Vec<Arc<Service>>,
    fallback: Arc<Service>,
}

impl Mounts {
    /// `None` for no services.
    pub(crate) fn new(mut services: Vec<Arc<Service>>) -> Option<Self> {
        let fallback = Arc::clone(services.first()?);
        services.sort_by_key(|service| std::cmp::Reverse(service.settings().prefix.len()));
        Some(Self { services, fallback })
    }

    /// The service a path belongs to; one under no prefix gets the first service's refusal.
    pub(crate) fn find(&self, path: &str) -> &Arc<Service> {
        self.services
            .iter()
            .find(|service| target::strip_prefix(path, &service.settings().prefix).is_some())
            .unwrap_or(&self.fallback)
    }

    /// The service whose error shape speaks for the address.
    pub(crate) fn first(&self) -> &Arc<Service> {
        &self.fallback
    }
}
