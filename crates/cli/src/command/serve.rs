//! `trunkline serve`.

mod changes;
mod reload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;

use trunkline_config::{Config, Surroundings};
use trunkline_server::control::ControlSocket;
use trunkline_server::{DataDirectory, Drain, Drained, FileWatch, Server, tls_files};

use self::changes::Changes;
use self::reload::Reloader;
use super::signals::{Signals, Told};
use super::{Failure, print};
use crate::logging::Logging;
use crate::{banner, configuration, environment};

pub(super) fn run(file: Option<PathBuf>, listen: Option<SocketAddr>, watch: bool) -> Result<(), Failure> {
    let located = configuration::locate(file);
    let changes = Changes::default();
    // What is read from now on cannot change unnoticed.
    let watch = watch.then(|| start_watch(located.as_ref().map(|located| &located.file), changes.clone()));
    let mut found = configuration::read_or_default(located)?;
    if let Some(address) = listen {
        configuration::listen_at(&mut found.config, address)?;
    }
    let surroundings = environment::surroundings()?;
    let logging = Logging::start(&found.config.log)
        .map_err(|error| Failure::configuration(log_output(&found.config, &error)))?;
    for warning in &found.exposed {
        tracing::warn!("{warning}");
    }
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    let watch = watch.and_then(|watch| match watch {
        Ok(watch) => {
            watch.set(reload::files(found.file.as_ref(), &tls_files(&found.config)));
            Some(watch)
        }
        Err(error) => {
            tracing::warn!(%error, "files are not watched: changes count on SIGHUP only");
            None
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    runtime.block_on(serve(found, listen, (watch, changes), surroundings, logging))
}

fn start_watch(file: Option<&PathBuf>, changes: Changes) -> std::io::Result<FileWatch> {
    FileWatch::start(reload::files(file, &[]), move |changed| changes.note(changed))
}

async fn serve(
    found: configuration::Found,
    listen: Option<SocketAddr>,
    (watch, changes): (Option<FileWatch>, Changes),
    surroundings: Surroundings,
    logging: Logging,
) -> Result<(), Failure> {
    let data = DataDirectory::hold(&found.config.data_directory)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let drain = Drain::default();
    let server = start(found.config, surroundings, drain.clone())?;
    // Before anybody is told that we are here, so that whoever reads it may stop us properly.
    let mut signals = Signals::new()?;
    let control =
        ControlSocket::open(&DataDirectory::socket(data.path()), found.file.as_deref()).map_err(|error| {
            Failure::configuration(format!("{error}: set data_directory to a shorter path on a local disk"))
        })?;
    let control =
        tokio::spawn(control.serve(server.running().clone(), server.changes().clone(), drain.clone()));
    print(&banner::text(
        server.config(),
        found.file.as_deref(),
        server.surroundings(),
        &server.running().load(),
    ))?;
    for bound in server.running().load().iter() {
        tracing::info!(service = &*bound.service.settings().tag, "listening on {}", bound.url());
    }

    let mut reloader = Reloader::new(server, logging, found.file, listen, watch);
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => break,
                Told::Hangup => reloader.on_hangup().await,
            },
            changed = changes.next() => reloader.on_change(&changed).await,
        }
    }
    tracing::info!("stopping: no new connections, requests under way may finish");
    drain.stop();
    let mut finished = pin!(reloader.into_server().finish());
    let drained = loop {
        tokio::select! {
            drained = &mut finished => break drained,
            told = signals.next() => match told {
                Told::End => {
                    tracing::warn!("second signal: ending now");
                    drain.abort();
                }
                // There is nothing left to change.
                Told::Hangup => {}
            },
        }
    };
    // The socket is gone before the directory is let go.
    let _ = control.await;
    drop(data);
    match drained {
        Drained::Cleanly => tracing::info!("stopped"),
        Drained::Cut(connections) => tracing::warn!(connections, "stopped, with connections cut off"),
    }
    Ok(())
}

/// Why the log file cannot be opened, and what to do.
fn log_output(config: &Config, error: &std::io::Error) -> String {
    let path = config.log.output.as_deref().unwrap_or_else(|| Path::new("")).display();
    format!(
        "log.output: {path} cannot be written ({}): choose a file in a directory that this user may write to, or leave \
         it out for standard error",
        error.kind()
    )
}

/// Begins to serve what a configuration says, or tells what must be changed.
pub(super) fn start(config: Config, surroundings: Surroundings, drain: Drain) -> Result<Server, Failure> {
    Server::start(config, surroundings, drain).map_err(|error| {
        if error.is_configuration() {
            Failure::configuration(error.to_string())
        } else {
            Failure::other(error.to_string())
        }
    })
}
