//! What holds where the file says nothing.
//!
//! Spec: config.md, the default columns.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::model::{Log, LogFormat, LogLevel, ProviderKind, Timeouts, Upstream};
use crate::url::BaseUrl;

pub(crate) const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const LISTEN_PORT: u16 = 8787;
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const MAX_BODY: u64 = 64 << 20;
pub(crate) const REPLAY_BUFFER: u64 = 16 << 20;
pub(crate) const MIN_BODY_RATE: u64 = 1 << 10;
pub(crate) const MAX_CONNECTIONS: usize = 10_000;
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 1_000;
pub(crate) const MAX_HEADER: usize = 64 << 10;

/// The tag of the one credential of a service that lists none.
pub(crate) const CREDENTIAL_TAG: &str = "default";

pub(crate) const LOG: Log =
    Log { level: LogLevel::Info, disabled: false, timestamp: true, format: LogFormat::Auto, output: None };

pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response_head: Duration::from_secs(600),
    idle: Duration::from_secs(300),
    request_body: Duration::from_secs(60),
};

/// The provider's own addresses.
pub(crate) fn upstream(provider: ProviderKind) -> Upstream {
    let (api_url, token_url, usage_url, openai_url) = match provider {
        ProviderKind::Claude => (
            BaseUrl::https("api.anthropic.com", ""),
            BaseUrl::https("platform.claude.com", "/v1/oauth/token"),
            None,
            None,
        ),
        ProviderKind::Codex => (
            BaseUrl::https("chatgpt.com", "/backend-api/codex"),
            BaseUrl::https("auth.openai.com", "/oauth/token"),
            Some(BaseUrl::https("chatgpt.com", "/backend-api/wham/usage")),
            Some(BaseUrl::https("api.openai.com", "")),
        ),
    };
    Upstream {
        api_url,
        token_url,
        usage_url,
        openai_url,
        user_agent: None,
        ca_path: None,
        insecure_http: false,
    }
}
