//! `trunkline completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Failure, print};
use crate::args::Args;

pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    // Not straight to standard output: the generator would panic when the reader has gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
