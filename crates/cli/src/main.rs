//! `trunkline`: the command line.

mod args;
mod banner;
mod command;
mod configuration;
mod environment;
mod exposed;
#[cfg(feature = "fault-points")]
mod fault;
mod logging;

use std::process::ExitCode;

use clap::Parser as _;

/// glibc's allocator gives memory back to the system for every body of a megabyte, which doubles its cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "fault-points")]
    fault::arm();
    match command::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}
