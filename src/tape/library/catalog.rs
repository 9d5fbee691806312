//! The index of the library: a SQLite database beside the tapes. It is a cache: everything in it
//! comes from the files, and it is made anew when it is lost, broken or of another version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{data, directories, is_recorded, item};
use crate::log::record::{Exit, FrameKind};
use crate::mcp::Direction;
use crate::tape::{Opened, files, notes, part};

/// Counts up when the table changes; a database of another version is made anew.
const VERSION: i64 = 3;
/// How long a writer waits for another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A tape as the index knows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    pub path: PathBuf,
    pub id: String,
    /// The name that a person gave it, else the one that it was recorded under.
    pub name: String,
    pub target: Vec<String>,
    pub transport: String,
    pub era: Option<String>,
    pub server: Option<String>,
    pub client: Option<String>,
    /// Microseconds since the Unix epoch.
    pub started: u64,
    /// Microseconds from the first record to the last.
    pub duration: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    pub frames: u64,
    pub errors: u64,
    /// How the server failed, in words, if it ended by itself and not well.
    pub failure: Option<String>,
    pub sealed: bool,
    /// Microseconds since the Unix epoch at its last write.
    pub modified: u64,
    pub tags: Vec<String>,
    /// Whether somebody named, tagged or noted it: it is kept when others are cleaned away.
    pub is_kept: bool,
}

/// What tapes are looked for by. Everything that is given must fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// In the name, the target, or what server and client call themselves.
    pub text: Option<String>,
    pub server: Option<String>,
    pub transport: Option<String>,
    pub era: Option<String>,
    /// Microseconds since the Unix epoch.
    pub since: Option<u64>,
    pub until: Option<u64>,
    pub longer: Option<Duration>,
    pub bytes: Option<u64>,
    pub frames: Option<u64>,
    pub errors: Option<u64>,
    pub tag: Option<String>,
}

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the library's index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("this user has no home directory; set SHADOWCAT_DATA_DIR")]
    Homeless,
}

impl CatalogError {
    /// Whether the database itself is no good, rather than busy or out of reach.
    fn is_broken(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SchemaChanged, TypeMismatch, Unknown};
        matches!(
            self,
            // `Unknown` is what a missing table or column comes as.
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _))
                if matches!(error.code, DatabaseCorrupt | NotADatabase | SchemaChanged | TypeMismatch | Unknown)
        ) || matches!(
            self,
            Self::Sqlite(rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::SqlInputError { .. })
        )
    }
}

/// The open index.
pub struct Catalog(Connection);

impl Catalog {
    /// Opens the index and brings it up to date with the files. A broken one is made anew; one that
    /// cannot be opened is replaced for this time by one in memory. `progress` is told how many tapes
    /// were read, of how many.
    ///
    /// # Errors
    /// When not even that is possible.
    pub fn open(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::open_of(progress, &|_| true)
    }

    /// The same for those who look again and again: what is being recorded is not read each time that it
    /// has grown, and stays as it was known.
    ///
    /// # Errors
    /// When not even an index in memory is possible.
    pub fn open_settled(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::open_of(progress, &|path| !is_recorded(path))
    }

    fn open_of(
        progress: &mut dyn FnMut(u64, u64),
        wants: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, CatalogError> {
        let data = data().ok_or(CatalogError::Homeless)?;
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

    /// Throws the index away and makes it anew from the files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn rebuild(progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CatalogError> {
        Self::remove(&data().ok_or(CatalogError::Homeless)?);
        Self::open(progress)
    }

    fn remove(data: &Path) {
        for ending in ["", "-wal", "-shm"] {
            // It may not be there.
            let _ = fs::remove_file(format!("{}{ending}", Self::path(data).display()));
        }
    }

    fn path(data: &Path) -> PathBuf {
        data.join("library.db")
    }

    fn at(path: &Path) -> Result<Self, CatalogError> {
        let catalog = Connection::open(path).map_err(CatalogError::from).and_then(Self::on);
        if catalog.is_ok() {
            // Names of tools and files are in it.
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

    /// Takes in what has changed since, among the files that are wanted.
    ///
    /// # Errors
    /// When the database cannot be written.
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
        // Read before anything is locked: it can take a while.
        let count = changed.len() as u64;
        let changed: Vec<_> = (1..)
            .zip(changed)
            .map(|(at, (name, path, stamp))| {
                let read = (name, entry(&path), stamp);
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
                Some(entry) => insert(&transaction, &path, &entry, &stamp)?,
                // A later part, or no tape: known, so that it is not looked at each time.
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

    /// The tapes that fit, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find(&self, wanted: &Wanted) -> Result<Vec<Entry>, CatalogError> {
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
        let rows = statement.query_map(&values[..], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many tapes are known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn count(&self) -> Result<u64, CatalogError> {
        let count: Option<i64> = self
            .0
            .query_row("SELECT count(*) FROM tapes WHERE id IS NOT NULL", [], |row| row.get(0))
            .optional()?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
    }
}

/// A clause that is true when the text is in any of the columns.
fn any_like(columns: &[&str]) -> String {
    let each: Vec<String> = columns.iter().map(|column| format!("{column} LIKE ? ESCAPE '\\'")).collect();
    format!("({})", each.join(" OR "))
}

/// What tells that a tape has changed: its parts and its notes, by time and size.
fn stamp(path: &Path) -> String {
    let mut stamp = String::new();
    for file in part::parts(path).into_iter().chain([files::notes(path)]) {
        if let Ok(metadata) = fs::metadata(&file) {
            stamp.push_str(&format!("{}.{}:{} ", metadata.mtime(), metadata.mtime_nsec(), metadata.len()));
        }
    }
    stamp
}

/// What a tape says of itself; none for later parts and files that are no tapes.
fn entry(path: &Path) -> Option<Entry> {
    let known = item(path)?;
    let tape = crate::tape::open(path, &mut |_, _| ()).ok()?;
    let world = &tape.world;
    let fact = |side: Direction| {
        let sessions = world.sessions.values().rev();
        let facts = sessions.filter_map(|session| match side {
            Direction::ToServer => session.client.as_ref(),
            Direction::ToClient => session.server.as_ref(),
        });
        facts.filter_map(|facts| facts.name.clone()).next()
    };
    let labels = notes::labels(path);
    let is_url = known.header.target.first().is_some_and(|target| target.contains("://"));
    let first = world.rows.first().map_or(0, |row| row.at.nanos());
    let last = world.rows.last().map_or(0, |row| row.at.nanos());
    Some(Entry {
        path: path.to_owned(),
        id: known.header.tape.clone(),
        is_kept: labels.is_kept(),
        name: labels.name.unwrap_or(known.header.name),
        target: known.header.target,
        transport: if is_url { "http" } else { "stdio" }.to_owned(),
        era: world
            .sessions
            .values()
            .rev()
            .find_map(|session| session.era())
            .map(|era| era.as_str().to_owned()),
        server: fact(Direction::ToClient),
        client: fact(Direction::ToServer),
        started: known.header.anchor,
        duration: last.saturating_sub(first) / 1000,
        bytes: known.bytes,
        frames: world.rows.len() as u64,
        errors: world.rows.iter().filter(|row| row.is_error).count() as u64,
        failure: failure(&tape),
        sealed: tape.seal.is_some(),
        modified: known.modified,
        tags: labels.tags,
    })
}

/// How the server of the last session failed. One that was told to end has not.
fn failure(tape: &Opened) -> Option<String> {
    const TOLD: [i32; 4] = [1, 2, 9, 15];
    const MAX_CHARS: usize = 200;
    let world = &tape.world;
    let session = world.sessions.values().next_back()?;
    let exit = session.closed.as_ref()?.exit?;
    match exit {
        Exit::Code(0) => return None,
        Exit::Code(code) if TOLD.iter().any(|signal| code == 128 + signal) => return None,
        Exit::Signal(signal) if TOLD.contains(&signal) => return None,
        Exit::Code(_) | Exit::Signal(_) => {}
    }
    let lasted = session.closed_at?.1.since(session.since);
    let words = world
        .rows
        .iter()
        .rev()
        .find(|row| row.session == session.id && row.kind == FrameKind::Stderr && row.size > 1);
    let words = words.and_then(|row| tape.log.get(row.seq)).and_then(|record| {
        let raw = record.frame()?.message.raw().clone();
        Some(String::from_utf8_lossy(raw.trim_ascii()).chars().take(MAX_CHARS).collect::<String>())
    });
    let words = words.map_or_else(String::new, |words| format!("; stderr: {words}"));
    let lasted = match lasted.as_secs() {
        0 => format!("{} ms", lasted.as_millis()),
        _ => format!("{:.1} s", lasted.as_secs_f64()),
    };
    Some(format!("{exit} after {lasted}{words}"))
}

fn insert(connection: &Connection, path: &str, entry: &Entry, stamp: &str) -> Result<(), CatalogError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT OR REPLACE INTO tapes VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
        params![
            path,
            entry.id,
            entry.name,
            serde_json::to_string(&entry.target).unwrap_or_default(),
            entry.transport,
            entry.era,
            entry.server,
            entry.client,
            number(entry.started),
            number(entry.duration),
            number(entry.bytes),
            number(entry.frames),
            number(entry.errors),
            entry.sealed,
            number(entry.modified),
            entry.tags.join(" "),
            entry.is_kept,
            stamp,
            files::stem(&entry.path),
            entry.failure,
        ],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |column: &str| -> rusqlite::Result<u64> {
        Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
    };
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    Ok(Entry {
        path: PathBuf::from(row.get::<_, String>("path")?),
        id: row.get("id")?,
        name: row.get("name")?,
        target: serde_json::from_str(&row.get::<_, String>("target")?).unwrap_or_default(),
        transport: row.get("transport")?,
        era: row.get("era")?,
        server: row.get("server")?,
        client: row.get("client")?,
        started: number("started")?,
        duration: number("duration")?,
        bytes: number("bytes")?,
        frames: number("frames")?,
        errors: number("errors")?,
        failure: row.get("failure")?,
        sealed: row.get("sealed")?,
        modified: number("modified")?,
        tags: words(row.get("tags")?),
        is_kept: row.get("kept")?,
    })
}
