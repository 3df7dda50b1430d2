//! Secrets that are recognised wherever they turn up, whole or in part.

use std::collections::HashMap;

/// How many characters of a secret in a row count as a leak.
pub const LEAK_FROM: usize = 8;

/// Length of the random part: 62³² values, and no eight characters of it occur by chance.
const RANDOM_LEN: usize = 32;

/// A unique secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    label: String,
    token: String,
    random: String,
}

impl Canary {
    /// A secret of the form `canary-LABEL-RANDOM`.
    pub fn new(label: &str) -> Self {
        Self::with_prefix("", label)
    }

    /// A secret of the form `PREFIXcanary-LABEL-RANDOM`, for readers that want to see `sk-ant-oat01-`.
    pub fn with_prefix(prefix: &str, label: &str) -> Self {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM_LEN).collect();
        Self { label: label.to_owned(), token: format!("{prefix}canary-{label}-{random}"), random }
    }

    /// What it was made for.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The secret.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The part that occurs nowhere else.
    pub fn random(&self) -> &str {
        &self.random
    }
}

/// Where a secret turned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The label of the canary.
    pub label: String,
    /// Whether all of its random part is there.
    pub whole: bool,
    /// Where in the output the leaked characters start.
    pub at: usize,
    /// How many characters of the random part are there in a row.
    pub len: usize,
}

/// Finds every run of [`LEAK_FROM`] or more characters of a canary's random part: a whole token is one such
/// run. In the order in which they are in `output`.
pub fn find_leaks(output: &[u8], canaries: &[Canary]) -> Vec<Leak> {
    let mut windows: HashMap<&[u8], Vec<(usize, usize)>> = HashMap::new();
    for (index, canary) in canaries.iter().enumerate() {
        for (at, window) in canary.random.as_bytes().windows(LEAK_FROM).enumerate() {
            windows.entry(window).or_default().push((index, at));
        }
    }
    let mut leaks = Vec::new();
    // Where the leak found last ends, for each canary: the windows inside it are not leaks of their own.
    let mut ends = vec![0; canaries.len()];
    for (at, window) in output.windows(LEAK_FROM).enumerate() {
        for &(index, from) in windows.get(window).into_iter().flatten() {
            let (Some(canary), Some(end)) = (canaries.get(index), ends.get_mut(index)) else { continue };
            if at + LEAK_FROM <= *end {
                continue;
            }
            let secret = canary.random.as_bytes().iter().skip(from);
            let len = output.iter().skip(at).zip(secret).take_while(|(a, b)| a == b).count();
            *end = at + len;
            leaks.push(Leak { label: canary.label.clone(), whole: len == RANDOM_LEN, at, len });
        }
    }
    leaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_tokens_and_parts_are_found() {
        let (a, b) = (Canary::with_prefix("sk-ant-oat01-", "a"), Canary::new("b"));
        let both = [a.clone(), b.clone()];
        let output = format!("x {} y {} z {}", a.token(), &b.random()[5..13], &b.random()[..7]);
        let leaks = find_leaks(output.as_bytes(), &both);
        assert_eq!(leaks.len(), 2, "{leaks:?}");
        assert!(leaks[0].whole && leaks[0].label == "a" && leaks[0].len == 32);
        assert!(!leaks[1].whole && leaks[1].label == "b" && leaks[1].len == 8);
        assert_eq!(&output[leaks[1].at..leaks[1].at + 8], &b.random()[5..13]);
    }

    #[test]
    fn the_visible_marker_alone_is_no_leak() {
        let canary = Canary::new("user-token");
        assert!(canary.token().starts_with("canary-user-token-"));
        assert!(find_leaks(b"canary-user-token-\xe2\x80\xa6", &[canary]).is_empty());
        assert!(find_leaks(b"", &[Canary::new("x")]).is_empty());
    }

    #[test]
    fn two_occurrences_are_two_leaks() {
        let canary = Canary::new("twice");
        let output = [canary.token(), canary.token()].concat();
        assert_eq!(find_leaks(output.as_bytes(), &[canary]).len(), 2);
    }
}
