//! What is wrong with a configuration, and where.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;

/// Errors beyond this many are counted, not listed: a hostile file must not cost more memory than it has bytes
/// for, and nobody reads further.
const MAX_FINDINGS: usize = 1_000;

/// One problem, at one place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The JSON path, such as `services[0].credentials[2].reserve_5h`; empty for the document as a whole.
    pub path: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What was found, what is allowed, and what to do. Never a secret.
    pub message: String,
}

/// A configuration that cannot be used: every reason, not just the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What has to be changed, in the order of the file. Never empty.
    pub errors: Vec<Diagnostic>,
    /// What would have been a warning anyway.
    pub warnings: Vec<Diagnostic>,
}

/// A place in the file: its JSON path and its byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) path: String,
    pub(crate) at: usize,
}

/// Collects problems while the file is read and checked.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    unlisted: usize,
    warned_fields: HashSet<&'static str>,
}

#[derive(Debug)]
struct Finding {
    spot: Spot,
    message: String,
}

// === impl Diagnostic ===

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

// === impl Problems ===

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

// === impl Spot ===

impl Spot {
    /// The document as a whole.
    pub(crate) fn document() -> Self {
        Self { path: String::new(), at: 0 }
    }

    /// The member `name` of the object that stands here, at `at`.
    pub(crate) fn member(&self, name: &str, at: usize) -> Self {
        let plain = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte));
        let path = match (plain, self.path.is_empty()) {
            (true, true) => name.to_owned(),
            (true, false) => format!("{}.{name}", self.path),
            (false, _) => format!("{}[{}]", self.path, quoted(name)),
        };
        Self { path, at }
    }

    /// The element `index` of the list that stands here, at `at`.
    pub(crate) fn element(&self, index: usize, at: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), at }
    }

    /// A member that is not there, shown at the object that lacks it.
    pub(crate) fn absent(&self, name: &str) -> Self {
        self.member(name, self.at)
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn error(&mut self, spot: &Spot, message: impl Into<String>) {
        if self.errors.len() < MAX_FINDINGS {
            self.errors.push(Finding { spot: spot.clone(), message: message.into() });
        } else {
            self.unlisted += 1;
        }
    }

    pub(crate) fn warn(&mut self, spot: &Spot, message: impl Into<String>) {
        if self.warnings.len() < MAX_FINDINGS {
            self.warnings.push(Finding { spot: spot.clone(), message: message.into() });
        }
    }

    /// A warning that is worth giving once, however often the field occurs.
    pub(crate) fn warn_once(&mut self, field: &'static str, spot: &Spot, message: impl Into<String>) {
        if self.warned_fields.insert(field) {
            self.warn(spot, message);
        }
    }

    /// Whether an error was reported at exactly this place.
    pub(crate) fn has_error_at(&self, spot: &Spot) -> bool {
        self.errors.iter().any(|finding| finding.spot == *spot)
    }

    /// Whether an error was reported at or below this place.
    pub(crate) fn has_error_below(&self, spot: &Spot) -> bool {
        self.errors.iter().any(|finding| finding.spot.path.starts_with(&spot.path))
    }

    /// Whether further errors are only counted, so that their wording is for nobody.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_FINDINGS
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The errors and the warnings, with lines and columns of `text`, in its order.
    pub(crate) fn locate(mut self, text: &str) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let lines = Lines::of(text);
        self.errors.sort_by_key(|finding| finding.spot.at);
        self.warnings.sort_by_key(|finding| finding.spot.at);
        if self.unlisted > 0 {
            let message = format!("and {} more errors", self.unlisted);
            self.errors.push(Finding { spot: Spot { path: String::new(), at: text.len() }, message });
        }
        let locate = |finding: Finding| {
            let (line, column) = lines.position(finding.spot.at);
            Diagnostic { path: finding.spot.path, line, column, message: finding.message }
        };
        (self.errors.into_iter().map(locate).collect(), self.warnings.into_iter().map(locate).collect())
    }
}

/// Where each line of a text starts.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        // A byte order mark is no column that an editor shows.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let newlines = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(first).chain(newlines).collect() }
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&start| start <= at).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..at.max(start)).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}

/// How much of a text from the file is shown in a message.
const SHOWN_CHARACTERS: usize = 60;

/// `text` in double quotes for a message: shortened, and with nothing in it that a terminal would obey.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for next in text.chars().take(SHOWN_CHARACTERS) {
        match next {
            '\'' => shown.push(next),
            _ => shown.extend(next.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// `a, b or c`.
pub(crate) fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `; did you mean X?` if one of `known` is close to `found`, else nothing.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// Beyond this no name of ours is near, and the distance is quadratic.
    const LONGEST: usize = 64;
    // What has no letter, such as a version, is not mistyped but meant.
    if found.len() > LONGEST || !found.contains(char::is_alphabetic) {
        return String::new();
    }
    let plain = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
    let wanted = plain(found);
    let nearest = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
        .filter(|(distance, name)| distance * 3 <= plain(name).chars().count().max(3))
        .min_by_key(|(distance, _)| *distance);
    nearest.map_or_else(String::new, |(_, name)| format!(", did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_not_the_byte_order_mark() {
        let text = "\u{feff}{\n\t\"ä\": 1\r\n}";
        let lines = Lines::of(text);
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(3), (1, 1));
        assert_eq!(lines.position(text.find('1').unwrap()), (2, 7));
        assert_eq!(lines.position(text.len()), (3, 2));
        assert_eq!(lines.position(1_000), (3, 1));
    }

    #[test]
    fn paths_quote_what_is_no_plain_name() {
        let spot = Spot::document().member("services", 0).element(0, 0);
        assert_eq!(spot.member("tag", 0).path, "services[0].tag");
        assert_eq!(spot.member("a b\u{1b}", 0).path, "services[0][\"a b\\u{1b}\"]");
    }

    #[test]
    fn suggestions_are_near_or_not_made() {
        let known = ["reserve_5h", "reserve_weekly", "limit_5h"];
        assert_eq!(did_you_mean("reserve5h", known), ", did you mean reserve_5h?");
        assert_eq!(did_you_mean("ReserveWeekly", known), ", did you mean reserve_weekly?");
        assert_eq!(did_you_mean("colour", known), "");
        assert_eq!(did_you_mean(&"x".repeat(100_000), known), "");
    }

    #[test]
    fn errors_beyond_the_bound_are_counted() {
        let mut report = Report::default();
        for _ in 0..MAX_FINDINGS + 7 {
            report.error(&Spot::document(), "no");
        }
        let (errors, _) = report.locate("{}");
        assert_eq!(errors.len(), MAX_FINDINGS + 1);
        assert_eq!(
            errors.last().map(ToString::to_string).as_deref(),
            Some("line 1, column 3: and 7 more errors")
        );
    }
}
