//! From the checked configuration to services.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use trunkline_config::model::{self, CredentialKind, ProviderKind, RateLimitHeaders};
use trunkline_config::{LoginLocation, Surroundings};
use trunkline_core::auth::TokenTable;
use trunkline_core::client_address::Network;
use trunkline_core::ids::ServiceId;
use trunkline_core::misdirected::Mounted;
use trunkline_core::provider::Provider;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_engine::bindings::Bindings;
use trunkline_engine::credential::{
    Credential, CredentialSettings, CredentialSource, LiveCredential, LoginFile, Ways,
};
use trunkline_engine::memory_budget::MemoryBudget;
use trunkline_engine::service::{FastMode, Pool, Service, ServiceSettings, User};
use trunkline_engine::state_changes::StateChanges;
use trunkline_engine::upload::UploadLimits;
use trunkline_engine::upstream::Endpoints;
use trunkline_engine::upstream::tls::SystemAuthorities;

use trunkline_login_store::{KeychainItem, LockProtocol};

use crate::upstreams::Upstreams;

/// A configuration that passed its checks and still cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A value that the HTTP library refuses.
    #[error("service {service}: {what}")]
    Value {
        /// The service's tag.
        service: String,
        /// What is wrong with what; no secrets.
        what: String,
    },
    /// What the process's environment says cannot be used.
    #[error("{0}")]
    Environment(String),
}

/// What all services have in common, whatever the configuration.
pub(crate) struct Common {
    /// The memory that request bodies share.
    pub(crate) memory: Arc<MemoryBudget>,
    /// Which credential serves which session.
    pub(crate) bindings: Arc<Bindings>,
    /// Where changes of credentials' states are told.
    pub(crate) changes: StateChanges,
    /// How many workers there are.
    pub(crate) workers: usize,
    /// What the environment says about connections to providers.
    pub(crate) surroundings: Surroundings,
    pub(crate) system: Arc<SystemAuthorities>,
}

impl Common {
    /// Reads the system's certificate authorities too, if the environment says where they are: a mistake there is told
    /// now, and not at the first request.
    pub(crate) fn new(workers: usize, surroundings: Surroundings) -> Result<Self, AssembleError> {
        let system = SystemAuthorities::new(surroundings.authorities());
        if system.is_named() {
            system.load().map_err(AssembleError::Environment)?;
        }
        let (memory, bindings, changes) = (Arc::default(), Arc::default(), StateChanges::default());
        Ok(Self { memory, bindings, changes, workers, surroundings, system })
    }
}

/// What we call ourselves on requests of our own: token calls and polls.
const USER_AGENT: &str = concat!("trunkline/", env!("CARGO_PKG_VERSION"));

/// The keychain item that comes before a login file, on a system that has a keychain.
fn keychain(location: &LoginLocation) -> Option<KeychainItem> {
    let name = location.keychain.as_ref().filter(|_| cfg!(target_os = "macos"))?;
    // A name that no item can have is none.
    KeychainItem::new(&name.service, &name.account).ok()
}

/// The locks that the provider's own client takes.
fn locks(provider: ProviderKind, location: &LoginLocation) -> LockProtocol {
    match provider {
        ProviderKind::Claude => LockProtocol::Claude { config_directory: Some(location.directory.clone()) },
        ProviderKind::Codex => LockProtocol::Codex,
    }
}

/// The one place that knows which providers there are.
fn provider(kind: ProviderKind) -> &'static dyn Provider {
    match kind {
        ProviderKind::Claude => &Claude,
        ProviderKind::Codex => &Codex,
    }
}

/// What a service is built with.
pub(crate) struct Parts<'a> {
    pub(crate) common: &'a Common,
    /// The services as they are now.
    pub(crate) running: &'a [Arc<Service>],
    /// The connections to providers as they are now.
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) data_directory: &'a Path,
    pub(crate) trusted_proxies: &'a [Network],
}

/// What stands where on an address.
pub(crate) fn mounted(services: &[&model::Service]) -> Arc<[Mounted]> {
    let one = |service: &&model::Service| Mounted {
        tag: service.tag.as_str().into(),
        prefix: service.path.clone(),
        provider: provider(service.provider),
    };
    services.iter().map(one).collect()
}

/// Builds a service. What it has in common with a running one of the same tag goes on in it: the state of credentials,
/// connections to providers, counts.
///
/// `mounted`: what stands on its address, and where this service is among that. The ways out that it uses are noted in
/// `used`.
pub(crate) fn service(
    config: &model::Service,
    (mounted, own_mount): (&Arc<[Mounted]>, usize),
    parts: &Parts<'_>,
    used: &mut Upstreams,
) -> Result<Arc<Service>, AssembleError> {
    let provider = provider(config.provider);
    let bad = |what: String| AssembleError::Value { service: config.tag.clone(), what };
    let bindings = &parts.common.bindings;
    let id = bindings.service(&config.tag);
    let users: Vec<_> = config.users.iter().map(|user| Arc::new(self::user(user, id, bindings))).collect();
    let tokens =
        TokenTable::new(config.users.iter().enumerate().map(|(position, user)| (user.token, position)));

    let running = parts.running.iter().find(|service| {
        *service.settings().tag == *config.tag && service.provider().name() == provider.name()
    });
    let before = running.map_or(&[][..], |service| &service.settings().credentials);
    let mut credentials = Vec::with_capacity(config.credentials.len());
    for credential in &config.credentials {
        let mut upstream_at = |url| {
            used.take_over_or_make(credential, url, config.timeouts.connect, parts.upstreams, parts.common)
                .map_err(bad)
        };
        let urls = &credential.upstream;
        let endpoints = Endpoints {
            api: upstream_at(&urls.api_url)?,
            openai: urls.openai_url.as_ref().map(&mut upstream_at).transpose()?,
            usage: urls.usage_url.as_ref().map(&mut upstream_at).transpose()?,
        };
        let token = upstream_at(&urls.token_url)?;
        let source = match &credential.kind {
            CredentialKind::LoginFile(location) => CredentialSource::LoginFile(LoginFile {
                path: location.path.clone(),
                locks: locks(config.provider, location),
                keychain: keychain(location),
                data_directory: parts.data_directory.to_path_buf(),
            }),
            CredentialKind::OauthToken(token) => CredentialSource::OAuthToken(token.clone()),
            CredentialKind::ApiKey(key) => CredentialSource::ApiKey(key.clone()),
        };
        let live = before
            .iter()
            .find(|before| **before.tag() == *credential.tag && *before.live().source() == source)
            .map_or_else(|| LiveCredential::new(source, provider), |before| Arc::clone(before.live()));
        let user_agent = credential.upstream.user_agent.as_deref().unwrap_or(USER_AGENT);
        live.set_ways(Ways {
            service: config.tag.as_str().into(),
            tag: credential.tag.as_str().into(),
            endpoints: endpoints.clone(),
            token,
            wants_plan: credential.weight.is_none() && config.credentials.len() > 1,
            user_agent: HeaderValue::try_from(user_agent)
                .map_err(|_| bad("upstream.user_agent is no header value".to_owned()))?,
            caps: credential.caps,
            changes: parts.common.changes.clone(),
        });
        let name = |user: &model::UserId| config.user(*user).map(|user| user.name.clone());
        let settings = CredentialSettings {
            id: bindings.credential(id, &credential.tag),
            tag: credential.tag.as_str().into(),
            endpoints,
            models: credential.models.clone(),
            users: credential.users.as_ref().map(|users| users.iter().filter_map(name).collect()),
            weight: credential.weight,
            caps: credential.caps,
        };
        credentials.push(Arc::new(Credential::new(settings, live, provider)));
    }
    let pools = config.pools.iter().map(|pool| Arc::new(self::pool(pool, &credentials))).collect();

    let mut headers = Vec::with_capacity(config.headers.len());
    for (name, values) in &config.headers {
        let header =
            HeaderName::try_from(name).map_err(|_| bad(format!("headers: {name} is no header name")))?;
        let values = values
            .iter()
            .map(|value| {
                let mut value = HeaderValue::try_from(value.expose())?;
                value.set_sensitive(true);
                Ok(value)
            })
            .collect::<Result<_, http::header::InvalidHeaderValue>>()
            .map_err(|_| bad(format!("headers: the value of {name} is no header value")))?;
        headers.push((header, values));
    }

    Ok(Service::new(
        provider,
        ServiceSettings {
            tag: config.tag.as_str().into(),
            prefix: config.path.clone(),
            server_name: config.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            is_tls: config.tls.is_some(),
            mounted: Arc::clone(mounted),
            own_mount,
            paths: config.paths.clone(),
            users,
            tokens,
            id,
            bindings: Arc::clone(bindings),
            credentials,
            pools,
            wait_for_capacity: config.wait_for_capacity,
            trusted_proxies: parts.trusted_proxies.to_vec(),
            headers,
            max_header: config.max_header,
            upload: UploadLimits {
                max_body: config.max_body,
                replay_buffer: config.replay_buffer,
                silence: config.timeouts.request_body,
                response_head: config.timeouts.response_head,
            },
            idle: config.timeouts.idle,
            memory: Arc::clone(&parts.common.memory),
        },
        running.map(|service| Arc::clone(service.live())).unwrap_or_default(),
    ))
}

fn pool(pool: &model::Pool, credentials: &[Arc<Credential>]) -> Pool {
    let member = |id: &model::CredentialId| credentials.get(id.0).map(Arc::clone);
    let members = pool.members.iter().filter_map(member).collect();
    Pool::new(&pool.tag, pool.strategy, pool.rebalance_threshold, members)
}

fn user(user: &model::User, service: ServiceId, bindings: &Bindings) -> User {
    User {
        name: user.name.as_str().into(),
        id: bindings.user(service, &user.name),
        pool: user.pool.0,
        allow_external_usage: user.allow_external_usage,
        models: user.models.clone(),
        paths: user.paths.clone(),
        expires: user.expires.map(SystemTime::from),
        disabled: user.disabled,
        fast_mode: match user.fast_mode {
            model::FastMode::Single => FastMode::Single,
            model::FastMode::Allow => FastMode::Allow,
            model::FastMode::Deny => FastMode::Deny,
        },
        passthrough_limits: user.rate_limit_headers == RateLimitHeaders::Passthrough,
        wait_for_capacity: user.wait_for_capacity,
        explain: user.explain,
        is_peer: user.is_peer,
    }
}
