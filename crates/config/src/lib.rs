//! JSON with comments in, one checked [`Config`] out.
//!
//! Nothing here touches the outside world but through an [`Environment`], and nothing stops at the first mistake:
//! [`load`] reports every problem of a file at once, each with its JSON path, line and column.
//!
//! A text goes through these stages, each of which knows nothing of the next:
//!
//! 1. `jsonc` blanks out comments and trailing commas, in place;
//! 2. `json` reads a tree in which each value and key has its position;
//! 3. `decode` reads the tree by the `table` of sections and fields into records of typed values;
//! 4. `check` looks at what fields mean together, resolves references, and builds the [`model`];
//! 5. `availability` refuses what is valid but not available in this version.
//!
//! Spec: config.md.

mod availability;
mod check;
mod decode;
mod defaults;
mod diagnostic;
mod difference;
mod environment;
#[cfg(test)]
mod fake;
mod file_error;
mod format;
mod json;
mod jsonc;
pub mod model;
mod paths;
mod record;
mod schema;
mod standing;
mod surroundings;
mod table;
mod units;
mod url;
mod zero;

pub use diagnostic::{Diagnostic, Problems};
pub use difference::{Change, EntryChange, ServiceChange, difference, is_same};
pub use environment::{Environment, PlaceKind, empty_variables};
pub use file_error::file_error;
pub use model::Config;
pub use paths::{KeychainName, LoginLocation, config_locations, default_login};
pub use schema::schema;
pub use surroundings::{BadVariable, Surroundings};
pub use units::duration;
pub use url::BaseUrl;
pub use zero::zero_config;

use decode::Decoder;
use diagnostic::{Report, Spot};
use jsonc::SyntaxError;
use table::{DOCUMENT, FOREIGN_SECTIONS};

/// The largest configuration that is read, in bytes. Real ones have a few kilobytes.
pub const MAX_SIZE: usize = 4 << 20;

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What its owner should know all the same, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a configuration, completely and without side effects.
pub fn load(text: &str, env: &dyn Environment) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let config = read(text, env, &mut report);
    if config.is_none() && !report.has_errors() {
        // Every way to have no configuration reports why; should one not, this must not pass for success.
        report.error(&Spot::document(), "this configuration cannot be used");
    }
    let failed = report.has_errors();
    let (errors, warnings) = report.locate(text);
    match config {
        Some(config) if !failed => Ok(Loaded { config, warnings }),
        _ => Err(Problems { errors, warnings }),
    }
}

fn read(text: &str, env: &dyn Environment, report: &mut Report) -> Option<Config> {
    if text.len() > MAX_SIZE {
        report.error(&Spot::document(), format!("larger than {}", units::show_size(MAX_SIZE as u64)));
        return None;
    }
    let mut syntax = |error: SyntaxError| {
        report.error(&Spot { path: String::new(), at: error.at }, error.message);
    };
    let blanked = jsonc::blank(text).map_err(&mut syntax).ok()?;
    let root = json::parse(&blanked).map_err(&mut syntax).ok()?;
    let mut decoder = Decoder { env, report, foreign: FOREIGN_SECTIONS };
    let spot = Spot { path: String::new(), at: root.at };
    let document = decoder.record(&root, &DOCUMENT, spot)?;
    let config = check::document(&document, env, report);
    availability::review(&document, report);
    config
}

#[cfg(test)]
mod tests;
