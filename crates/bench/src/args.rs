//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::callgrind::Function;
use crate::host::Cores;
use crate::scale::Scale;
use crate::target::Target;

/// Measures Trunkline against nginx, HAProxy, a bare hyper proxy and no proxy at all.
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
    /// Measure time and memory of every proxy in every scenario and print a table.
    Run(RunArgs),
    /// Count the instructions of a request, an event and single functions under valgrind and print a table.
    Callgrind(CallgrindArgs),
    /// Measure what picking a credential costs, with many credentials and many sessions, and print a table.
    Selection,
    /// Measure what relaying WebSockets costs, beside a relay that is the library alone, and print a table.
    Sockets(SocketsArgs),
    /// Print what has changed between two files written with --json.
    Compare(CompareArgs),
    /// Serve as the bare proxy: hyper on both sides and no features.
    Bare(BareArgs),
    /// Serve as the bare relay of WebSockets.
    #[command(hide = true)]
    BareSocket(BareArgs),
    /// Call one function of the request path, to be counted under valgrind.
    #[command(hide = true)]
    Function(FunctionArgs),
}

/// Where the programs under test are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Programs {
    /// The trunkline binary to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) trunkline: Option<PathBuf>,

    /// The nginx binary to measure [default: nginx in PATH or /usr/sbin].
    #[arg(long, value_name = "PATH")]
    pub(crate) nginx: Option<PathBuf>,

    /// The HAProxy binary to measure [default: haproxy in PATH or /usr/sbin].
    #[arg(long, value_name = "PATH")]
    pub(crate) haproxy: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// What to measure [default: everything that is installed].
    #[arg(long, value_name = "PROXY,…", value_delimiter = ',')]
    pub(crate) proxy: Vec<Target>,

    /// Measure only the scenarios whose name begins so, such as `burst` or `paced-16`.
    #[arg(long, value_name = "SCENARIO,…", value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,

    /// How often each measurement is repeated; medians and ranges are reported.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) reps: u32,

    /// How much is measured.
    #[arg(long, value_enum, default_value_t = Scale::Full)]
    pub(crate) scale: Scale,

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

    /// The proxies whose instructions are counted.
    #[arg(long, value_name = "PROXY,…", value_delimiter = ',', default_values_t = [Target::Bare, Target::Trunkline])]
    pub(crate) proxy: Vec<Target>,

    /// Count only the scenarios whose name begins so, such as `request` or `fn-scan`.
    #[arg(long, value_name = "SCENARIO,…", value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,

    /// How often each count is repeated.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) reps: u32,

    /// Work of the shorter of the two runs of a proxy: requests, or events of each stream.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) work: u32,

    /// Write machine, versions and every sample to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Set when the process runs below its supervisor, on the load core.
    #[arg(long, hide = true, value_name = "CORES")]
    pub(crate) supervised: Option<Cores>,
}

/// Options of `sockets`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SocketsArgs {
    /// The trunkline binary to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) trunkline: Option<PathBuf>,
}

/// Options of `compare`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The file of the earlier run.
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// The file of the later run.
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    /// Compare only these [default: everything that is in both files].
    #[arg(long, value_name = "PROXY,…", value_delimiter = ',')]
    pub(crate) proxy: Vec<Target>,
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

/// Options of `function`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct FunctionArgs {
    /// The function.
    #[arg(value_enum)]
    pub(crate) function: Function,

    /// How often it is called.
    #[arg(long, value_name = "COUNT")]
    pub(crate) calls: u32,

    /// For how many calls arguments are prepared, whether or not they are made.
    #[arg(long, value_name = "COUNT")]
    pub(crate) prepared: u32,
}
