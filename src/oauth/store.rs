//! Tokens on disk: one file for each issuer, readable by its owner alone. Credentials of one
//! authorization server are never sent to another (2026-07-28, client registration).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LoginError;
use super::registration::Registration;

/// A directory of tokens.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// What is kept of one issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub issuer: String,
    #[serde(default)]
    pub registration: Option<Registration>,
    /// Tokens by what they are for.
    #[serde(default)]
    pub tokens: BTreeMap<String, Tokens>,
}

/// The tokens for one resource.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub access: String,
    #[serde(default)]
    pub refresh: Option<String>,
    /// Microseconds since 1970 from which on the access token is to be renewed; none where the server
    /// did not say how long it lives.
    #[serde(default)]
    pub renew: Option<u64>,
    #[serde(default)]
    pub scope: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("renew", &self.renew)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What is kept of `issuer`; nothing where there is nothing, or nothing that can be read.
    pub fn load(&self, issuer: &str) -> Kept {
        let fresh = || Kept { issuer: issuer.to_owned(), ..Kept::default() };
        let Ok(text) = fs::read(self.path(issuer)) else { return fresh() };
        match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) if kept.issuer == issuer => kept,
            _ => fresh(),
        }
    }

    /// Keeps `kept` in the place of what was kept of its issuer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, kept: &Kept) -> Result<(), LoginError> {
        let path = self.path(&kept.issuer);
        self.write(&path, kept)
            .map_err(|source| LoginError::Store { path: path.display().to_string(), source })
    }

    fn write(&self, path: &Path, kept: &Kept) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        let text = serde_json::to_vec_pretty(kept)?;
        // Beside it and then in its place, so that a reader finds the one or the other whole.
        let beside = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        })();
        if written.is_err() {
            // What could not be written need not stay.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn path(&self, issuer: &str) -> PathBuf {
        let hash = Sha256::digest(issuer.as_bytes());
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_one_issuer_is_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path().join("oauth"));
        let tokens = Tokens { access: "a".into(), refresh: Some("r".into()), renew: Some(7), scope: None };
        let kept = Kept {
            issuer: "https://a.example".into(),
            tokens: BTreeMap::from([("https://r.example/mcp".to_owned(), tokens)]),
            ..Kept::default()
        };
        store.save(&kept).unwrap();
        store.save(&kept).unwrap();
        assert_eq!(store.load("https://a.example"), kept);
        assert_eq!(store.load("https://b.example").tokens.len(), 0);
        let files: Vec<_> = fs::read_dir(place.path().join("oauth")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files[0].path()), 0o600);
        assert_eq!(mode(&place.path().join("oauth")), 0o700);
        assert!(!format!("{kept:?}").contains("\"r\""), "nothing prints a token");
        fs::write(files[0].path(), "{oops").unwrap();
        assert_eq!(store.load("https://a.example").tokens.len(), 0);
    }
}
