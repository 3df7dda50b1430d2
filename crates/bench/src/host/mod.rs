//! The machine: cores, processes and their costs.

mod cores;
mod machine;
mod process;
mod source;
mod supervise;

pub(crate) use self::cores::{Cores, command};
pub(crate) use self::machine::Machine;
pub(crate) use self::process::{CpuReading, ProcessTree};
pub(crate) use self::source::{Source, first_line};
pub(crate) use self::supervise::{interrupted, supervise};
