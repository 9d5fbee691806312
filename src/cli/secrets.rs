//! Options that name secrets, for every command that leaves secrets out.

use clap::Args;

use super::failure::Failure;
use crate::tape::redact::Redactor;

/// Secrets to redact beside those that are recognised by their form or name.
#[derive(Debug, Clone, Default, Args)]
pub struct Secrets {
    /// Also redact members and headers of this name, in upper or lower case.
    #[arg(long, value_name = "NAME")]
    redact_key: Vec<String>,
    /// Also redact what this JSONPath selects in a message, e.g. $.params.arguments.user.
    #[arg(long, value_name = "PATH", value_parser = path)]
    redact_path: Vec<String>,
    /// Also redact what this regular expression matches in any text.
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    redact_pattern: Vec<String>,
}

fn path(text: &str) -> Result<String, String> {
    Redactor::new(&[], &[text.to_owned()], &[]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn pattern(text: &str) -> Result<String, String> {
    Redactor::new(&[], &[], &[text.to_owned()]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl Secrets {
    /// Returns `true` if the options name any secret.
    pub fn is_asked(&self) -> bool {
        !self.redact_key.is_empty() || !self.redact_path.is_empty() || !self.redact_pattern.is_empty()
    }

    /// Creates the redactor of the named secrets and of those that are recognised.
    ///
    /// # Errors
    /// Fails if a path or a pattern is invalid.
    pub fn redactor(&self) -> Result<Redactor, Failure> {
        Redactor::new(&self.redact_key, &self.redact_path, &self.redact_pattern).map_err(Failure::usage)
    }
}
