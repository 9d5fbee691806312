//! Tokens on disk: one file per issuer, readable only by its owner. Credentials of one
//! authorization server are never sent to another (2026-07-28, client registration).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LoginError;
use super::registration::Registration;

/// A directory of token files.
#[derive(Debug, Clone)]
pub struct TokenStore {
    directory: PathBuf,
}

/// Content of the file of one issuer.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    issuer: String,
    /// Tokens by the resource that they are for.
    #[serde(default)]
    tokens: BTreeMap<String, Tokens>,
}

/// Tokens for one resource. `Debug` omits the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Access token.
    pub access: String,
    /// Refresh token, if the server issued one.
    #[serde(default)]
    pub refresh: Option<String>,
    /// Time from which on the access token is renewed, in microseconds since the Unix epoch; `None`
    /// if the server did not state its lifetime.
    #[serde(default)]
    pub renew: Option<u64>,
    /// Granted scopes, separated by spaces; `None` if unknown.
    #[serde(default)]
    pub scope: Option<String>,
    /// Client that the tokens were issued to.
    pub registration: Registration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("renew", &self.renew)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl TokenStore {
    /// Opens the store in `directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`LoginError::Store`] if it cannot be written, is a link, or belongs to another user.
    pub fn open(directory: PathBuf) -> Result<Self, LoginError> {
        let store = Self { directory };
        store.prepare().map_err(|source| store.error(&store.directory, &source))?;
        Ok(store)
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let found = fs::symlink_metadata(&self.directory)?;
        if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("not a directory of this user"));
        }
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        let probe = self.directory.join(format!("{}.new", uuid::Uuid::new_v4().simple()));
        File::create_new(&probe)?;
        fs::remove_file(probe)
    }

    /// Returns the tokens of `issuer` for `resource`; `None` if there are none, or if the file
    /// cannot be read.
    pub fn tokens(&self, issuer: &str, resource: &str) -> Option<Tokens> {
        self.load(issuer).tokens.remove(resource)
    }

    /// Saves the tokens of `issuer` for `resource`, beside those for other resources.
    ///
    /// # Errors
    /// [`LoginError::Store`] if the file cannot be written.
    pub fn keep(&self, issuer: &str, resource: &str, tokens: &Tokens) -> Result<(), LoginError> {
        let mut kept = self.load(issuer);
        kept.tokens.insert(resource.to_owned(), tokens.clone());
        let path = self.path(issuer, "json");
        let written = serde_json::to_vec_pretty(&kept).map_err(io::Error::from);
        written.and_then(|text| self.write(&path, &text)).map_err(|source| self.error(&path, &source))
    }

    /// Locks the tokens of `issuer` against renewal by other processes, until the lock is dropped.
    /// Waits for the lock without a time limit.
    ///
    /// # Errors
    /// [`LoginError::Store`] if the lock file cannot be opened or locked.
    pub async fn lock(&self, issuer: &str) -> Result<Flock<File>, LoginError> {
        let path = self.path(issuer, "lock");
        let (store, locking) = (self.clone(), path.clone());
        let locked = tokio::task::spawn_blocking(move || {
            let file =
                OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&locking)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| io::Error::from(error))
        });
        let locked = locked.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        locked.map_err(|source| store.error(&path, &source))
    }

    /// Writes `text`, an address that a person is to open, to the file at [`TokenStore::note_path`], for
    /// use without a terminal.
    ///
    /// # Errors
    /// [`LoginError::Store`] if the file cannot be written.
    pub fn note(&self, text: &str) -> Result<(), LoginError> {
        let path = self.note_path();
        self.write(&path, text.as_bytes()).map_err(|source| self.error(&path, &source))
    }

    /// Returns the path of the file that [`TokenStore::note`] writes.
    pub fn note_path(&self) -> PathBuf {
        self.directory.join("open-this-address")
    }

    fn load(&self, issuer: &str) -> Kept {
        let fresh = || Kept { issuer: issuer.to_owned(), ..Kept::default() };
        let Ok(text) = fs::read(self.path(issuer, "json")) else { return fresh() };
        match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) if kept.issuer == issuer => kept,
            _ => fresh(),
        }
    }

    /// Replaces a file atomically, so that a reader finds either the old or the new content.
    fn write(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let beside = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        })();
        if written.is_err() {
            // Remove the incomplete file; ignore the error if there is none.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn path(&self, issuer: &str, ending: &str) -> PathBuf {
        let hash = Sha256::digest(issuer.as_bytes());
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}.{ending}"))
    }

    fn error(&self, path: &Path, source: &io::Error) -> LoginError {
        LoginError::Store { path: path.display().to_string(), why: source.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(access: &str) -> Tokens {
        let registration = Registration {
            client_id: "me".into(),
            client_secret: None,
            token_endpoint_auth_method: "none".into(),
            redirect_uri: "http://127.0.0.1:1/callback".into(),
        };
        Tokens { access: access.into(), refresh: Some("r".into()), renew: Some(7), scope: None, registration }
    }

    #[test]
    fn what_is_kept_of_one_issuer_is_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = TokenStore::open(place.path().join("oauth")).unwrap();
        store.keep("https://a.example", "https://r.example/mcp", &tokens("a")).unwrap();
        store.keep("https://a.example", "https://other.example/mcp", &tokens("b")).unwrap();
        assert_eq!(store.tokens("https://a.example", "https://r.example/mcp"), Some(tokens("a")));
        assert_eq!(store.tokens("https://b.example", "https://r.example/mcp"), None);
        let files: Vec<_> = fs::read_dir(place.path().join("oauth")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files[0].path()), 0o600);
        assert_eq!(mode(&place.path().join("oauth")), 0o700);
        assert!(!format!("{:?}", tokens("hush")).contains("hush"), "nothing prints a token");
        fs::write(files[0].path(), "{oops").unwrap();
        assert_eq!(store.tokens("https://a.example", "https://r.example/mcp"), None);
    }

    #[test]
    fn a_directory_that_someone_else_prepared_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(place.path(), place.path().join("oauth")).unwrap();
        assert!(matches!(TokenStore::open(place.path().join("oauth")), Err(LoginError::Store { .. })));
    }
}
