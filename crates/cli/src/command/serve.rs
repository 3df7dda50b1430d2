//! `trunkline serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use trunkline_server::{Drain, Drained, Server};

use super::{Failure, print};
use crate::logging::LogOutput;
use crate::{banner, configuration, environment, logging};

pub(super) fn run(file: Option<PathBuf>, listen: Option<SocketAddr>) -> Result<(), Failure> {
    let mut found = configuration::find(file)?;
    if let Some(address) = listen {
        configuration::listen_at(&mut found.config, address)?;
    }
    let surroundings = environment::surroundings()?;
    let output = logging::start(&found.config.log)
        .map_err(|error| Failure::configuration(format!("log.output: cannot be opened: {error}")))?;
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let server = Server::bind(&found.config, &surroundings).map_err(|error| {
            if error.is_configuration() {
                Failure::configuration(error.to_string())
            } else {
                Failure::other(error.to_string())
            }
        })?;
        let drain = Drain::default();
        // Before anybody is told that we are here, so that whoever reads it may stop us properly.
        let signals =
            Signals::new().map_err(|error| Failure::other(format!("signals cannot be handled: {error}")))?;
        let signals = tokio::spawn(signals.handle(drain.clone(), output));
        print(&banner::text(&found.config, found.file.as_deref(), &surroundings, server.bound()))?;
        for bound in server.bound() {
            tracing::info!(service = &*bound.service.settings().tag, "listening on {}", bound.url());
        }
        let drained = server.run(drain).await;
        signals.abort();
        match drained {
            Drained::Cleanly => tracing::info!("stopped"),
            Drained::Cut(connections) => tracing::warn!(connections, "stopped, with connections cut off"),
        }
        Ok(())
    })
}

/// The signals that are listened to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM and SIGINT: the first drains, the second ends at once. SIGHUP opens the log file again.
    async fn handle(mut self, drain: Drain, output: LogOutput) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => end(&drain),
                _ = self.interrupt.recv() => end(&drain),
                _ = self.hangup.recv() => match output.reopen() {
                    Ok(()) => tracing::info!("log file opened again"),
                    Err(error) => tracing::error!(%error, "the log file cannot be opened again"),
                },
            }
        }
    }
}

fn end(drain: &Drain) {
    if drain.is_stopping() {
        tracing::warn!("second signal: ending now");
        drain.abort();
    } else {
        tracing::info!("stopping: no new connections, requests under way may finish");
        drain.stop();
    }
}
