//! What is a secret: the options of everything that leaves secrets out.

use clap::Args;

use super::failure::Failure;
use crate::tape::redact::Redactor;

/// What is a secret, beside what tells by itself.
#[derive(Debug, Clone, Default, Args)]
pub struct Secrets {
    /// Also redact members and headers of this name, whatever their case.
    #[arg(long, value_name = "NAME")]
    redact_key: Vec<String>,
    /// Also redact what this JSONPath reaches in a message, e.g. $.params.arguments.user.
    #[arg(long, value_name = "PATH", value_parser = path)]
    redact_path: Vec<String>,
    /// Also redact what this regular expression finds in any text.
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
    /// Whether anything is named.
    pub fn is_asked(&self) -> bool {
        !self.redact_key.is_empty() || !self.redact_path.is_empty() || !self.redact_pattern.is_empty()
    }

    /// What finds and replaces them.
    pub fn redactor(&self) -> Result<Redactor, Failure> {
        Redactor::new(&self.redact_key, &self.redact_path, &self.redact_pattern).map_err(Failure::usage)
    }
}
