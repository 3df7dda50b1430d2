//! Figures: what they are, how they are summed up, kept, shown and compared.

mod compare;
mod markdown;
mod metric;
mod record;
mod statistics;
mod table;

pub(crate) use self::compare::compare;
pub(crate) use self::metric::{Metric, Sample};
pub(crate) use self::record::{Failure, Kind, Results};
pub(crate) use self::statistics::median;
pub(crate) use self::table::render;

#[cfg(test)]
mod snapshot {
    /// Compares with a file in `snapshots/`, or writes that file where `UPDATE_SNAPSHOTS` is set.
    pub(super) fn check(name: &str, text: &str) {
        let file = format!("{}/src/report/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{file}");
    }
}
