//! The published protocol revisions and the two eras they fall into.

use std::fmt;

/// A published revision of the Model Context Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05.
    V2024_11_05,
    /// 2025-03-26.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25.
    V2025_11_25,
    /// 2026-07-28.
    V2026_07_28,
}

/// An era: the way in which client and server agree on version and capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// Stateful: an `initialize` handshake opens the session (revisions up to 2025-11-25).
    Stateful,
    /// Stateless: every request carries its own `_meta` envelope (from 2026-07-28 on).
    Stateless,
}

impl Revision {
    /// The published revisions, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// The newest revision.
    pub const LATEST: Self = Self::V2026_07_28;
    /// The newest revision that `initialize` can negotiate.
    pub const LATEST_STATEFUL: Self = Self::V2025_11_25;

    /// Returns the revision as spelled on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Returns the revision that `text` names, if it is published.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// Returns the era that the revision belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Stateless,
            _ => Era::Stateful,
        }
    }
}

impl Era {
    /// Returns the era of a version text. Revisions are dates, so that a revision that is not published
    /// yet can be assigned too.
    pub fn of_version(version: &str) -> Self {
        match Revision::parse(version) {
            Some(revision) => revision.era(),
            None if version >= Revision::V2026_07_28.as_str() => Self::Stateless,
            None => Self::Stateful,
        }
    }

    /// Returns the word of the query language and the command line: `2025` or `2026`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stateful => "2025",
            Self::Stateless => "2026",
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fall_into_their_era() {
        assert_eq!(Era::of_version("2025-11-25"), Era::Stateful);
        assert_eq!(Era::of_version("2026-07-28"), Era::Stateless);
        assert_eq!(Era::of_version("2027-01-01"), Era::Stateless);
        assert_eq!(Era::of_version("2024-10-07"), Era::Stateful);
        assert!(Revision::ALL.is_sorted());
    }
}
