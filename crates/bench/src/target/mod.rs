//! What is measured, and how each of it is started.

mod configuration;
mod programs;
mod proxy;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::programs::{LeftOut, Located};
pub(crate) use self::proxy::{Launch, Proxy};

/// What stands between the client and the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// Nothing: what the load itself costs, and the base of added latencies.
    Direct,
    /// The proxy of this program: what hyper costs without any feature.
    Bare,
    /// nginx, without buffering.
    Nginx,
    /// HAProxy, without waiting for more to send.
    Haproxy,
    /// Trunkline.
    Trunkline,
}

// === impl Target ===

impl Target {
    /// Everything, in the order of the columns.
    pub(crate) const ALL: [Self; 5] = [Self::Direct, Self::Bare, Self::Nginx, Self::Haproxy, Self::Trunkline];

    /// The one that ratios are taken to.
    pub(crate) const BASELINE: Self = Self::Nginx;

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Trunkline => "trunkline",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
