//! The log: one line per event, pretty on a terminal and JSON otherwise, to standard error or to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use trunkline_config::model::{Log, LogFormat, LogLevel};

/// Where lines go.
#[derive(Clone)]
pub(crate) struct LogOutput(Arc<Output>);

enum Output {
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
}

impl LogOutput {
    /// Opens the file again, so that it may have been moved away.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        if let Output::File { path, file } = &*self.0 {
            let fresh = open(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

impl Write for &LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.0 {
            Output::Stderr => io::stderr().write(bytes),
            Output::File { file, .. } => file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Starts logging.
pub(crate) fn start(log: &Log) -> io::Result<LogOutput> {
    let output = LogOutput(Arc::new(match &log.output {
        None => Output::Stderr,
        Some(path) => Output::File { path: path.clone(), file: Mutex::new(open(path)?) },
    }));
    let on_terminal = log.output.is_none() && io::stderr().is_terminal();
    let pretty = match log.format {
        LogFormat::Auto => on_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let level = match (log.disabled, log.level) {
        (true, _) => LevelFilter::OFF,
        (_, LogLevel::Trace) => LevelFilter::TRACE,
        (_, LogLevel::Debug) => LevelFilter::DEBUG,
        (_, LogLevel::Info) => LevelFilter::INFO,
        (_, LogLevel::Warn) => LevelFilter::WARN,
        (_, LogLevel::Error) => LevelFilter::ERROR,
    };
    // The HTTP and TLS libraries write headers into their own debug lines, tokens included: never below warnings.
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("trunkline", level);
    let colour = on_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt::layer().with_writer(output.clone()).with_ansi(colour);
    let registry = tracing_subscriber::registry().with(filter);
    match (pretty, log.timestamp) {
        (true, true) => registry.with(layer.with_target(false)).init(),
        (true, false) => registry.with(layer.with_target(false).without_time()).init(),
        (false, true) => registry.with(layer.json().flatten_event(true)).init(),
        (false, false) => registry.with(layer.json().flatten_event(true).without_time()).init(),
    }
    Ok(output)
}
