//! Runs side by side, for people.

use std::fmt::Write as _;

use crate::Tally;

/// A table of runs: a line for each, under a title.
pub fn table<'a>(title: &str, runs: impl IntoIterator<Item = (&'a str, &'a Tally)>) -> String {
    let mut text = format!(
        "{title}\n{:<24} {:>9} {:>8} {:>7} {:>10} {:>9} {:>8} {:>8} {:>9} {:>9} {:>8}\n",
        "",
        "answered",
        "refused",
        "failed",
        "cold moves",
        "rewritten",
        "unused",
        "undone",
        "mean wait",
        "longest",
        "waste"
    );
    for (name, tally) in runs {
        let undone = if tally.asked > 0.0 { 100.0 * tally.undone / tally.asked } else { 0.0 };
        let _ = writeln!(
            text,
            "{name:<24} {:>9} {:>8} {:>7} {:>10} {:>8.2}% {:>7.2}% {:>7.2}% {:>7.3} h {:>7.1} h {:>7.2}%",
            tally.answered,
            tally.refused,
            tally.failed,
            tally.cold_moves,
            tally.rewritten_percent(),
            tally.unused_percent(),
            undone,
            tally.mean_wait(),
            tally.longest_wait.as_secs_f64() / 3_600.0,
            tally.waste_percent(),
        );
    }
    text
}
