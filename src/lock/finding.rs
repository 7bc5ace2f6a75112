//! What a backend finds when it looks at itself: how far its locks can be trusted, and what to do about it.

/// One thing that was looked at. The three texts are sentences in the voice of all messages: lower case, no full stop,
/// passwords masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The same word for the same check, whatever comes of it.
    pub check: &'static str,
    pub grade: Grade,
    /// What is the case, and where.
    pub what: String,
    /// What that means for a lock; empty where all is well.
    pub why: String,
    /// Empty where there is nothing to do.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Ok,
    /// Locks work; what can break them, or who cannot use them, is said.
    Warning,
    /// Locks do not work here, or two may hold one at once.
    Failed,
}

impl Finding {
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, what: what.into(), why: String::new(), advice: String::new() }
    }

    pub fn warning(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, grade: Grade::Warning, what: what.into(), why: why.into(), advice: advice.into() }
    }

    pub fn failed(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { grade: Grade::Failed, ..Self::warning(check, what, why, advice) }
    }
}
