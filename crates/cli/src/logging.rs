//! The log: one line per event, pretty on a terminal and JSON otherwise, to standard error or to a file. All of it can be
//! changed while it is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};
use trunkline_config::model::{Log, LogFormat, LogLevel};

type Filter = reload::Layer<Targets, Registry>;
type Lines = Box<dyn Layer<Layered<Filter, Registry>> + Send + Sync>;

/// The log, as something that can be changed.
pub(crate) struct Logging {
    settings: Log,
    output: LogOutput,
    filter: reload::Handle<Targets, Registry>,
    lines: reload::Handle<Lines, Layered<Filter, Registry>>,
}

/// Where lines go.
#[derive(Clone, Default)]
struct LogOutput(Arc<Mutex<Sink>>);

#[derive(Default)]
enum Sink {
    #[default]
    Stderr,
    File(File),
}

impl Logging {
    /// Starts logging.
    pub(crate) fn start(log: &Log) -> io::Result<Self> {
        let output = LogOutput::default();
        output.open(log.output.as_deref())?;
        let (filter, filter_handle) = reload::Layer::new(filter(log));
        let (lines, lines_handle) = reload::Layer::new(lines(log, &output));
        tracing_subscriber::registry().with(filter).with(lines).init();
        Ok(Self { settings: log.clone(), output, filter: filter_handle, lines: lines_handle })
    }

    /// Opens the log file again, so that it may have been moved away.
    pub(crate) fn reopen(&self) {
        match self.output.open(self.settings.output.as_deref()) {
            Ok(()) if self.settings.output.is_some() => tracing::info!("log file opened again"),
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "the log file cannot be opened again"),
        }
    }

    /// Logs as `log` says from now on. An error changes nothing.
    pub(crate) fn change(&mut self, log: &Log) -> io::Result<()> {
        if self.settings == *log {
            return Ok(());
        }
        self.output.open(log.output.as_deref())?;
        let gone = |error: reload::Error| io::Error::other(error.to_string());
        self.lines.reload(lines(log, &self.output)).map_err(gone)?;
        self.filter.reload(filter(log)).map_err(gone)?;
        self.settings = log.clone();
        Ok(())
    }
}

/// Which lines are written.
fn filter(log: &Log) -> Targets {
    let level = match (log.disabled, log.level) {
        (true, _) => LevelFilter::OFF,
        (_, LogLevel::Trace) => LevelFilter::TRACE,
        (_, LogLevel::Debug) => LevelFilter::DEBUG,
        (_, LogLevel::Info) => LevelFilter::INFO,
        (_, LogLevel::Warn) => LevelFilter::WARN,
        (_, LogLevel::Error) => LevelFilter::ERROR,
    };
    // The HTTP and TLS libraries write headers into their own debug lines, tokens included: never below warnings.
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("trunkline", level)
}

/// How a line looks.
fn lines(log: &Log, output: &LogOutput) -> Lines {
    let on_terminal = log.output.is_none() && io::stderr().is_terminal();
    let pretty = match log.format {
        LogFormat::Auto => on_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let colour = on_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt::layer().with_writer(output.clone()).with_ansi(colour);
    match (pretty, log.timestamp) {
        (true, true) => layer.with_target(false).boxed(),
        (true, false) => layer.with_target(false).without_time().boxed(),
        (false, true) => layer.json().flatten_event(true).boxed(),
        (false, false) => layer.json().flatten_event(true).without_time().boxed(),
    }
}

// === impl LogOutput ===

impl LogOutput {
    /// Opens what lines go to, `None` being standard error. An error leaves it as it is.
    fn open(&self, path: Option<&Path>) -> io::Result<()> {
        let fresh = match path {
            None => Sink::Stderr,
            Some(path) => {
                let mut options = OpenOptions::new();
                options.create(true).append(true);
                // It tells who talks when. One that is there keeps its mode, which somebody may have chosen.
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let file = options
                    .open(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                Sink::File(file)
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl Write for &LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Stderr => io::stderr().write(bytes),
            Sink::File(file) => file.write(bytes),
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
