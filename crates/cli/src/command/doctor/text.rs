//! The report for a person: in columns, at most 80 wide but for words that are longer.

use std::fmt::Write as _;

use super::finding::{Finding, Level, Report};

/// The width of a terminal that is never too narrow for it.
const WIDTH: usize = 80;

/// Where findings begin: behind two blanks, the longest level, and two more.
const INDENT: usize = 11;

/// The text; with `colour`, levels and titles are coloured.
pub(super) fn of(report: &Report, colour: bool) -> String {
    let mut text = String::new();
    for group in &report.groups {
        if !text.is_empty() {
            text.push('\n');
        }
        let name = group.section.replace('_', " ");
        let subject = group.subject.as_deref().map(|subject| format!(" {subject}")).unwrap_or_default();
        let about = group.about.as_deref().map(|about| format!(" ({about})")).unwrap_or_default();
        let title = harmless(&format!("{name}{subject}{about}"));
        wrap(&mut text, &painted(&title, "1", colour), 0, 2);
        for finding in &group.findings {
            of_finding(&mut text, finding, colour);
        }
    }
    if report.offline {
        text.push_str("\nupstreams were left out (--offline)\n");
    }
    let (problems, warnings) = (report.count(Level::Problem), report.count(Level::Warning));
    let count = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let summary = format!("{}, {}", count(problems, "problem"), count(warnings, "warning"));
    let _ = writeln!(text, "\n{}", painted(&summary, paint(report.worst()), colour));
    text
}

fn of_finding(text: &mut String, finding: &Finding, colour: bool) {
    let word = finding.level.word();
    let gap = " ".repeat(INDENT.saturating_sub(2 + word.len()));
    let _ = write!(text, "  {}{gap}", painted(word, paint(finding.level), colour));
    for (nth, line) in finding.found.lines().enumerate() {
        if nth > 0 {
            text.push_str(&" ".repeat(INDENT));
        }
        wrap(text, &harmless(line), INDENT, INDENT);
    }
    if let Some(remedy) = &finding.remedy {
        text.push_str(&" ".repeat(INDENT));
        wrap(text, &harmless(&format!("→ {remedy}")), INDENT, INDENT + 2);
    }
}

/// Writes words, of which the first stands at column `at`, and further lines from column `indent` on.
fn wrap(text: &mut String, words: &str, at: usize, indent: usize) {
    let mut column = at;
    for (nth, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if nth > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{}", " ".repeat(indent));
            column = indent;
        } else if nth > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::Ok => "32",
        Level::Warning => "33",
        Level::Problem => "31",
    }
}

fn painted(text: &str, paint: &str, colour: bool) -> String {
    if colour { format!("\x1b[{paint}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Paths and names may hold anything: nothing of it is to act on a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Group;
    use super::*;

    fn report() -> Report {
        let long =
            "a finding that has so many words that it cannot stand in a line of its own without an end";
        Report {
            offline: true,
            groups: vec![Group {
                section: "data_directory",
                subject: Some("a/b".to_owned()),
                about: Some("/x\u{1b}[2J".to_owned()),
                findings: vec![
                    Finding::ok("x", "fine\nin two lines"),
                    Finding::warning(
                        "x",
                        long,
                        "do what has to be done, and do not do what has not to be done",
                    ),
                    Finding::problem("x", "/a/path/of/more/than/eighty/columns/".repeat(3), "mend it"),
                ],
            }],
        }
    }

    #[test]
    fn it_stands_in_columns() {
        let path = "/a/path/of/more/than/eighty/columns/".repeat(3);
        let expected = format!(
            "data directory a/b (/x\u{fffd}[2J)\n\
            \u{20} ok       fine\n\
            \u{20}          in two lines\n\
            \u{20} warning  a finding that has so many words that it cannot stand in a line of\n\
            \u{20}          its own without an end\n\
            \u{20}          → do what has to be done, and do not do what has not to be done\n\
            \u{20} problem  {path}\n\
            \u{20}          → mend it\n\
            \n\
            upstreams were left out (--offline)\n\
            \n\
            1 problem, 1 warning\n"
        );
        assert_eq!(of(&report(), false), expected);
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = of(&report(), true);
        assert!(coloured.contains("\x1b[33mwarning\x1b[0m  a finding"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["1", "31", "32", "33", "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(plain, of(&report(), false));
    }
}
