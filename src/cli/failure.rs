//! Errors of commands: one sentence, its causes, and hints about what to do next.

use crate::transport::child::SpawnError;
use std::error::Error;
use std::fmt;

/// Kind of a failure. The discriminant is the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Negative result of a check.
    Check = 1,
    /// Wrong usage or invalid input.
    Usage = 2,
    /// Failure of a peer.
    Peer = 3,
    /// Interruption by the user or a signal: 128 + SIGINT, as in shells.
    Interrupted = 130,
}

/// Error of a command, with hints for the user.
#[derive(Debug)]
pub struct Failure {
    /// Kind of the failure, which decides the exit code.
    pub kind: FailureKind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        let hint = error.hint();
        Self::peer(error).hint(hint)
    }
}

impl Failure {
    /// Creates a failure without hints.
    pub fn new(kind: FailureKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into(), hints: Vec::new() }
    }

    /// Creates a failure because of wrong usage or invalid input.
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureKind::Usage, source)
    }

    /// Creates a failure because of a peer.
    pub fn peer(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureKind::Peer, source)
    }

    /// Adds a hint about what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        self.hints.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}
