//! Where tapes are kept, and finding them by name.

mod catalog;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::files;
use super::format::{Header, Line, Seal, read_line};
use super::notes;
use super::part::{self, OpenError, PartFile};
use super::source::Source;

pub use catalog::{Catalog, CatalogError, Entry, Wanted};

/// A tape in the library.
#[derive(Debug, Clone)]
pub struct Item {
    pub path: PathBuf,
    pub header: Header,
    /// Bytes of all its parts.
    pub bytes: u64,
    /// How it ended; none while it is being recorded, or when its recorder was killed.
    pub seal: Option<Seal>,
    /// Microseconds since the Unix epoch at its last write.
    pub modified: u64,
}

/// Why a tape was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("no tape called {0:?}, neither a file nor in the library")]
    None(String),
    #[error("{name:?} fits {} tapes: {}", among.len(), among.join(", "))]
    Several { name: String, among: Vec<String> },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// How much of automatic recordings is kept.
pub const KEEP_BYTES: u64 = 2 << 30;
/// How long automatic recordings are kept.
pub const KEEP_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The directory that was named on the command line. It is one for the whole program.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Keeps everything in this directory.
pub fn choose(directory: &Path) {
    // The first one stays; there is only one command line.
    let _ = CHOSEN.set(directory.to_owned());
}

/// The directory that somebody chose for everything that we keep.
pub fn chosen() -> Option<PathBuf> {
    let named =
        || std::env::var_os("SHADOWCAT_DATA_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    CHOSEN.get().cloned().or_else(named)
}

/// The directory of everything that we keep. It comes from the password database, since clients
/// with a window trim the environment of the servers they start; `SHADOWCAT_DATA_DIR` overrides.
pub fn data() -> Option<PathBuf> {
    if let Some(chosen) = chosen() {
        return Some(chosen);
    }
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()?;
    Some(user.dir.join(".local/share/shadowcat"))
}

/// The directory that tapes are written to.
pub fn directory() -> Option<PathBuf> {
    Some(data()?.join("tapes"))
}

/// The directories that tapes are looked for in: where we write, and where `XDG_DATA_HOME` says.
pub fn directories() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = directory().into_iter().collect();
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        places.push(PathBuf::from(data).join("shadowcat/tapes"));
    }
    places.dedup();
    places
}

/// A file name for a new recording: when, what, and a bit of chance.
pub fn new_name(name: &str, wall: u64) -> String {
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .collect();
    let chance = uuid::Uuid::now_v7().simple().to_string();
    format!(
        "{}-{}-{}.tape",
        crate::clock::format(wall, "%Y%m%d-%H%M%S"),
        safe.trim_matches('-'),
        &chance[28..]
    )
}

/// Every tape of the library, newest first. Files that are no tapes are left out.
pub fn list() -> Vec<Item> {
    let mut items: Vec<Item> = directories().iter().flat_map(|directory| scan(directory)).collect();
    items.sort_by(|a, b| b.header.anchor.cmp(&a.header.anchor).then_with(|| a.path.cmp(&b.path)));
    items
}

fn scan(directory: &Path) -> Vec<Item> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| files::is_tape(path)).filter_map(|path| item(&path)).collect()
}

/// Looks at one tape; none for later parts, files that are no tapes, and those that are tapes of
/// others by what is in them alone.
pub fn item(path: &Path) -> Option<Item> {
    let PartFile { header, migrated, .. } = PartFile::open(path).ok()?;
    if header.part != 1 || (migrated.is_some() && !files::is_tape(path)) {
        return None;
    }
    let parts = part::parts(path);
    let (mut bytes, mut modified) = (0, 0);
    for part in &parts {
        let metadata = fs::metadata(part).ok()?;
        bytes += metadata.len();
        let since_epoch = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        modified = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX);
    }
    let seal = parts.last().and_then(|last| seal(last));
    Some(Item { path: path.to_owned(), header, bytes, seal, modified })
}

/// The seal that ends the last part of a tape.
fn seal(path: &Path) -> Option<Seal> {
    let source = Source::open(path).ok()?;
    let length = source.length().ok()?;
    let size = length.min(64 << 10);
    let mut end = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read_exact_at(&mut end, length - size).ok()?;
    let line = end.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    match read_line(line) {
        Ok(Line::Seal(seal)) if !seal.continued => Some(seal),
        _ => None,
    }
}

/// Finds a tape by its path, or in the library by the beginning of its file name or id, or by
/// the name it was recorded under when only one has it.
///
/// # Errors
/// When nothing, or more than one thing, fits.
pub fn find(name: &str) -> Result<PathBuf, FindError> {
    let path = Path::new(name);
    if name.is_empty() {
        return Err(FindError::None(String::new()));
    }
    // Standard input, or a file of any name.
    if name == "-" || path.is_file() {
        return Ok(path.to_owned());
    }
    let file = |item: &Item| {
        item.path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let items = list();
    let fits = |item: &&Item| {
        file(item).starts_with(name)
            || item.header.tape.starts_with(name)
            || item.header.name == name
            || notes::labels(&item.path).name.as_deref() == Some(name)
    };
    let found: Vec<&Item> = items.iter().filter(fits).collect();
    match found[..] {
        [] => Err(FindError::None(name.to_owned())),
        [only] => Ok(only.path.clone()),
        _ => Err(FindError::Several { name: name.to_owned(), among: found.into_iter().map(file).collect() }),
    }
}

/// Whether somebody is recording the tape at `path` right now: the part that is written is locked.
pub fn is_recorded(path: &Path) -> bool {
    part::parts(path)
        .iter()
        .filter_map(|part| fs::File::open(part).ok())
        .any(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Deletes the tape at `path` with all that belongs to it.
///
/// # Errors
/// When one of its files cannot be deleted.
pub fn delete(path: &Path) -> std::io::Result<()> {
    for file in part::all_files(path) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the oldest recordings in our own directory until the rest fit the bounds; `now` in
/// microseconds since the Unix epoch. What is being recorded stays, and so does what a person
/// named, tagged or noted.
pub fn sweep(now: u64, keep_bytes: u64, keep_for: Duration) {
    let Some(directory) = directory() else { return };
    let mut items = scan(&directory);
    items.sort_by_key(|item| std::cmp::Reverse(item.modified));
    let mut kept = 0;
    for item in items {
        if notes::labels(&item.path).is_kept() {
            continue;
        }
        kept += item.bytes;
        let age = Duration::from_micros(now.saturating_sub(item.modified));
        if (age > keep_for || kept > keep_bytes) && !is_recorded(&item.path) {
            kept -= item.bytes;
            // It will be tried again next time.
            let _ = delete(&item.path);
        }
    }
}
