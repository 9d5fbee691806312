//! Store of the texts that stood in configuration files before wrapping, and atomic writes of those
//! files.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::ServerEntry;

/// Texts that are remembered for one configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Originals {
    #[serde(skip)]
    path: PathBuf,
    /// Canonical path of the configuration file.
    file: PathBuf,
    /// Texts of each entry, before it was wrapped and after.
    entries: BTreeMap<String, (String, String)>,
}

/// Error of writing the store or a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The configuration file is read-only.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// Path of the file.
        path: PathBuf,
    },
    /// The configuration file was changed after it was read.
    #[error("{} was changed by another program meanwhile", path.display())]
    Changed {
        /// Path of the file.
        path: PathBuf,
    },
}

impl Originals {
    /// Opens the store for `file` in the first of the directories `data` that has one, or else in the first. A
    /// missing or unreadable store is empty.
    pub fn of(data: &[PathBuf], file: &Path) -> Self {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let hash = Sha256::digest(file.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let paths = data.iter().map(|data| data.join("wrapped").join(format!("{name}.json")));
        let path =
            paths.clone().find(|path| path.exists()).or_else(|| paths.clone().next()).unwrap_or_default();
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        Self { path, ..known.unwrap_or(Self { file, ..Self::default() }) }
    }

    /// Returns the text of `entry` before it was wrapped, and after.
    pub fn get(&self, entry: &ServerEntry) -> Option<(&str, &str)> {
        self.entries.get(&key(entry)).map(|(before, after)| (before.as_str(), after.as_str()))
    }

    /// Remembers the text of an entry before and after wrapping, and with the first entry a copy of
    /// the file as it was.
    ///
    /// # Errors
    /// Fails if the store cannot be written; then the configuration file must not be changed.
    pub fn remember(&mut self, entry: &ServerEntry, before: String, after: String) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: self.path.clone(), source };
        if let Some(directory) = self.path.parent() {
            crate::tape::writer::create_private_directory(directory).map_err(failed)?;
        }
        let copy = self.path.with_extension("first");
        if self.entries.is_empty() {
            let text = fs::read(&self.file).map_err(failed)?;
            replace(&copy, &text, Permissions::from_mode(0o600)).map_err(failed)?;
        }
        self.entries.insert(key(entry), (before, after));
        self.save()
    }

    /// Forgets an entry that was unwrapped.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn forget(&mut self, entry: &ServerEntry) -> Result<(), StoreError> {
        match self.entries.remove(&key(entry)) {
            Some(_) => self.save(),
            None => Ok(()),
        }
    }

    fn save(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        // Settings may have secrets in them: only the user may read the store.
        replace(&self.path, &text, Permissions::from_mode(0o600)).map_err(failed)
    }
}

fn key(entry: &ServerEntry) -> String {
    entry.path.iter().chain([&entry.server]).cloned().collect::<Vec<_>>().join("\u{1f}")
}

/// Writes a configuration file atomically, through symbolic links, with the mode that it had.
/// `before` is the text that was read.
///
/// # Errors
/// Fails if the file is read-only, was changed meanwhile, or cannot be written; then its text is
/// unchanged.
pub fn write(path: &Path, before: &str, text: &str) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), source };
    let real = fs::canonicalize(path).map_err(failed)?;
    let permissions = fs::metadata(&real).map_err(failed)?.permissions();
    if permissions.readonly() {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    if fs::read(&real).map_err(failed)? != before.as_bytes() {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    replace(&real, text.as_bytes(), permissions).map_err(failed)
}

fn replace(path: &Path, text: &[u8], permissions: Permissions) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
