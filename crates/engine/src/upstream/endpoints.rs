//! The addresses of a provider, as one credential reaches them.

use std::sync::Arc;

use trunkline_core::provider::UpstreamBase;

use super::Upstream;

/// The connections to a provider's addresses.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// `api_url`.
    pub api: Arc<Upstream>,
    /// `openai_url`, where API keys go to another address than logins.
    pub openai: Option<Arc<Upstream>>,
    /// `usage_url`, where usage is polled at an address of its own.
    pub usage: Option<Arc<Upstream>>,
}

impl Endpoints {
    /// The one at a base URL.
    pub fn at(&self, base: UpstreamBase) -> &Arc<Upstream> {
        match base {
            UpstreamBase::Api => &self.api,
            UpstreamBase::OpenAi => self.openai.as_ref().unwrap_or(&self.api),
        }
    }
}
