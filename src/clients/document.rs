//! Configuration file of a client, and the servers in it with their places in its text.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::entry::{ConfigSyntaxError, ServerEntry};
use super::known::{ConfigFile, ConfigFormat};
use super::{json, toml};

/// Configuration file that was read.
#[derive(Debug, Clone)]
pub struct Document {
    /// Path of the file.
    pub path: PathBuf,
    /// Contents of the file.
    pub text: String,
    /// Format of the file.
    pub form: ConfigFormat,
    /// Servers in the file.
    pub entries: Vec<ServerEntry>,
}

/// Error that makes a configuration file unusable.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("read {}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is malformed.
    #[error("{}:{line}:{column}: {what}; the file was not changed", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error in characters, from 1.
        column: usize,
        /// Description of the error.
        what: String,
    },
}

impl Document {
    /// Reads a configuration file of a client.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is malformed; the error has line and column.
    pub fn read(place: &ConfigFile) -> Result<Self, DocumentError> {
        let bytes =
            fs::read(&place.path).map_err(|source| DocumentError::Io { path: place.path.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            malformed(&place.path, &before, ConfigSyntaxError { at: valid, what: "it is not UTF-8".into() })
        })?;
        Self::parse(place, text)
    }

    /// Finds the servers in the text of a configuration file.
    ///
    /// # Errors
    /// Fails if the text is malformed; the error has line and column.
    pub fn parse(place: &ConfigFile, text: String) -> Result<Self, DocumentError> {
        let form = place.client.form;
        let entries = match form {
            ConfigFormat::Json => json::entries(&text, place.client.servers),
            ConfigFormat::Toml => toml::entries(&text, place.client.servers),
        };
        let entries = entries.map_err(|flaw| malformed(&place.path, &text, flaw))?;
        Ok(Self { path: place.path.clone(), text, form, entries })
    }
}

fn malformed(path: &Path, text: &str, ConfigSyntaxError { at, what }: ConfigSyntaxError) -> DocumentError {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    DocumentError::Malformed { path: path.to_owned(), line, column, what }
}
