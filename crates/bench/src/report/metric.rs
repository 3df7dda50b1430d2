//! The metrics, each with its unit and which way is better.

use serde::{Deserialize, Serialize};

/// What a figure says; reports keep this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    CpuPerRequest,
    Requests,
    CpuPerEvent,
    Events,
    CpuPerUpload,
    UploadRate,
    ProxyCore,
    LoadCore,
    LatencyMedian,
    LatencyTail,
    AddedMedian,
    AddedTail,
    MemoryIdle,
    MemoryLoaded,
    MemoryPerStream,
    Start,
    InstructionsPerRequest,
    InstructionsPerEvent,
    InstructionsPerCall,
}

/// One figure of one measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What it says.
    pub(crate) metric: Metric,
    /// The figure, in the metric's unit.
    pub(crate) value: f64,
}

/// Which figures of a metric are the better ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Lower,
    Higher,
    /// It explains other figures and is neither good nor bad.
    Neither,
}

// === impl Metric ===

impl Metric {
    /// A figure of this metric.
    pub(crate) fn of(self, value: f64) -> Sample {
        Sample { metric: self, value }
    }

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU per request",
            Self::Requests => "requests",
            Self::CpuPerEvent => "CPU per event",
            Self::Events => "events",
            Self::CpuPerUpload => "CPU per upload",
            Self::UploadRate => "uploads",
            Self::ProxyCore => "proxy core busy",
            Self::LoadCore => "load core busy",
            Self::LatencyMedian => "p50",
            Self::LatencyTail => "p99",
            Self::AddedMedian => "p50 added",
            Self::AddedTail => "p99 added",
            Self::MemoryIdle => "RSS idle",
            Self::MemoryLoaded => "RSS with all streams",
            Self::MemoryPerStream => "RSS per stream",
            Self::Start => "start to first answer",
            Self::InstructionsPerRequest => "per request",
            Self::InstructionsPerEvent => "per event",
            Self::InstructionsPerCall => "per call",
        }
    }

    /// The unit of its figures.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CpuPerRequest
            | Self::CpuPerEvent
            | Self::LatencyMedian
            | Self::LatencyTail
            | Self::AddedMedian
            | Self::AddedTail => "µs",
            Self::CpuPerUpload | Self::Start => "ms",
            Self::Requests | Self::Events => "/s",
            Self::UploadRate => "MiB/s",
            Self::ProxyCore | Self::LoadCore => "%",
            Self::MemoryIdle | Self::MemoryLoaded => "MB",
            Self::MemoryPerStream => "kB",
            Self::InstructionsPerRequest | Self::InstructionsPerEvent | Self::InstructionsPerCall => {
                "instructions"
            }
        }
    }

    /// Which way is better.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Requests | Self::Events | Self::UploadRate => Direction::Higher,
            Self::ProxyCore | Self::LoadCore => Direction::Neither,
            _ => Direction::Lower,
        }
    }

    /// Whether it is counted rather than timed, so that hardly anything moves it but the program itself.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Self::InstructionsPerRequest | Self::InstructionsPerEvent | Self::InstructionsPerCall)
    }

    /// The metric of what a proxy adds to this one, if this is a latency.
    pub(crate) fn added(self) -> Option<Self> {
        match self {
            Self::LatencyMedian => Some(Self::AddedMedian),
            Self::LatencyTail => Some(Self::AddedTail),
            _ => None,
        }
    }
}
