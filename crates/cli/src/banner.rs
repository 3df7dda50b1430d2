//! What `serve` tells the person who started it: what was found, and the lines that a client needs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use trunkline_config::model::CredentialKind;
use trunkline_config::{Config, Surroundings};
use trunkline_core::provider::{ClientMode, ClientToken, Provider};
use trunkline_server::Bound;

use crate::args::Shell;
use crate::command::env_lines;

/// What points a client at `url`: lines for its shell, or for its configuration file.
fn client_lines(provider: &dyn Provider, url: &str, token: &str) -> Vec<String> {
    let (text, mut lines) = if let Some(file) = provider.client_file(url, ClientToken::Value(token)) {
        (file.text, vec![format!("# in {}:", file.path)])
    } else {
        let variables = provider.client_variables(ClientMode::Gateway, url, token);
        (env_lines(&variables, Shell::Bash), Vec::new())
    };
    lines.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    lines
}

/// The text. No token or password is ever in it.
pub(crate) fn text(
    config: &Config,
    file: Option<&Path>,
    surroundings: &Surroundings,
    bound: &[Bound],
) -> String {
    let mut text = format!("trunkline {}", env!("CARGO_PKG_VERSION"));
    let _ = match file {
        Some(file) => writeln!(text, ", configured by {}", file.display()),
        None => writeln!(text, ", without a configuration file"),
    };
    for (service, bound) in config.services.iter().zip(bound) {
        let users = match service.users.len() {
            0 => "no users: anyone who reaches this address may use it".to_owned(),
            1 => "1 user".to_owned(),
            count => format!("{count} users"),
        };
        let _ = writeln!(text, "\nservice {} at {} ({users})", service.tag, bound.url());
        for (described, credential) in service.credentials.iter().zip(&bound.service.settings().credentials) {
            let what = match &described.kind {
                CredentialKind::LoginFile(login) => format!("login file {}", login.path.display()),
                CredentialKind::OauthToken(_) => "long-lived token".to_owned(),
                CredentialKind::ApiKey(_) => "API key".to_owned(),
            };
            let state = match (credential.live().why_not(SystemTime::now()), &described.kind) {
                (None, CredentialKind::LoginFile(_)) => "found".to_owned(),
                (None, _) => "ready".to_owned(),
                (Some(why), CredentialKind::LoginFile(_)) => format!("{why} (waiting for it)"),
                (Some(why), _) => why,
            };
            let _ = writeln!(text, "  credential {}: {what}: {state}", described.tag);
            let proxy = surroundings.proxy_for(described.request_url());
            let _ = match (&described.detour, proxy) {
                (Some(detour), _) => writeln!(text, "    through {detour}"),
                (None, Some(proxy)) => writeln!(text, "    through {proxy}"),
                (None, None) => Ok(()),
            };
        }
        let token = match service.users.as_slice() {
            [] => "any".to_owned(),
            [user] => format!("TOKEN-OF-{}", user.name),
            _ => "TOKEN-OF-THE-USER".to_owned(),
        };
        let _ = writeln!(text, "  a client needs:");
        for line in client_lines(bound.service.provider(), &bound.url(), &token) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push('\n');
    text
}
