//! What stood in a file before we did, and writing files so that they are always whole.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::Entry;

/// What is remembered of one configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Store {
    #[serde(skip)]
    path: PathBuf,
    /// The file that this is of.
    file: PathBuf,
    /// What stood in the place of an entry before it was wrapped, and what stands there since.
    entries: BTreeMap<String, (String, String)>,
}

/// Why something could not be kept or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} was changed by somebody else just now", path.display())]
    Changed { path: PathBuf },
}

impl Store {
    /// What is remembered of `file` in the directory `data`.
    pub fn of(data: &Path, file: &Path) -> Self {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let hash = Sha256::digest(file.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = data.join("wrapped").join(format!("{name}.json"));
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        Self { path, ..known.unwrap_or(Self { file, ..Self::default() }) }
    }

    /// What stood in the place of `entry` before, and what stands there since.
    pub fn get(&self, entry: &Entry) -> Option<(&str, &str)> {
        self.entries.get(&key(entry)).map(|(before, after)| (before.as_str(), after.as_str()))
    }

    /// Remembers what an entry was, and a copy of the file as it was before we changed anything in it.
    ///
    /// # Errors
    /// When it cannot be written: then nothing is to be changed.
    pub fn remember(&mut self, entry: &Entry, before: String, after: String) -> Result<(), StoreError> {
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

    /// Forgets an entry that is as it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&mut self, entry: &Entry) -> Result<(), StoreError> {
        match self.entries.remove(&key(entry)) {
            Some(_) => self.save(),
            None => Ok(()),
        }
    }

    fn save(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        // Settings have secrets in them.
        replace(&self.path, &text, Permissions::from_mode(0o600)).map_err(failed)
    }
}

fn key(entry: &Entry) -> String {
    entry.path.iter().chain([&entry.server]).cloned().collect::<Vec<_>>().join("\u{1f}")
}

/// Writes a configuration file at once, through links, with the mode that it had. `before` is what it
/// held when it was read.
///
/// # Errors
/// When it is read-only, was changed meanwhile, or cannot be written; then it is as it was.
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
