//! `trunkline status`: what the running instance is doing, at a glance.

pub(crate) mod display;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Serialize;
use trunkline_server::control;

use display::{Times, event_line, table};

use super::{Failure, note, print};
use crate::configuration;

/// How often `--watch` asks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Once.
    Once,
    /// Again and again.
    Watch,
    /// What changes, as it changes.
    Follow,
}

pub(super) fn run(
    file: Option<PathBuf>,
    data_directory: Option<PathBuf>,
    json: bool,
    manner: Manner,
    utc: bool,
) -> Result<(), Failure> {
    let directory = match data_directory {
        Some(directory) => directory,
        None => configuration::find(file)?.config.data_directory,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    if manner == Manner::Follow {
        return runtime.block_on(follow(&directory, json, zone));
    }
    let watch = manner == Manner::Watch;
    loop {
        let status =
            runtime.block_on(control::ask(&directory)).map_err(|error| Failure::other(error.to_string()))?;
        let mut text = if json { json_of(&status)? } else { table(&status, &Times::now(zone.clone())) };
        if watch && !json && std::io::stdout().is_terminal() {
            text.insert_str(0, CLEAR);
        }
        print(&text)?;
        if !watch {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// A line for each event, until the instance ends.
async fn follow(directory: &Path, json: bool, zone: TimeZone) -> Result<(), Failure> {
    let failed = |error: control::AskError| Failure::other(error.to_string());
    let mut events = control::follow(directory).await.map_err(failed)?;
    while let Some(event) = events.next().await.map_err(failed)? {
        if json {
            print(&json_of(&event)?)?;
        } else if let Some(line) = event_line(&event, &Times::now(zone.clone())) {
            print(&line)?;
        }
    }
    note("note", "the running trunkline has ended");
    Ok(())
}

fn json_of(value: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string(value).map_err(|error| Failure::other(error.to_string()))?;
    text.push('\n');
    Ok(text)
}
