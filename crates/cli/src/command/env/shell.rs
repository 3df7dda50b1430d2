//! Environment variables as each shell takes them. Every value is quoted: a token or an address may hold anything.

use std::fmt::Write as _;

use crate::args::Shell;

/// What PowerShell takes for a single quote, besides `'` itself: the typographic ones.
const POWERSHELL_QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];

/// Lines that set variables; for JSON a whole settings.json.
pub(crate) fn lines(variables: &[(&'static str, String)], shell: Shell) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let _ = match shell {
            Shell::Bash => writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''")),
            Shell::Fish => {
                writeln!(text, "set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
            }
            Shell::Powershell => writeln!(text, "$env:{name} = '{}'", doubled(value)),
            Shell::Json => Ok(()),
        };
    }
    if shell == Shell::Json {
        let map: serde_json::Map<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        text = format!("{:#}\n", serde_json::json!({ "env": map }));
    }
    text
}

/// The line that removes variables. There is none for JSON.
pub(crate) fn clear(names: &[&str], shell: Shell) -> Option<String> {
    match shell {
        Shell::Bash => Some(format!("unset {}", names.join(" "))),
        Shell::Fish => Some(format!("set -e {}", names.join(" "))),
        Shell::Powershell => {
            let names: Vec<String> = names.iter().map(|name| format!("Env:{name}")).collect();
            Some(format!("Remove-Item {} -ErrorAction SilentlyContinue", names.join(", ")))
        }
        Shell::Json => None,
    }
}

fn doubled(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if POWERSHELL_QUOTES.contains(&letter) {
            text.push(letter);
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn one(value: &str) -> [(&'static str, String); 1] {
        [("NAME", value.to_owned())]
    }

    /// What fish makes of a quoted word: a backslash counts before a quote and a backslash only.
    fn read_fish(line: &str) -> Option<String> {
        let inside = line.strip_prefix("set -gx NAME '")?.strip_suffix("'\n")?;
        let (mut text, mut letters) = (String::new(), inside.chars().peekable());
        while let Some(letter) = letters.next() {
            match letter {
                '\'' => return None,
                '\\' if matches!(letters.peek(), Some('\'' | '\\')) => text.extend(letters.next()),
                _ => text.push(letter),
            }
        }
        Some(text)
    }

    /// What PowerShell makes of one: two quotes of any kind in a row are the second of them.
    fn read_powershell(line: &str) -> Option<String> {
        let inside = line.strip_prefix("$env:NAME = '")?.strip_suffix("'\n")?;
        let (mut text, mut letters) = (String::new(), inside.chars());
        while let Some(letter) = letters.next() {
            if POWERSHELL_QUOTES.contains(&letter) {
                text.push(letters.next().filter(|next| POWERSHELL_QUOTES.contains(next))?);
            } else {
                text.push(letter);
            }
        }
        Some(text)
    }

    /// What a shell of this machine makes of the lines.
    fn run_shell(shell: &str, value: &str) -> Vec<u8> {
        let script = format!("{}printf %s \"$NAME\"", lines(&one(value), Shell::Bash));
        Command::new(shell).args(["-c", &script]).env_clear().output().unwrap().stdout
    }

    fn nasty() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![
                "[ -~]{0,4}",
                Just("'".to_owned()),
                Just("\\".to_owned()),
                Just("\\'".to_owned()),
                Just("$(id)`id`${HOME}!!%PATH%".to_owned()),
                Just("\n".to_owned()),
                Just("\u{2019}\u{201b}\u{e9}".to_owned()),
                Just("\"; # &|<>*?[]{}~".to_owned()),
            ],
            0..8,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn what_is_quoted_is_read_back(value in nasty()) {
            prop_assert_eq!(run_shell("/bin/sh", &value), value.as_bytes());
            prop_assert_eq!(read_fish(&lines(&one(&value), Shell::Fish)), Some(value.clone()));
            prop_assert_eq!(read_powershell(&lines(&one(&value), Shell::Powershell)), Some(value.clone()));
            let json: serde_json::Value = serde_json::from_str(&lines(&one(&value), Shell::Json)).unwrap();
            prop_assert_eq!(json, serde_json::json!({ "env": { "NAME": value } }));
        }
    }

    #[test]
    fn every_shell_gets_its_own_quoting() {
        for (shell, expected) in [
            (Shell::Bash, "export NAME='a'\\''b\\c'\n"),
            (Shell::Fish, "set -gx NAME 'a\\'b\\\\c'\n"),
            (Shell::Powershell, "$env:NAME = 'a''b\\c'\n"),
        ] {
            assert_eq!(lines(&one(r"a'b\c"), shell), expected);
        }
        assert_eq!(lines(&one("\u{2019}"), Shell::Powershell), "$env:NAME = '\u{2019}\u{2019}'\n");
    }

    #[test]
    fn every_shell_has_a_line_to_undo_it() {
        assert_eq!(clear(&["A", "B"], Shell::Bash).as_deref(), Some("unset A B"));
        assert_eq!(clear(&["A", "B"], Shell::Fish).as_deref(), Some("set -e A B"));
        assert_eq!(
            clear(&["A", "B"], Shell::Powershell).as_deref(),
            Some("Remove-Item Env:A, Env:B -ErrorAction SilentlyContinue")
        );
        assert_eq!(clear(&["A"], Shell::Json), None);
    }
}
