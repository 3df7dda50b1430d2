//! The commands, and how they fail.

mod check;
mod completions;
mod demo;
mod doctor;
mod env;
mod man;
mod schema;
mod serve;
mod signals;
mod status;
mod token;

use std::io::Write as _;
use std::process::ExitCode;

pub(crate) use env::shell::lines as env_lines;

use crate::args::{Args, Command};

/// A command that failed: what to tell, and the exit code (operations.md, *Command line*).
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Something went wrong: 1.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The command line asks for what cannot be: 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The configuration must be changed: 78 (`EX_CONFIG`).
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 78 }
    }

    /// Everything has been told already; only the exit code is left.
    pub(crate) fn told(code: u8) -> Self {
        Self { message: String::new(), code }
    }

    /// Tells the person.
    pub(crate) fn print(&self) {
        let mut stderr = std::io::stderr().lock();
        for line in self.message.lines() {
            let _ = writeln!(stderr, "trunkline: {line}");
        }
    }

    /// What is told, line by line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.message.lines()
    }

    /// The code to end with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// Runs a command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Serve { config, listen, no_watch } => serve::run(config.file, listen, !no_watch),
        Command::Status { config, data_directory, json, watch, follow, utc } => {
            let manner = match (watch, follow) {
                (_, true) => status::Manner::Follow,
                (true, _) => status::Manner::Watch,
                _ => status::Manner::Once,
            };
            status::run(config.file, data_directory, json, manner, utc)
        }
        Command::Check { config } => check::run(config.file),
        Command::Doctor { config, offline, json } => doctor::run(config.file, offline, json),
        Command::Schema => schema::run(),
        Command::Demo(args) => demo::run(&args),
        Command::Env(args) => env::run(args),
        Command::Token { user } => token::run(&user),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { command } => man::run(command.as_deref()),
    }
}

/// Tells the person something beside the result, on standard error.
fn note(kind: &str, text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "trunkline: {kind}: {text}");
}

/// Writes to standard output. A reader that has gone (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::other(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
