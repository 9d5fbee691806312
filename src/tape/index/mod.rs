//! Index beside a tape part: fifty-six bytes per record, so that a record is found with one
//! positioned read and the world of a long tape is folded without parsing it. The index is written
//! while the tape is recorded, can be rebuilt from the tape at any time, and is never the only copy
//! of anything.

mod entry;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::log::record::Seq;

pub use entry::{Brief, ENTRY, EntryNames, IndexEntry};

/// First bytes of an index; the last of them is the version.
const MAGIC: [u8; 8] = *b"sc-idx\0\x03";
/// Bytes of the header: the magic number, the position of the first record, and a hash of the first
/// line of the tape part.
pub const HEADER: u64 = 24;
/// Returns the path of the index beside the tape part at `tape`.
pub fn path_beside(tape: &Path) -> PathBuf {
    let mut name = tape.as_os_str().to_owned();
    name.push(".idx");
    name.into()
}

/// Creates the index of a new tape part. What an earlier tape of that name left behind is removed: an index
/// is a cache, and no index of a tape that was just made can be there. Where something else has the name, the
/// index is an unnamed file: the tape is then slower to open later.
///
/// # Errors
/// If the file cannot be created.
pub fn create(tape: &Path) -> io::Result<File> {
    let path = path_beside(tape);
    if !may_replace(&path) {
        return tempfile::tempfile();
    }
    // A missing file is the usual case.
    let _ = std::fs::remove_file(&path);
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)
}

/// Returns `true` if nothing is at `path`, or an index of any version and tape, which is a cache.
pub fn may_replace(path: &Path) -> bool {
    let mut begins = Vec::new();
    match std::fs::symlink_metadata(path) {
        Err(_) => true,
        Ok(found) if found.is_file() => {
            let read = File::open(path).and_then(|file| file.take(7).read_to_end(&mut begins));
            read.is_ok() && MAGIC.starts_with(&begins)
        }
        Ok(_) => false,
    }
}

/// Returns the header of an index whose first record is `first`, for the part that begins with the
/// line `begins`.
pub fn header(first: Seq, begins: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(begins)[..8]);
    bytes
}

/// Entries that wait to be written. Records that are not on the tape become holes in the file.
#[derive(Debug, Default)]
pub struct PendingEntries(Vec<(u64, Vec<u8>)>);

impl PendingEntries {
    /// Adds the entry of record `seq`; `last` is the record whose entry was added before.
    pub fn add(&mut self, last: Seq, seq: Seq, entry: &IndexEntry) {
        let missing = seq.saturating_sub(last + 1);
        if missing > 0 || self.0.is_empty() {
            self.0.push((missing * ENTRY as u64, Vec::new()));
        }
        if let Some((_, bytes)) = self.0.last_mut() {
            bytes.extend_from_slice(&entry.encode(seq));
        }
    }

    /// Returns the number of bytes of the entries.
    pub fn length(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Appends all entries to `file`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_to(&mut self, mut file: &File) -> io::Result<()> {
        for (hole, bytes) in self.0.drain(..) {
            if hole > 0 {
                let length = file.metadata()?.len().checked_add(hole).ok_or(io::ErrorKind::FileTooLarge)?;
                file.set_len(length)?;
                file.seek(io::SeekFrom::End(0))?;
            }
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// An index opened for reading.
#[derive(Debug)]
pub struct Index {
    file: File,
    first: Seq,
}

impl Index {
    /// Opens the index of the tape part at `tape`, which begins with the line `begins`.
    ///
    /// # Errors
    /// Returns an error if there is no index, or if it is of another version or another tape part.
    pub fn open(tape: &Path, begins: &[u8]) -> io::Result<Self> {
        Self::read(File::open(path_beside(tape))?, begins)
    }

    /// Reads the index in `file` of the tape part that begins with the line `begins`.
    ///
    /// # Errors
    /// Returns an error if the index is of another version or another tape part.
    pub fn read(file: File, begins: &[u8]) -> io::Result<Self> {
        let mut found = [0; HEADER as usize];
        file.read_exact_at(&mut found, 0)?;
        let first = u64::from_le_bytes(std::array::from_fn(|i| found[8 + i]));
        if found[..] != header(first, begins)[..] {
            return Err(io::Error::other("not an index of this version and file"));
        }
        Ok(Self { file, first })
    }

    /// Returns the position of the first entry.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// Returns the position behind the last entry.
    pub fn end(&self) -> Seq {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        self.first + length.saturating_sub(HEADER) / ENTRY as u64
    }

    /// Returns the first record behind `seq` that has an entry.
    pub fn next(&self, seq: Seq) -> Option<Seq> {
        self.entries(seq.saturating_add(1)).next().map(|(seq, _)| seq)
    }

    /// Returns the entry of record `seq`, if it has one.
    pub fn entry(&self, seq: Seq) -> Option<IndexEntry> {
        let place = seq.checked_sub(self.first)?;
        let mut bytes = [0; ENTRY];
        self.file.read_exact_at(&mut bytes, HEADER + place * ENTRY as u64).ok()?;
        IndexEntry::decode(&bytes, seq)
    }

    /// Returns the entries from `seq` on in order, with the positions of their records.
    pub fn entries(&self, seq: Seq) -> impl Iterator<Item = (Seq, IndexEntry)> + use<'_> {
        /// Number of entries that are read at once.
        const CHUNK: usize = 8192;
        let mut next = self.first.max(seq);
        let mut chunk = Vec::new();
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                if at == chunk.len() {
                    let left = usize::try_from(self.end().saturating_sub(next)).unwrap_or(0);
                    chunk.resize(left.min(CHUNK) * ENTRY, 0);
                    at = 0;
                    let offset = HEADER + (next - self.first) * ENTRY as u64;
                    if chunk.is_empty() || self.file.read_exact_at(&mut chunk, offset).is_err() {
                        return None;
                    }
                }
                let bytes: &[u8; ENTRY] = chunk[at..].first_chunk()?;
                let (seq, entry) = (next, IndexEntry::decode(bytes, next));
                at += ENTRY;
                next += 1;
                if let Some(entry) = entry {
                    return Some((seq, entry));
                }
            }
        })
    }
}
