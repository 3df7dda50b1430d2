//! Arms the fault points, for tests that kill the process. Only with the feature `fault-points`.

#[cfg(not(debug_assertions))]
compile_error!("the feature fault-points is for tests: leave it out of what is shipped");

use std::fs::OpenOptions;

use trunkline_login_store::fault::{abort_at, log_to};

/// The number of the fault point, counted from 1, at which the process aborts.
const ABORT_AT: &str = "TRUNKLINE_ABORT_AT";

/// The file to which the names of the points are appended as they are passed.
const FAULT_LOG: &str = "TRUNKLINE_FAULT_LOG";

/// Does what the environment asks for.
pub(crate) fn arm() {
    if let Some(file) = std::env::var_os(FAULT_LOG)
        && let Ok(file) = OpenOptions::new().append(true).create(true).open(file)
    {
        log_to(file);
    }
    if let Some(at) = std::env::var(ABORT_AT).ok().and_then(|at| at.parse().ok()) {
        abort_at(at);
    }
}
