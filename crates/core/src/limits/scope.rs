//! What a scoped limit is about.

use std::fmt;
use std::sync::Arc;

/// Longest name of a bucket or limit, in bytes.
pub const MAX_NAME: usize = 64;

/// Longest model name that is remembered, in bytes.
pub const MAX_MODEL: usize = 256;

/// A limit that binds some models only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitScope {
    /// Claude: the weekly window of a model family, by its bucket: `opus`, `sonnet`, `oi` (fact sheet
    /// `claude-code.md`, 4).
    Family(Arc<str>),
    /// Codex: an additional limit, by its id, `_` for `-` (fact sheet `codex.md`, 5). Which models it binds is not
    /// said; those count that were refused under it.
    Limit(Arc<str>),
    /// One model.
    Model(Arc<str>),
}

impl LimitScope {
    /// The family of a bucket; `None` if the name is not fit to be one.
    pub fn family(bucket: &str) -> Option<Self> {
        name(bucket).map(Self::Family)
    }

    /// The limit of an id; `None` if the name is not fit to be one.
    pub fn limit(id: &str) -> Option<Self> {
        name(id).map(Self::Limit)
    }

    /// A model on its own; `None` if the name is empty or longer than [`MAX_MODEL`].
    pub fn model(model: &str) -> Option<Self> {
        (1..=MAX_MODEL).contains(&model.len()).then(|| Self::Model(model.into()))
    }

    /// Whether its name alone says that it binds a model: families bind those that contain their name, and the
    /// bucket `oi` (included overage) is what Fable is metered on.
    pub fn binds_by_name(&self, model: &str) -> bool {
        match self {
            Self::Family(bucket) => {
                let word = if bucket.as_ref() == "oi" { "fable" } else { bucket };
                model.to_ascii_lowercase().contains(word)
            }
            Self::Limit(_) => false,
            Self::Model(name) => name.as_ref() == model,
        }
    }
}

impl fmt::Display for LimitScope {
    /// As in logs and metrics: `7d_opus`, `codex_bengalfox`, `model claude-x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(bucket) => write!(f, "7d_{bucket}"),
            Self::Limit(id) => f.write_str(id),
            Self::Model(model) => write!(f, "model {model}"),
        }
    }
}

/// Names come from outside and end in metrics and logs: letters, digits and `_` only, in lower case, `-` as `_`.
fn name(text: &str) -> Option<Arc<str>> {
    let fits = (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    fits.then(|| text.to_ascii_lowercase().replace('-', "_").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_bind_by_name() {
        let opus = LimitScope::family("opus").unwrap();
        assert!(opus.binds_by_name("claude-opus-4-8") && opus.binds_by_name("Claude-Opus-5"));
        assert!(!opus.binds_by_name("claude-sonnet-5"));
        let included = LimitScope::family("oi").unwrap();
        assert!(included.binds_by_name("claude-fable-1") && !included.binds_by_name("oi"));
        assert!(LimitScope::family("sonnet").unwrap().binds_by_name("claude-sonnet-5"));
        assert!(!LimitScope::limit("codex-bengalfox").unwrap().binds_by_name("codex_bengalfox"));
        assert!(LimitScope::model("gpt-5.5").unwrap().binds_by_name("gpt-5.5"));
        assert!(!LimitScope::model("gpt-5.5").unwrap().binds_by_name("gpt-5.5-mini"));
    }

    #[test]
    fn names_are_fit_for_a_metric() {
        assert_eq!(LimitScope::limit("Codex-Bengalfox").unwrap().to_string(), "codex_bengalfox");
        assert_eq!(LimitScope::family("opus").unwrap().to_string(), "7d_opus");
        for bad in ["", "a b", "a\n", "ä", "a/b", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(LimitScope::limit(bad), None, "{bad:?}");
            assert_eq!(LimitScope::family(bad), None, "{bad:?}");
        }
        assert_eq!(LimitScope::model(""), None);
        assert_eq!(LimitScope::model(&"x".repeat(MAX_MODEL + 1)), None);
    }
}
