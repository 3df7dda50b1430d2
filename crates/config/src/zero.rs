//! The configuration of an instance that has none.
//!
//! Spec: config.md, *With no configuration at all*.

use std::path::PathBuf;
use std::time::Duration;

use trunkline_core::limits::Caps;
use trunkline_core::selection::Strategy;

use crate::model::{Config, Credential, CredentialId, CredentialKind, Pool, ProviderKind, Service};
use crate::paths::{LoginLocation, default_data_directory, default_login};
use crate::{Environment, defaults};

/// The services that run without a configuration.
const SERVICES: [ProviderKind; 2] = [ProviderKind::Claude, ProviderKind::Codex];

/// What runs without a configuration: the services on loopback, each with its default login and no users.
pub fn zero_config(env: &dyn Environment) -> Config {
    Config {
        log: defaults::LOG,
        data_directory: default_data_directory(env),
        has_ledger: true,
        trusted_proxies: Vec::new(),
        drain_timeout: defaults::DRAIN_TIMEOUT,
        reuse_port: false,
        services: SERVICES.into_iter().map(|provider| service(provider, env)).collect(),
    }
}

fn service(provider: ProviderKind, env: &dyn Environment) -> Service {
    // Without a home nobody can be logged in; the login is then waited for where the client would make it.
    let homeless = || LoginLocation::in_directory(provider, PathBuf::from(format!("/.{}", provider.name())));
    let login = default_login(provider, env).unwrap_or_else(homeless);
    Service {
        tag: provider.name().to_owned(),
        provider,
        listen: defaults::LISTEN,
        listen_port: defaults::LISTEN_PORT,
        path: format!("/{}", provider.name()),
        paths: Vec::new(),
        tls: None,
        allow_unauthenticated: false,
        users: Vec::new(),
        credentials: vec![Credential {
            tag: defaults::CREDENTIAL_TAG.to_owned(),
            kind: CredentialKind::LoginFile(login),
            upstream: defaults::upstream(provider),
            detour: None,
            models: Vec::new(),
            users: None,
            weight: None,
            caps: Caps::DEFAULT,
        }],
        pools: vec![Pool {
            tag: defaults::CREDENTIAL_TAG.to_owned(),
            strategy: Strategy::LeastUsed,
            rebalance_threshold: 0.0,
            members: vec![CredentialId(0)],
            is_balancer: false,
        }],
        headers: Vec::new(),
        timeouts: defaults::TIMEOUTS,
        wait_for_capacity: Duration::ZERO,
        max_body: defaults::MAX_BODY,
        replay_buffer: defaults::REPLAY_BUFFER,
        max_connections: defaults::MAX_CONNECTIONS,
        max_connections_per_address: defaults::MAX_CONNECTIONS_PER_ADDRESS,
        max_header: defaults::MAX_HEADER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEnvironment;
    use crate::load;

    #[test]
    fn it_is_what_the_shortest_file_means() {
        let env = FakeEnvironment::new();
        let text =
            r#"{"services": [{"type": "claude", "path": "/claude"}, {"type": "codex", "path": "/codex"}]}"#;
        let loaded = load(text, &env).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config, zero_config(&env));
    }

    #[test]
    fn a_machine_without_a_home_gets_one_too() {
        let config = zero_config(&FakeEnvironment::new().without_home());
        assert_eq!(config.services.len(), 2);
    }
}
