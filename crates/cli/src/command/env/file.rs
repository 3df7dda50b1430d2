//! The lines for a client that is configured by a file of its own.

use std::fmt::Write as _;

use trunkline_config::Environment as _;
use trunkline_config::model::ProviderKind;
use trunkline_core::provider::{ClientFile, ClientToken, Provider};

use super::{base_url, notes, service, shell, token, user};
use crate::args::{EnvArgs, Shell};
use crate::command::{Failure, note, print};
use crate::configuration;
use crate::environment::Process;

/// What the client finds the token by, where it is kept in the environment.
const TOKEN_VARIABLE: &str = "TRUNKLINE_TOKEN";

/// Where the client looks for its directory.
const CLIENT_DIRECTORY: &str = "CODEX_HOME";

pub(super) fn run(kind: ProviderKind, provider: &dyn Provider, args: EnvArgs) -> Result<(), Failure> {
    let name = kind.name();
    if args.native_limits {
        return Err(Failure::usage(format!("--native-limits: {name} always shows limits in its own words")));
    }
    if args.gateway {
        return Err(Failure::usage(format!(
            "--gateway: this is a mode of Claude Code; {name} has no such mode"
        )));
    }
    let shell = args.shell;
    if shell == Some(Shell::Json) {
        return Err(Failure::usage(format!(
            "--shell json: the configuration of {name} is TOML; leave it out"
        )));
    }
    if args.undo {
        return undo(provider, shell);
    }
    let found = configuration::find(args.config.file)?;
    for hint in found.address_hints() {
        note("warning", &hint.to_string());
    }
    let service = service(&found.config, kind)?;
    let user = user(service, args.user.as_deref())?;
    for text in notes(service, user, false) {
        note("note", &text);
    }
    let (base_url, token) = (base_url(service), token(user));
    let place =
        if shell.is_some() { ClientToken::Variable(TOKEN_VARIABLE) } else { ClientToken::Value(&token) };
    let file = file(provider, &base_url.text, place)?;
    note(
        "note",
        &format!(
            "these lines belong into {}: the first before any table, in place of another model_provider; keep the file out of \
             version control",
            path(&file)
        ),
    );
    let mut text = file.text;
    if let Some(shell) = shell {
        let _ = writeln!(text, "\n# in the shell:");
        for line in shell::lines(&[(TOKEN_VARIABLE, token)], shell).lines() {
            let _ = writeln!(text, "# {line}");
        }
    }
    print(&text)
}

/// What takes it back. A file has no line for that.
fn undo(provider: &dyn Provider, shell: Option<Shell>) -> Result<(), Failure> {
    let file = file(provider, "", ClientToken::Variable(TOKEN_VARIABLE))?;
    let mut text = format!("# delete from {}:\n", path(&file));
    for part in file.undo {
        let _ = writeln!(text, "#   {part}");
    }
    if let Some(line) = shell.and_then(|shell| shell::clear(&[TOKEN_VARIABLE], shell)) {
        let _ = writeln!(text, "{line}");
    }
    print(&text)
}

fn file(provider: &dyn Provider, base_url: &str, token: ClientToken<'_>) -> Result<ClientFile, Failure> {
    // Every client that comes here has one.
    provider
        .client_file(base_url, token)
        .ok_or_else(|| Failure::other("this client has no configuration file"))
}

/// Where the file is on this machine.
fn path(file: &ClientFile) -> String {
    let directory = Process.var(CLIENT_DIRECTORY);
    match (directory, file.path.rsplit_once('/')) {
        (Some(directory), Some((_, name))) => format!("{}/{name}", directory.trim_end_matches('/')),
        _ => file.path.to_owned(),
    }
}
