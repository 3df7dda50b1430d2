//! Globs of `models` and `paths`: `*` stands for any run of characters, `?` for one; everything else is itself.

/// Whether `pattern` matches all of `text`.
///
/// Linear in practice and never worse than `pattern × text`: a mismatch goes back to the last `*` only.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether any of the globs matches; no globs at all match everything.
pub fn admits(globs: &[String], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| matches(glob, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        assert!(matches("claude-*", "claude-opus-4-8"));
        assert!(matches("*opus*", "claude-opus-4-8"));
        assert!(matches("/v1/files/*", "/v1/files/a/b"));
        assert!(matches("claude-?-1", "claude-x-1"));
        assert!(matches("**", ""));
        assert!(!matches("", "a"));
        assert!(!matches("claude-?-1", "claude-xy-1"));
        assert!(!matches("*a*b", "ab-c"));
        assert!(matches("*a*b", "aab-cb"));
    }

    #[test]
    fn no_globs_admit_everything() {
        assert!(admits(&[], "anything"));
        assert!(!admits(&["claude-opus*".to_owned()], "claude-haiku"));
    }
}
