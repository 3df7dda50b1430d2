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

/// jemalloc: a thread of its own gives memory back that has been free for ten seconds, also when nothing goes on any more.
/// With mimalloc the process keeps the size of the largest flood that it has seen, and an open stream takes half as much
/// again. The C libraries in the process allocate from it too, since windows of decoders are large. glibc's allocator gives
/// memory back for every body of a megabyte, which doubles its cost.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where jemalloc does not build (Windows), has no such thread (musl), fails under another page size than that of the
/// machine it was built on (aarch64), or has not been measured.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
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
