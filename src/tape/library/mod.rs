//! The library: the directories that contain tapes, and the lookup of a tape by name.

mod catalog;
mod entry;

use crate::places;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use super::format::{Header, Seal, TapeLine, read_line};
use super::notes;
use super::part::{self, OpenError, PartFile};
use super::source::PartBytes;

pub use catalog::{Catalog, CatalogError, Wanted};
pub use entry::ListedTape;

/// A tape in the library.
#[derive(Debug, Clone)]
pub struct LibraryTape {
    /// Path of the first part.
    pub path: PathBuf,
    /// Header of the first part.
    pub header: Header,
    /// Bytes of all its parts, as stored.
    pub bytes: u64,
    /// Seal of the last part; `None` while it is being recorded, or if its recorder was killed.
    pub seal: Option<Seal>,
    /// Time of the last write, in microseconds since the Unix epoch.
    pub modified: u64,
}

/// Error of [`find`].
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No file and no tape in the library has this name.
    #[error("no tape {0:?}: neither a file nor a tape in the library")]
    None(String),
    /// More than one tape matches the name.
    #[error("{name:?} matches {} tapes: {}", among.len(), among.join(", "))]
    Several {
        /// Name that was looked for.
        name: String,
        /// File names of the tapes that match.
        among: Vec<String>,
    },
    /// The tape was found but cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Limit of the total bytes of automatic recordings.
pub const KEEP_BYTES: u64 = 2 << 30;
/// Time for which automatic recordings are kept.
pub const KEEP_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Returns the directory that tapes are written to; `None` if there is no data directory.
pub fn directory() -> Option<PathBuf> {
    directories().into_iter().next()
}

/// Returns the directories that are searched for tapes, the one that they are written to first.
pub fn directories() -> Vec<PathBuf> {
    places::data().into_iter().map(|data| data.join("tapes")).collect()
}

/// Returns a file name for a new recording: the time `wall` (microseconds since the Unix epoch),
/// its name, and a random suffix.
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

/// Returns every tape of the library, newest first. Files that are not tapes are left out.
pub fn list() -> Vec<LibraryTape> {
    let mut items: Vec<LibraryTape> = directories().iter().flat_map(|directory| scan(directory)).collect();
    items.sort_by(|a, b| b.header.anchor.cmp(&a.header.anchor).then_with(|| a.path.cmp(&b.path)));
    items
}

fn scan(directory: &Path) -> Vec<LibraryTape> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| files::is_tape(path)).filter_map(|path| item(&path)).collect()
}

/// Reads the header, size and seal of one tape. Returns `None` for later parts, for files that are
/// not tapes, and for documents of an older version that are not named like a tape.
pub fn item(path: &Path) -> Option<LibraryTape> {
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
    Some(LibraryTape { path: path.to_owned(), header, bytes, seal, modified })
}

/// Reads the seal that ends the last part of a tape, if there is one.
fn seal(path: &Path) -> Option<Seal> {
    let source = PartBytes::open(path).ok()?;
    let length = source.length().ok()?;
    let size = length.min(64 << 10);
    let mut end = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read_exact_at(&mut end, length - size).ok()?;
    let line = end.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    match read_line(line) {
        Ok(TapeLine::Seal(seal)) if !seal.continued => Some(seal),
        _ => None,
    }
}

/// Finds a tape by its path, or in the library by its name or id, or by the beginning of its name, file name or id.
/// `-` is standard input.
///
/// # Errors
/// Returns [`FindError::None`] if no tape matches, and [`FindError::Several`] if more than one
/// does.
pub fn find(name: &str) -> Result<PathBuf, FindError> {
    let path = Path::new(name);
    if name.is_empty() {
        return Err(FindError::None(String::new()));
    }
    // Standard input, or an existing file of any name.
    if name == "-" || path.is_file() {
        return Ok(path.to_owned());
    }
    let file = |item: &LibraryTape| {
        item.path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let items = list();
    let names = |item: &LibraryTape| {
        let own = [file(item), item.header.tape.clone(), item.header.name.clone()];
        own.into_iter().chain(notes::labels(&item.path).name).collect::<Vec<_>>()
    };
    let fitting = |fits: &dyn Fn(&String) -> bool| -> Vec<&LibraryTape> {
        items.iter().filter(|item| names(item).iter().any(fits)).collect()
    };
    let mut found = fitting(&|own| own == name);
    if found.is_empty() {
        found = fitting(&|own| own.starts_with(name));
    }
    match found[..] {
        [] => Err(FindError::None(name.to_owned())),
        [only] => Ok(only.path.clone()),
        _ => Err(FindError::Several { name: name.to_owned(), among: found.into_iter().map(file).collect() }),
    }
}

/// Returns `true` if a process is recording the tape at `path`: the part that is being written is
/// locked.
pub fn is_recorded(path: &Path) -> bool {
    part::parts(path)
        .iter()
        .filter_map(|part| fs::File::open(part).ok())
        .any(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Deletes the tape at `path` with all files that belong to it.
///
/// # Errors
/// Returns an error if one of its files cannot be deleted.
pub fn delete(path: &Path) -> std::io::Result<()> {
    for file in part::all_files(path) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the oldest recordings of each directory until the rest fit the
/// bounds; `now` is in microseconds since the Unix epoch. A tape that is being recorded, or that
/// somebody named, tagged or noted, is kept.
pub fn sweep(now: u64, keep_bytes: u64, keep_for: Duration) {
    for directory in directories() {
        sweep_directory(&directory, now, keep_bytes, keep_for);
    }
}

fn sweep_directory(directory: &Path, now: u64, keep_bytes: u64, keep_for: Duration) {
    let mut items = scan(directory);
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
            // A file that cannot be deleted is tried again at the next sweep.
            let _ = delete(&item.path);
        }
    }
}
