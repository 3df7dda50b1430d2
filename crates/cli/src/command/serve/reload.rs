//! A changed configuration, put in force while serving.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use trunkline_server::{FileWatch, Server, tls_files};

use crate::configuration;
use crate::logging::Logging;

/// The files whose changes matter.
pub(super) fn files(configuration: Option<&PathBuf>, tls: &[PathBuf]) -> Vec<PathBuf> {
    configuration.into_iter().chain(tls).cloned().collect()
}

/// A server with everything that a reload touches.
pub(super) struct Reloader {
    server: Server,
    logging: Logging,
    /// `None`: there is no file, and nothing to read again.
    file: Option<PathBuf>,
    /// What the command line says.
    listen: Option<SocketAddr>,
    watch: Option<FileWatch>,
}

impl Reloader {
    pub(super) fn new(
        server: Server,
        logging: Logging,
        file: Option<PathBuf>,
        listen: Option<SocketAddr>,
        watch: Option<FileWatch>,
    ) -> Self {
        Self { server, logging, file, listen, watch }
    }

    pub(super) fn into_server(self) -> Server {
        self.server
    }

    /// SIGHUP: everything again, the log file too.
    pub(super) async fn on_hangup(&mut self) {
        self.logging.reopen();
        match self.file.clone() {
            Some(file) => self.reload(file).await,
            None => self.reload_tls(),
        }
    }

    /// Files have changed.
    pub(super) async fn on_change(&mut self, changed: &BTreeSet<PathBuf>) {
        match self.file.clone() {
            Some(file) if changed.contains(&file) => self.reload(file).await,
            _ => self.reload_tls(),
        }
    }

    async fn reload(&mut self, file: PathBuf) {
        let read = configuration::read(file).and_then(|mut found| {
            if let Some(address) = self.listen {
                configuration::listen_at(&mut found.config, address)?;
            }
            Ok(found)
        });
        let found = match read {
            Ok(found) => found,
            Err(failure) => {
                failure.lines().for_each(|line| tracing::error!("{line}"));
                return tracing::error!("configuration not reloaded: nothing has changed");
            }
        };
        for warning in &found.exposed {
            tracing::warn!("{warning}");
        }
        for warning in &found.warnings {
            tracing::warn!("{warning}");
        }
        // Before they are read, so that no change of them goes unnoticed.
        if let Some(watch) = &self.watch {
            watch.set(self.files(&tls_files(&found.config)));
        }
        let log = found.config.log.clone();
        let changes = match self.server.reload(found.config).await {
            Ok(changes) => changes,
            Err(error) => {
                if let Some(watch) = &self.watch {
                    watch.set(self.files(&tls_files(self.server.config())));
                }
                tracing::error!("{error}");
                return tracing::error!("configuration not reloaded: nothing has changed");
            }
        };
        if let Err(error) = self.logging.change(&log) {
            tracing::error!("log.output: cannot be opened: {error}: the log goes on as before");
        }
        for change in &changes {
            tracing::info!("configuration: {change}");
        }
        match changes.len() {
            0 => tracing::info!("configuration reloaded: it says the same"),
            1 => tracing::info!("configuration reloaded: 1 change"),
            count => tracing::info!("configuration reloaded: {count} changes"),
        }
    }

    fn reload_tls(&mut self) {
        if tls_files(self.server.config()).is_empty() {
            return;
        }
        match self.server.reload_tls() {
            Ok(()) => tracing::info!("certificates reloaded"),
            Err(error) => tracing::error!("{error}: the ones before stay in use"),
        }
    }

    fn files(&self, tls: &[PathBuf]) -> Vec<PathBuf> {
        files(self.file.as_ref(), tls)
    }
}
