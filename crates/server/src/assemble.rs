//! From the checked configuration to services.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use trunkline_config::model::{self, CredentialKind, ProviderKind, RateLimitHeaders};
use trunkline_core::auth::TokenTable;
use trunkline_core::client_address::Network;
use trunkline_core::provider::Provider;
use trunkline_core::provider::claude::Claude;
use trunkline_engine::credential::{Credential, CredentialSource, LiveCredential};
use trunkline_engine::service::{FastMode, Service, ServiceSettings, User};
use trunkline_engine::upload::{ReplayBudget, UploadLimits};
use trunkline_engine::upstream::{Origin, Upstream, UpstreamSettings};

/// A configuration that passed its checks and still cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The provider of this service is not part of this version.
    #[error("service {0}: this kind of service is not available in this version")]
    Provider(String),
    /// A value that the HTTP library refuses.
    #[error("service {service}: {what}")]
    Value {
        /// The service's tag.
        service: String,
        /// What is wrong with what; no secrets.
        what: String,
    },
}

/// The one place that knows which providers there are.
fn provider(kind: ProviderKind) -> Option<&'static dyn Provider> {
    match kind {
        ProviderKind::Claude => Some(&Claude),
        ProviderKind::Codex => None,
    }
}

/// What is taken over from the configuration before, and shared between services.
pub(crate) struct Parts<'a> {
    /// The services as they are now.
    pub(crate) running: &'a [Arc<Service>],
    /// What the process may keep for repeats.
    pub(crate) budget: &'a Arc<ReplayBudget>,
    /// How many workers will serve.
    pub(crate) workers: usize,
    pub(crate) trusted_proxies: &'a [Network],
}

/// Builds a service. What it has in common with a running one of the same tag goes on in it: the state of credentials,
/// connections to providers, counts.
pub(crate) fn service(config: &model::Service, parts: &Parts<'_>) -> Result<Arc<Service>, AssembleError> {
    let provider = provider(config.provider).ok_or_else(|| AssembleError::Provider(config.tag.clone()))?;
    let bad = |what: String| AssembleError::Value { service: config.tag.clone(), what };
    let users: Vec<_> = config.users.iter().map(|user| Arc::new(self::user(user))).collect();
    let tokens =
        TokenTable::new(config.users.iter().enumerate().map(|(position, user)| (user.token, position)));

    let running = parts.running.iter().find(|service| {
        *service.settings().tag == *config.tag && service.provider().name() == provider.name()
    });
    let before = running.map_or(&[][..], |service| &service.settings().credentials);
    // Credentials with the same way out share its connections.
    let mut upstreams: Vec<Arc<Upstream>> =
        before.iter().map(|credential| Arc::clone(credential.upstream())).collect();
    let mut credentials = Vec::with_capacity(config.credentials.len());
    for credential in &config.credentials {
        let url = &credential.upstream.api_url;
        let url = format!("{}://{}{}", url.scheme(), url.authority(), url.path());
        let settings = UpstreamSettings {
            origin: Origin::parse(&url).map_err(|error| bad(error.to_string()))?,
            ca_path: credential.upstream.ca_path.clone(),
            connect: config.timeouts.connect,
        };
        let known = upstreams.iter().find(|upstream| *upstream.settings() == settings).map(Arc::clone);
        let upstream = known.unwrap_or_else(|| {
            let upstream = Upstream::new(settings, parts.workers);
            upstreams.push(Arc::clone(&upstream));
            upstream
        });
        let source = match &credential.kind {
            CredentialKind::LoginFile(location) => CredentialSource::LoginFile(location.path.clone()),
            CredentialKind::OauthToken(token) => CredentialSource::OAuthToken(token.clone()),
            CredentialKind::ApiKey(key) => CredentialSource::ApiKey(key.clone()),
        };
        let users = credential.users.as_ref().map(|users| users.iter().map(|user| user.0).collect());
        let models = credential.models.clone();
        let live = before
            .iter()
            .find(|before| **before.tag() == *credential.tag && *before.live().source() == source)
            .map_or_else(|| LiveCredential::new(source, provider), |before| Arc::clone(before.live()));
        credentials.push(Arc::new(Credential::new(&credential.tag, live, upstream, models, users)));
    }

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
            users,
            tokens,
            credentials,
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
            replay_budget: Arc::clone(parts.budget),
        },
        running.map(|service| Arc::clone(service.live())).unwrap_or_default(),
    ))
}

fn user(user: &model::User) -> User {
    User {
        name: user.name.as_str().into(),
        credential: user.credential.0,
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
    }
}
