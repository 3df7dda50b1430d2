//! `trunkline man`.

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{Failure, print};
use crate::args::Args;

pub(super) fn run(command: Option<&str>) -> Result<(), Failure> {
    let mut program = Args::command();
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let Some(found) = program.find_subcommand(name).filter(|found| found.get_name() != "help") else {
                return Err(Failure::usage(format!("man: there is no command {name}; see trunkline --help")));
            };
            found.clone()
        }
    };
    let mut roff = Vec::new();
    Man::new(page)
        .source(concat!("trunkline ", env!("CARGO_PKG_VERSION")))
        .render(&mut roff)
        .map_err(|error| Failure::other(format!("the manual page cannot be written: {error}")))?;
    print(&String::from_utf8_lossy(&roff))
}
