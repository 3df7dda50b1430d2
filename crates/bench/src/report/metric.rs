//! The metrics, each with its unit.

/// What a figure says; reports keep this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
}

/// One figure of one measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What it says.
    pub(crate) metric: Metric,
    /// The figure, in the metric's unit.
    pub(crate) value: f64,
}

// === impl Metric ===

impl Metric {
    /// A figure of this metric.
    pub(crate) fn of(self, value: f64) -> Sample {
        Sample { metric: self, value }
    }

    /// The name in reports.
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
            Self::MemoryLoaded => "RSS with 1,000 streams",
            Self::MemoryPerStream => "RSS per stream",
            Self::Start => "start to first answer",
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
        }
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
