//! Where tapes are kept, and finding them by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{Header, Line, Seal, read_line};
use super::index;
use super::reader::{OpenError, Reader};
use super::writer::part_path;

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

/// The directory of everything that we keep. It comes from the password database, since clients
/// with a window trim the environment of the servers they start; `SHADOWCAT_DATA_DIR` overrides.
pub fn data() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("SHADOWCAT_DATA_DIR").filter(|value| !value.is_empty()) {
        return Some(PathBuf::from(chosen));
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
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "tape"))
        .filter_map(|path| item(&path))
        .collect()
}

/// Looks at one tape; none for later parts and files that are no tapes.
pub fn item(path: &Path) -> Option<Item> {
    let reader = Reader::open(path).ok()?;
    let header = reader.header().clone();
    if header.part != 1 {
        return None;
    }
    let mut bytes = 0;
    let mut modified = 0;
    let mut last = path.to_owned();
    for number in 1.. {
        let part = part_path(path, number);
        let Ok(metadata) = fs::metadata(&part) else { break };
        bytes += metadata.len();
        let since_epoch = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        modified = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX);
        last = part;
    }
    Some(Item { path: path.to_owned(), header, bytes, seal: seal(&last), modified })
}

/// The seal that ends the last part of a tape.
fn seal(path: &Path) -> Option<Seal> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let size = length.min(64 << 10);
    let mut end = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut end, length - size).ok()?;
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
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let file = |item: &Item| {
        item.path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let items = list();
    let fits = |item: &&Item| {
        file(item).starts_with(name) || item.header.tape.starts_with(name) || item.header.name == name
    };
    let found: Vec<&Item> = items.iter().filter(fits).collect();
    match found[..] {
        [] => Err(FindError::None(name.to_owned())),
        [only] => Ok(only.path.clone()),
        _ => Err(FindError::Several { name: name.to_owned(), among: found.into_iter().map(file).collect() }),
    }
}

/// Deletes the oldest recordings in our own directory until the rest fit the bounds; `now` in
/// microseconds since the Unix epoch. Recordings that are not sealed may still be running: they
/// stay until they are old.
pub fn sweep(now: u64, keep_bytes: u64, keep_for: Duration) {
    let Some(directory) = directory() else { return };
    let mut items = scan(&directory);
    items.sort_by_key(|item| std::cmp::Reverse(item.modified));
    let mut kept = 0;
    for item in items {
        kept += item.bytes;
        let age = Duration::from_micros(now.saturating_sub(item.modified));
        if age > keep_for || (kept > keep_bytes && item.seal.is_some()) {
            kept -= item.bytes;
            for number in 1.. {
                let part = part_path(&item.path, number);
                // The index goes first: alone it would be litter, without it a tape still opens.
                let _ = fs::remove_file(index::path_beside(&part));
                if fs::remove_file(part).is_err() {
                    break;
                }
            }
        }
    }
}
