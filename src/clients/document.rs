//! A configuration file, and the servers in it with their places in its text.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::entry::{Entry, Flaw};
use super::known::{ConfigFile, Form};
use super::{json, toml};

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Document {
    pub path: PathBuf,
    pub text: String,
    pub form: Form,
    pub entries: Vec<Entry>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: {what}; it was left alone", path.display())]
    Malformed { path: PathBuf, line: usize, column: usize, what: String },
}

impl Document {
    /// Reads the file of a client.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it should be: line and column say where.
    pub fn read(place: &ConfigFile) -> Result<Self, DocumentError> {
        let bytes =
            fs::read(&place.path).map_err(|source| DocumentError::Io { path: place.path.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            malformed(&place.path, &before, Flaw { at: valid, what: "it is not UTF-8".into() })
        })?;
        Self::parse(place, text)
    }

    /// The servers of a text.
    ///
    /// # Errors
    /// When it is not what it should be.
    pub fn parse(place: &ConfigFile, text: String) -> Result<Self, DocumentError> {
        let form = place.client.form;
        let entries = match form {
            Form::Json => json::entries(&text, place.client.servers),
            Form::Toml => toml::entries(&text, place.client.servers),
        };
        let entries = entries.map_err(|flaw| malformed(&place.path, &text, flaw))?;
        Ok(Self { path: place.path.clone(), text, form, entries })
    }
}

fn malformed(path: &Path, text: &str, Flaw { at, what }: Flaw) -> DocumentError {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    DocumentError::Malformed { path: path.to_owned(), line, column, what }
}
