//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::host::Cores;
use crate::target::Target;

/// Measures Trunkline against nginx, a bare hyper proxy and no proxy at all.
#[derive(Debug, Parser)]
#[command(name = "trunkline-bench", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure every target in every scenario and print a table.
    Run(RunArgs),
    /// Count the instructions that one request or one event costs a proxy, under valgrind.
    Callgrind(CallgrindArgs),
    /// Serve as the bare proxy: hyper on both sides and no features.
    Bare(BareArgs),
}

/// Where the programs under test are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Programs {
    /// The trunkline binary to measure [default: target/release/trunkline].
    #[arg(long, value_name = "PATH")]
    pub(crate) trunkline: Option<PathBuf>,

    /// The nginx binary to measure [default: nginx in PATH, then /usr/sbin/nginx].
    #[arg(long, value_name = "PATH")]
    pub(crate) nginx: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// What to measure.
    #[arg(long, value_name = "TARGET,…", value_delimiter = ',', default_values_t = Target::ALL)]
    pub(crate) targets: Vec<Target>,

    /// How often each measurement is repeated; the median is reported.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) reps: u32,

    /// Measure a quarter as long and skip the larger variants; for trying things out, not for publishing.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only the scenarios whose name begins so, such as `burst` or `paced-16`.
    #[arg(long, value_name = "SCENARIO,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Write machine, versions and every sample to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Set when the process runs below its supervisor, on the load core.
    #[arg(long, hide = true, value_name = "CORES")]
    pub(crate) supervised: Option<Cores>,
}

/// Options of `callgrind`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CallgrindArgs {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// The proxy whose instructions are counted.
    #[arg(long, default_value_t = Target::Trunkline)]
    pub(crate) target: Target,

    /// What the count is divided by.
    #[arg(long, value_enum, default_value_t = Unit::Request)]
    pub(crate) per: Unit,

    /// Requests of the shorter of the two runs; the longer one sends three times as many.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) requests: u32,

    /// Set when the process runs below its supervisor, on the load core.
    #[arg(long, hide = true, value_name = "CORES")]
    pub(crate) supervised: Option<Cores>,
}

/// What instructions are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// One small request on a connection kept alive.
    Request,
    /// One event of a stream sent as fast as the upstream can.
    Event,
}

/// Options of `bare`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BareArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// The address to forward to.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) upstream: SocketAddr,
}
