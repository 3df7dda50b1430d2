//! `trunkline schema`.

use super::{Failure, print};

pub(super) fn run() -> Result<(), Failure> {
    let schema = serde_json::to_string_pretty(&trunkline_config::schema())
        .map_err(|error| Failure::other(format!("the schema cannot be written: {error}")))?;
    print(&format!("{schema}\n"))
}
