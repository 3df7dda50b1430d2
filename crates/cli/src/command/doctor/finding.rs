//! What was found, and what to do about it.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, but something is to be known.
    Warning,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its name for programs, which stays the same: `part.thing`.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) level: Level,
    /// What was found. Never a secret.
    pub(super) found: String,
    /// What to do about it; `None` only where nothing needs to be done.
    pub(super) remedy: Option<String>,
}

/// Findings about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// What kind of thing, for programs: `configuration`, `data_directory`, `login`, `upstream` or `machine`.
    pub(super) section: &'static str,
    /// Which one, where there are several.
    pub(super) subject: Option<String>,
    /// The title for a person, behind section and subject.
    pub(super) about: Option<String>,
    /// What was found, in the order of looking.
    pub(super) findings: Vec<Finding>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether nothing beyond this machine was looked at.
    pub(super) offline: bool,
    /// The groups.
    pub(super) groups: Vec<Group>,
}

// === impl Level ===

impl Level {
    /// The word for programs and people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

// === impl Finding ===

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn problem(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, found: found.into(), remedy: Some(remedy.into()) }
    }
}

// === impl Report ===

impl Report {
    /// How many findings have this level.
    pub(super) fn count(&self, level: Level) -> usize {
        self.groups.iter().flat_map(|group| &group.findings).filter(|finding| finding.level == level).count()
    }

    /// The worst level of all findings.
    pub(super) fn worst(&self) -> Level {
        let levels = self.groups.iter().flat_map(|group| &group.findings).map(|finding| finding.level);
        levels.max().unwrap_or(Level::Ok)
    }
}
