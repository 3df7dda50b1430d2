//! Measures Trunkline against nginx, HAProxy, a featureless hyper proxy and no proxy at all.
//!
//! The load client and the upstream share one process and one core; the proxy under test has the other. Every
//! figure is taken in the same run, target after target, so that the ratios hold although the machine changes.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: data to stdout, progress to stderr"
)]

mod args;
mod bare;
mod callgrind;
mod chosen;
mod host;
mod load;
mod number;
mod report;
mod run;
mod scale;
mod scenario;
mod selection;
mod sockets;
mod target;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::args::{Args, CallgrindArgs, Command, RunArgs};
use crate::report::Results;

/// The allocator Trunkline uses, so that the bare proxy differs from it in features only.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match dispatch(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = local_runtime()?;
    match command {
        Command::Run(RunArgs { supervised: None, .. })
        | Command::Callgrind(CallgrindArgs { supervised: None, .. }) => runtime.block_on(host::supervise()),
        Command::Run(args) => runtime.block_on(measure(run::run(args))),
        Command::Callgrind(args) => runtime.block_on(measure(callgrind::run(args))),
        Command::Bare(args) => runtime.block_on(bare::serve(args)),
        Command::Compare(args) => {
            let (old, new) = (Results::read(&args.old)?, Results::read(&args.new)?);
            print!("{}", report::compare(&old, &new, &args.proxy)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Sockets(args) => {
            print!("{}", runtime.block_on(sockets::report(args))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::BareSocket(args) => runtime.block_on(sockets::serve_bare(args)),
        Command::Selection => {
            print!("{}", selection::report()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Function(args) => {
            args.function.call(args.calls, args.prepared)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Measures until done or until the supervisor has gone.
async fn measure(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::select! {
        result = work => result,
        () = host::interrupted() => anyhow::bail!("interrupted"),
    }
}

/// One thread for everything, because the process is confined to one core.
fn local_runtime() -> anyhow::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .context("failed to start the runtime")
}
