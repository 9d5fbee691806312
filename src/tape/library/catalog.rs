//! Index of the library: a SQLite database beside the tapes. It is a cache: all of its content
//! comes from the files, and it is rebuilt when it is missing, broken or of another version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::entry::ListedTape;
use super::{directories, is_recorded};
use crate::places;
use crate::tape::{files, part};

/// Version of the table; a database of another version is rebuilt.
const VERSION: i64 = 3;
/// Time limit of a writer for waiting for another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Search criteria for tapes. A tape must match all that are given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Text in the name, the file name, the target, the tags, or the names that server and client
    /// report.
    pub text: Option<String>,
    /// Text in the name of the tape, or in the name that the server reports.
    pub server: Option<String>,
    /// Transport: `http` or `stdio`.
    pub transport: Option<String>,
    /// Protocol era.
    pub era: Option<String>,
    /// Earliest start, in microseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Latest start, in microseconds since the Unix epoch.
    pub until: Option<u64>,
    /// Minimum duration.
    pub longer: Option<Duration>,
    /// Minimum size in bytes.
    pub bytes: Option<u64>,
    /// Minimum number of frames.
    pub frames: Option<u64>,
    /// Minimum number of errors.
    pub errors: Option<u64>,
    /// Tag that the tape has.
    pub tag: Option<String>,
}

/// Error of the library's index.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A database operation failed.
    #[error("library index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The user has no home directory, and no data directory is set.
    #[error("this user has no home directory; set SHADOWCAT_DATA_DIR")]
    Homeless,
}

impl CatalogError {
    /// Returns `true` if the database itself is damaged, rather than busy or out of reach.
    fn is_broken(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SchemaChanged, TypeMismatch, Unknown};
        matches!(
            self,
            // SQLite reports a missing table or column as `Unknown`.
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _))
                if matches!(error.code, DatabaseCorrupt | NotADatabase | SchemaChanged | TypeMismatch | Unknown)
        ) || matches!(
            self,
            Self::Sqlite(rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::SqlInputError { .. })
        )
    }
}

/// An open index of the library.
pub struct Catalog(Connection);

impl Catalog {
    /// Opens the index and updates it from the files. A broken index is rebuilt; one that cannot be
    /// opened is replaced by a temporary one in memory. `progress` is called with the number of
    /// tapes read and their total.
    ///
    /// # Errors
    /// Returns [`CatalogError::Homeless`] if there is no data directory, or an error if not even an
    /// index in memory can be made.
    pub fn open(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::open_of(progress, &|_| true)
    }

    /// Opens the index like [`Catalog::open`], for callers that poll: a tape that is being recorded
    /// is not read each time that it has grown, and keeps the entry that it has.
    ///
    /// # Errors
    /// Returns the errors of [`Catalog::open`].
    pub fn open_settled(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::open_of(progress, &|path| !is_recorded(path))
    }

    fn open_of(
        progress: &mut dyn FnMut(u64, u64),
        wants: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, CatalogError> {
        let data = places::data().into_iter().next().ok_or(CatalogError::Homeless)?;
        let mut on_disk = || -> Result<Self, CatalogError> {
            crate::tape::writer::create_private_directory(&data)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            let mut catalog = Self::at(&Self::path(&data))?;
            catalog.refresh(&mut *progress, wants)?;
            Ok(catalog)
        };
        let opened = on_disk().or_else(|error| match error.is_broken() {
            true => {
                Self::remove(&data);
                on_disk()
            }
            false => Err(error),
        });
        match opened {
            Ok(catalog) => Ok(catalog),
            Err(error) => {
                tracing::warn!("{error}; the files are read instead");
                let mut catalog = Self::on(Connection::open_in_memory()?)?;
                catalog.refresh(progress, wants)?;
                Ok(catalog)
            }
        }
    }

    /// Deletes the index and makes it anew from the files.
    ///
    /// # Errors
    /// Returns the errors of [`Catalog::open`].
    pub fn rebuild(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::remove(&places::data().into_iter().next().ok_or(CatalogError::Homeless)?);
        Self::open(progress)
    }

    fn remove(data: &Path) {
        for ending in ["", "-wal", "-shm"] {
            // The file may not exist; ignore the error.
            let _ = fs::remove_file(format!("{}{ending}", Self::path(data).display()));
        }
    }

    fn path(data: &Path) -> PathBuf {
        data.join("library.db")
    }

    fn at(path: &Path) -> Result<Self, CatalogError> {
        let catalog = Connection::open(path).map_err(CatalogError::from).and_then(Self::on);
        if catalog.is_ok() {
            // The index contains names of tools and files: only its owner may read it.
            let _ = fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600));
        }
        catalog
    }

    fn on(connection: Connection) -> Result<Self, CatalogError> {
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 DROP TABLE IF EXISTS tapes;
                 CREATE TABLE tapes (
                     path TEXT PRIMARY KEY, id TEXT, name TEXT, target TEXT, transport TEXT, era TEXT,
                     server TEXT, client TEXT, started INTEGER, duration INTEGER, bytes INTEGER,
                     frames INTEGER, errors INTEGER, sealed INTEGER, modified INTEGER, tags TEXT,
                     kept INTEGER, stamp TEXT, file TEXT, failure TEXT
                 );
                 CREATE INDEX tapes_started ON tapes (started);
                 PRAGMA user_version = {VERSION};
                 COMMIT;"
            ))?;
        }
        Ok(Self(connection))
    }

    /// Updates the index from the files that have changed since, among those that `wants` accepts,
    /// and removes deleted ones.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read or written.
    fn refresh(
        &mut self,
        progress: &mut dyn FnMut(u64, u64),
        wants: &dyn Fn(&Path) -> bool,
    ) -> Result<(), CatalogError> {
        let known: HashMap<String, String> = {
            let mut all = self.0.prepare("SELECT path, stamp FROM tapes")?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let mut gone: HashMap<String, String> = known.clone();
        let mut changed = Vec::new();
        for directory in directories() {
            let Ok(files) = fs::read_dir(&directory) else { continue };
            for path in files.flatten().map(|file| file.path()).filter(|path| files::is_tape(path)) {
                let name = path.display().to_string();
                gone.remove(&name);
                let stamp = stamp(&path);
                if known.get(&name) != Some(&stamp) && wants(&path) {
                    changed.push((name, path, stamp));
                }
            }
        }
        if gone.is_empty() && changed.is_empty() {
            return Ok(());
        }
        // Read the tapes before the database is locked: reading can take a while.
        let count = changed.len() as u64;
        let changed: Vec<_> = (1..)
            .zip(changed)
            .map(|(at, (name, path, stamp))| {
                let read = (name, ListedTape::of(&path), stamp);
                progress(at, count);
                read
            })
            .collect();
        let transaction = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for path in gone.keys() {
            transaction.execute("DELETE FROM tapes WHERE path = ?1", params![path])?;
        }
        for (path, entry, stamp) in changed {
            match entry {
                Some(entry) => entry.insert(&transaction, &path, &stamp)?,
                // A later part, or not a tape: it is stored too, so that it is not read each time.
                None => {
                    transaction.execute(
                        "INSERT OR REPLACE INTO tapes (path, stamp) VALUES (?1, ?2)",
                        params![path, stamp],
                    )?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Returns the tapes that match, newest first.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub fn find(&self, wanted: &Wanted) -> Result<Vec<ListedTape>, CatalogError> {
        let mut clauses = vec!["id IS NOT NULL".to_owned()];
        let mut values: Vec<Box<dyn rusqlite::ToSql>> = Vec::new();
        let mut need = |clause: &str, value: Box<dyn rusqlite::ToSql>| {
            values.push(value);
            clauses.push(clause.replace('?', &format!("?{}", values.len())));
        };
        let like = |text: &str| {
            let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            Box::new(format!("%{escaped}%"))
        };
        let number = |value: u64| Box::new(i64::try_from(value).unwrap_or(i64::MAX));
        if let Some(text) = &wanted.text {
            need(&any_like(&["name", "file", "target", "server", "client", "tags"]), like(text));
        }
        if let Some(server) = &wanted.server {
            need(&any_like(&["name", "server"]), like(server));
        }
        if let Some(transport) = &wanted.transport {
            need("transport = ?", Box::new(transport.clone()));
        }
        if let Some(era) = &wanted.era {
            need("era = ?", Box::new(era.clone()));
        }
        if let Some(tag) = &wanted.tag {
            need("' ' || tags || ' ' LIKE ? ESCAPE '\\'", like(&format!(" {tag} ")));
        }
        let bounds = [
            ("started >= ?", wanted.since),
            ("started <= ?", wanted.until),
            ("duration >= ?", wanted.longer.and_then(|longer| u64::try_from(longer.as_micros()).ok())),
            ("bytes >= ?", wanted.bytes),
            ("frames >= ?", wanted.frames),
            ("errors >= ?", wanted.errors),
        ];
        for (clause, bound) in bounds {
            if let Some(bound) = bound {
                need(clause, number(bound));
            }
        }
        let sql = format!("SELECT * FROM tapes WHERE {} ORDER BY started DESC, path", clauses.join(" AND "));
        let mut statement = self.0.prepare(&sql)?;
        let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| &**value).collect();
        let rows = statement.query_map(&values[..], ListedTape::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the number of tapes in the index.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub fn count(&self) -> Result<u64, CatalogError> {
        let count: Option<i64> = self
            .0
            .query_row("SELECT count(*) FROM tapes WHERE id IS NOT NULL", [], |row| row.get(0))
            .optional()?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
    }
}

/// Returns a clause that is true if the text is in any of the columns.
fn any_like(columns: &[&str]) -> String {
    let each: Vec<String> = columns.iter().map(|column| format!("{column} LIKE ? ESCAPE '\\'")).collect();
    format!("({})", each.join(" OR "))
}

/// Returns a text that changes with the tape: times and sizes of its parts and its notes.
fn stamp(path: &Path) -> String {
    let mut stamp = String::new();
    for file in part::parts(path).into_iter().chain([files::notes(path)]) {
        if let Ok(metadata) = fs::metadata(&file) {
            stamp.push_str(&format!("{}.{}:{} ", metadata.mtime(), metadata.mtime_nsec(), metadata.len()));
        }
    }
    stamp
}
