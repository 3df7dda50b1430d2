//! Figures: what they are, how they are summed up and how they are shown.

mod metric;
mod record;
mod statistics;
mod table;

pub(crate) use self::metric::{Metric, Sample};
pub(crate) use self::record::{Failure, Results};
pub(crate) use self::statistics::median;
pub(crate) use self::table::render;
