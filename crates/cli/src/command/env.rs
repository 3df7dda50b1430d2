//! `trunkline env`.

mod file;
pub(crate) mod shell;
mod surroundings;

use std::fmt::Write as _;
use std::path::PathBuf;

use trunkline_config::model::{CredentialId, CredentialKind, ProviderKind, Service, User};
use trunkline_config::{Config, Environment as _};
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::provider::{ClientMode, Provider};

use super::{Failure, note, print};
use crate::args::{Client, EnvArgs, Shell};
use crate::configuration;
use crate::environment::{Process, read_bounded};
use surroundings::{Settings, Surroundings};

/// Largest settings file of a client that is looked at.
const MAX_SETTINGS: u64 = 1024 * 1024;

/// What `--gateway` changes, and what it costs, as one comment (gateway contract, 0; fact sheet, section 8).
const OWN_GATEWAY: &str = "the client takes this service for a gateway of its own kind: it shows limits in its own words and \
    does not retry a used-up limit, and it can show a budget in dollars; its default model becomes claude-opus-4-7, and its \
    requests become larger (87 KB instead of 49 KB to begin with), since it sends every tool and leaves newer features out";

/// What `--native-limits` changes, and what it costs, as one comment (fact sheet, section 2.3).
const NATIVE_LIMITS: &str = "the client takes this token for a login of its own: it shows limits in its own words and does \
    not retry a used-up limit; its default model becomes Sonnet, prompts are cached for an hour, which costs more to write, \
    and it may send this token to the provider itself";

pub(super) fn run(args: EnvArgs) -> Result<(), Failure> {
    let (kind, provider): (_, &dyn Provider) = match args.client {
        Client::Claude => (ProviderKind::Claude, &Claude),
        Client::Codex => return file::run(ProviderKind::Codex, &Codex, args),
    };
    let shell = args.shell.unwrap_or(Shell::Bash);
    let (mode, says) = match (args.native_limits, args.gateway) {
        (true, _) => (ClientMode::Subscriber, Some(NATIVE_LIMITS)),
        (_, true) => (ClientMode::OwnGateway, Some(OWN_GATEWAY)),
        _ => (ClientMode::Gateway, None),
    };
    let names: Vec<&str> =
        provider.client_variables(mode, "", "").into_iter().map(|(name, _)| name).collect();
    if args.undo {
        return match shell::clear(&names, shell) {
            Some(line) => print(&format!("{line}\n")),
            None => Err(Failure::usage(format!(
                "--undo: there is no line for a settings.json; delete {} from its \"env\"",
                names.join(" and ")
            ))),
        };
    }
    let found = configuration::find(args.config.file)?;
    for hint in found.address_hints() {
        note("warning", &hint.to_string());
    }
    let service = service(&found.config, kind)?;
    let user = user(service, args.user.as_deref())?;
    let base_url = base_url(service);
    let variables = provider.client_variables(mode, &base_url.text, &token(user));
    let cleared = provider.cleared_variables(mode);
    for text in notes(service, user, says.is_some()) {
        note("note", &text);
    }
    let directory = client_directory();
    let settings = directory.and_then(|directory| settings(&directory));
    let surroundings = Surroundings {
        host: &base_url.host,
        variables: &variables,
        cleared,
        disturbances: provider.disturbances(),
        into_settings: shell == Shell::Json,
        settings: settings.as_ref(),
    };
    for warning in surroundings.warnings(&|name| Process.var(name)) {
        note("warning", &warning);
    }
    if shell == Shell::Json {
        // A settings.json has no room for comments.
        if let Some(says) = says {
            note("note", says);
        }
        note(
            "note",
            &format!(
                "merge this into ~/.claude/settings.json (every project), or into .claude/settings.local.json of one project; \
                 keep it out of version control; to undo, delete {} from \"env\"",
                names.iter().chain(cleared).copied().collect::<Vec<_>>().join(", ")
            ),
        );
        let mut variables = variables;
        // Empty counts as not set.
        variables.extend(cleared.iter().map(|name| (*name, String::new())));
        return print(&shell::lines(&variables, shell));
    }
    let mut text = String::new();
    if let Some(says) = says {
        let _ = writeln!(text, "# {says}");
    }
    if let Some(line) = shell::clear(cleared, shell).filter(|_| !cleared.is_empty()) {
        let _ = writeln!(text, "{line}");
    }
    text.push_str(&shell::lines(&variables, shell));
    if let Some(line) = shell::clear(&names, shell) {
        let _ = writeln!(text, "# to undo: {line}");
    }
    print(&text)
}

/// The service of a provider.
fn service(config: &Config, kind: ProviderKind) -> Result<&Service, Failure> {
    let found = config.services.iter().find(|service| service.provider == kind);
    found.ok_or_else(|| Failure::other(format!("the configuration has no {} service", kind.name())))
}

/// What to know about the token and its user. `shows_limits`: whether the client is to show limits.
fn notes(service: &Service, user: Option<&User>, shows_limits: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if service.listen_port == 0 {
        notes.push(format!(
            "service {} listens on a port that the system chooses (listen_port 0): put it where PORT stands; \
             \"trunkline serve\" prints it",
            service.tag
        ));
    }
    if let Some(user) = user.filter(|user| user.plain_token.is_none()) {
        notes.push(format!(
            "the configuration holds only the hash of {}'s token: put the token itself where TOKEN-OF-{} stands",
            user.name, user.name
        ));
    }
    if shows_limits && has_only_keys(service, user) {
        notes
            .push("there are only API keys here, which have no limits that the client could show".to_owned());
    }
    notes
}

/// Whether a user, or whoever comes, is served by nothing but API keys.
fn has_only_keys(service: &Service, user: Option<&User>) -> bool {
    let pool = user.and_then(|user| service.pool(user.pool));
    let is_key = |id: CredentialId| {
        service.credential(id).is_some_and(|one| matches!(one.kind, CredentialKind::ApiKey(_)))
    };
    match pool {
        Some(pool) => pool.members.iter().all(|id| is_key(*id)),
        None => service.credentials.iter().all(|one| matches!(one.kind, CredentialKind::ApiKey(_))),
    }
}

/// Whose lines to print; nobody's in particular where there are no users.
fn user<'a>(service: &'a Service, name: Option<&str>) -> Result<Option<&'a User>, Failure> {
    if service.users.is_empty() {
        return match name {
            Some(user) => Err(Failure::usage(format!("--user {user}: service {} has no users", service.tag))),
            None => Ok(None),
        };
    }
    let names = || service.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match name {
        Some(name) => service.users.iter().find(|user| user.name == name),
        None if service.users.len() == 1 => service.users.first(),
        None => return Err(Failure::usage(format!("say which user with --user: {}", names()))),
    };
    found.map(Some).ok_or_else(|| {
        Failure::usage(format!("--user: service {} has no such user; it has {}", service.tag, names()))
    })
}

/// The token to print, or what stands for it.
fn token(user: Option<&User>) -> String {
    match user {
        None => "any".to_owned(),
        Some(user) => match &user.plain_token {
            Some(token) => token.expose().to_owned(),
            None => format!("TOKEN-OF-{}", user.name),
        },
    }
}

/// Where a client on this machine finds a service.
struct BaseUrl {
    text: String,
    host: String,
}

fn base_url(service: &Service) -> BaseUrl {
    let scheme = if service.tls.is_some() { "https" } else { "http" };
    let name = service.tls.as_ref().and_then(|tls| tls.server_name.clone());
    let host = name.unwrap_or_else(|| match service.listen {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    });
    let port = match service.listen_port {
        0 => "PORT".to_owned(),
        port => port.to_string(),
    };
    BaseUrl { text: format!("{scheme}://{host}:{port}{}", service.path), host }
}

/// Where Claude Code keeps its settings.
fn client_directory() -> Option<PathBuf> {
    let named = Process.var("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    named.or_else(|| Process.home().map(|home| home.join(".claude")))
}

/// The client's own settings, if there are any that can be read.
fn settings(directory: &std::path::Path) -> Option<Settings> {
    let path = directory.join("settings.json");
    let text = read_bounded(&path, MAX_SETTINGS).ok()?;
    Some(Settings { path, content: serde_json::from_str(&text).ok()? })
}
