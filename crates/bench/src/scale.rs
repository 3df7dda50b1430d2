//! How much is measured.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How long and with how many streams measurements run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    /// For figures to publish.
    Full,
    /// A quarter of the time, and without the larger variants: for trying things out.
    Quick,
    /// Hardly anything: shows that the harness works, not what anything costs.
    Tiny,
}

// === impl Scale ===

impl Scale {
    /// A duration at this scale.
    pub(crate) fn time(self, full: Duration) -> Duration {
        match self {
            Self::Full => full,
            Self::Quick => full / 4,
            Self::Tiny => full / 25,
        }
    }

    /// A number of streams, connections or repetitions at this scale, at least one.
    pub(crate) fn count(self, full: usize) -> usize {
        match self {
            Self::Full | Self::Quick => full,
            Self::Tiny => (full / 50).max(1),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::Tiny => "tiny",
        })
    }
}
