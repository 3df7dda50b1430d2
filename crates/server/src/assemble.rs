//! From the checked configuration to services.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use trunkline_config::Surroundings;
use trunkline_config::model::{self, CredentialKind, ProviderKind, RateLimitHeaders};
use trunkline_core::auth::TokenTable;
use trunkline_core::provider::Provider;
use trunkline_core::provider::claude::Claude;
use trunkline_engine::credential::{Credential, CredentialSource};
use trunkline_engine::service::{FastMode, Service, ServiceSettings, User};
use trunkline_engine::upload::{ReplayBudget, UploadLimits};
use trunkline_engine::upstream::tls::{SystemAuthorities, Trust};
use trunkline_engine::upstream::{Origin, Upstream, UpstreamSettings};

use crate::way_out;

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
    /// What the process's environment says cannot be used.
    #[error("{0}")]
    Environment(String),
}

/// What all services have in common.
pub(crate) struct Common<'a> {
    /// Bodies kept for a repeat share it.
    pub(crate) budget: Arc<ReplayBudget>,
    /// How many workers there are.
    pub(crate) workers: usize,
    /// What the environment says about connections to providers.
    pub(crate) surroundings: &'a Surroundings,
    system: Arc<SystemAuthorities>,
}

impl<'a> Common<'a> {
    /// Reads the system's certificate authorities too, if the environment says where they are: a mistake there is told
    /// now, and not at the first request.
    pub(crate) fn new(workers: usize, surroundings: &'a Surroundings) -> Result<Self, AssembleError> {
        let system = SystemAuthorities::new(surroundings.authorities());
        if system.is_named() {
            system.load().map_err(AssembleError::Environment)?;
        }
        Ok(Self { budget: Arc::default(), workers, surroundings, system })
    }
}

/// The one place that knows which providers there are.
fn provider(kind: ProviderKind) -> Option<&'static dyn Provider> {
    match kind {
        ProviderKind::Claude => Some(&Claude),
        ProviderKind::Codex => None,
    }
}

/// Builds a service.
pub(crate) fn service(config: &model::Service, common: &Common<'_>) -> Result<Arc<Service>, AssembleError> {
    let provider = provider(config.provider).ok_or_else(|| AssembleError::Provider(config.tag.clone()))?;
    let bad = |what: String| AssembleError::Value { service: config.tag.clone(), what };
    let users: Vec<_> = config.users.iter().map(|user| Arc::new(self::user(user))).collect();
    let tokens =
        TokenTable::new(config.users.iter().enumerate().map(|(position, user)| (user.token, position)));

    // Credentials with the same way out share its connections.
    let mut upstreams: HashMap<_, Arc<Upstream>> = HashMap::new();
    let mut credentials = Vec::with_capacity(config.credentials.len());
    for credential in &config.credentials {
        let url = &credential.upstream.api_url;
        let url = format!("{}://{}{}", url.scheme(), url.authority(), url.path());
        let detour = credential.detour.as_ref().and_then(model::Detour::name);
        let key = (url, credential.upstream.ca_path.as_deref(), detour);
        let upstream = if let Some(upstream) = upstreams.get(&key) {
            Arc::clone(upstream)
        } else {
            let origin = Origin::parse(&key.0).map_err(|error| bad(error.to_string()))?;
            let more = key.1.map(|path| way_out::authorities("upstream.ca_path", path)).transpose();
            let hops = way_out::hops(credential, common.surroundings);
            let settings = UpstreamSettings {
                origin,
                way: way_out::build(hops, &common.system).map_err(bad)?,
                trust: Trust::System(Arc::clone(&common.system), more.map_err(bad)?),
                connect: config.timeouts.connect,
            };
            let upstream = Upstream::new(settings, common.workers);
            upstreams.insert(key, Arc::clone(&upstream));
            upstream
        };
        let source = match &credential.kind {
            CredentialKind::LoginFile(location) => CredentialSource::LoginFile(location.path.clone()),
            CredentialKind::OauthToken(token) => CredentialSource::OAuthToken(token.clone()),
            CredentialKind::ApiKey(key) => CredentialSource::ApiKey(key.clone()),
        };
        let users = credential.users.as_ref().map(|users| users.iter().map(|user| user.0).collect());
        let models = credential.models.clone();
        credentials.push(Arc::new(Credential::new(
            &credential.tag,
            source,
            provider,
            upstream,
            models,
            users,
        )));
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
            headers,
            max_header: config.max_header,
            upload: UploadLimits {
                max_body: config.max_body,
                replay_buffer: config.replay_buffer,
                silence: config.timeouts.request_body,
                response_head: config.timeouts.response_head,
            },
            idle: config.timeouts.idle,
            replay_budget: Arc::clone(&common.budget),
        },
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
