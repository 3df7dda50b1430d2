//! `trunkline env`.

use std::fmt::Write as _;
use std::path::PathBuf;

use trunkline_config::model::{ProviderKind, Service, User};
use trunkline_core::provider::Provider;
use trunkline_core::provider::claude::Claude;

use super::{Failure, print};
use crate::args::{Client, Shell};
use crate::configuration;

pub(super) fn run(
    client: Client,
    file: Option<PathBuf>,
    user: Option<&str>,
    shell: Shell,
) -> Result<(), Failure> {
    let (kind, provider): (_, &dyn Provider) = match client {
        Client::Claude => (ProviderKind::Claude, &Claude),
    };
    let found = configuration::find(file)?;
    let Some(service) = found.config.services.iter().find(|service| service.provider == kind) else {
        return Err(Failure::other(format!("the configuration has no {} service", kind.name())));
    };
    let (token, note) = token(service, user)?;
    let mut text = lines(&provider.client_variables(&base_url(service), &token), shell);
    if let Some(note) = note {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{note}\n").as_bytes());
    }
    if shell == Shell::Bash || shell == Shell::Fish {
        let names: Vec<_> = provider.client_variables("", "").into_iter().map(|(name, _)| name).collect();
        let undo = if shell == Shell::Bash { "unset" } else { "set -e" };
        let _ = writeln!(text, "# to undo: {undo} {}", names.join(" "));
    }
    print(&text)
}

/// The token to print, and a note where it is only a placeholder.
fn token(service: &Service, user: Option<&str>) -> Result<(String, Option<String>), Failure> {
    if service.users.is_empty() {
        return match user {
            Some(user) => Err(Failure::usage(format!("--user {user}: service {} has no users", service.tag))),
            None => Ok(("any".to_owned(), None)),
        };
    }
    let names = || service.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ");
    let found: Option<&User> = match user {
        Some(name) => service.users.iter().find(|user| user.name == name),
        None if service.users.len() == 1 => service.users.first(),
        None => return Err(Failure::usage(format!("say which user with --user: {}", names()))),
    };
    let Some(user) = found else {
        return Err(Failure::usage(format!(
            "--user: service {} has no such user; it has {}",
            service.tag,
            names()
        )));
    };
    Ok(match &user.plain_token {
        Some(token) => (token.expose().to_owned(), None),
        None => (
            format!("TOKEN-OF-{}", user.name),
            Some(format!(
                "the configuration holds only the hash of {}'s token: put the token itself where TOKEN-OF-{} stands",
                user.name, user.name
            )),
        ),
    })
}

fn base_url(service: &Service) -> String {
    let scheme = if service.tls.is_some() { "https" } else { "http" };
    let name = service.tls.as_ref().and_then(|tls| tls.server_name.clone());
    let host = name.unwrap_or_else(|| match service.listen {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    });
    format!("{scheme}://{host}:{}{}", service.listen_port, service.path)
}

/// The variables as a shell takes them. Every value is quoted: a token may hold anything.
pub(crate) fn lines(variables: &[(&'static str, String)], shell: Shell) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let _ = match shell {
            Shell::Bash => writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''")),
            Shell::Fish => {
                writeln!(text, "set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
            }
            Shell::Powershell => writeln!(text, "$env:{name} = '{}'", value.replace('\'', "''")),
            Shell::Json => Ok(()),
        };
    }
    if shell == Shell::Json {
        let map: serde_json::Map<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        text = format!("{:#}\n", serde_json::json!({ "env": map }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_its_own_quoting() {
        let variables = Claude.client_variables("http://127.0.0.1:8787/claude", r"a'b\c");
        assert_eq!(
            lines(&variables, Shell::Bash),
            "export ANTHROPIC_BASE_URL='http://127.0.0.1:8787/claude'\nexport ANTHROPIC_AUTH_TOKEN='a'\\''b\\c'\n"
        );
        assert_eq!(
            lines(&variables, Shell::Fish),
            "set -gx ANTHROPIC_BASE_URL 'http://127.0.0.1:8787/claude'\nset -gx ANTHROPIC_AUTH_TOKEN 'a\\'b\\\\c'\n"
        );
        assert_eq!(
            lines(&variables, Shell::Powershell),
            "$env:ANTHROPIC_BASE_URL = 'http://127.0.0.1:8787/claude'\n$env:ANTHROPIC_AUTH_TOKEN = 'a''b\\c'\n"
        );
        let json: serde_json::Value = serde_json::from_str(&lines(&variables, Shell::Json)).unwrap();
        assert_eq!(json["env"]["ANTHROPIC_AUTH_TOKEN"], r"a'b\c");
    }
}
