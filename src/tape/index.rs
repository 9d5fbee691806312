//! The index beside a tape part: forty bytes a record, so that a record is found with one
//! positioned read and most filters need no parsing. It is written as the tape is recorded, can
//! be rebuilt from the tape at any time, and is never the only copy of anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::log::record::{Body, Record, Seq};
use crate::mcp::{Direction, Kind};

/// What an index begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"sc-idx\0\x01";
/// Magic and the position of the first record.
const HEADER: u64 = 16;
/// Bytes of an entry.
pub const ENTRY: u64 = 40;

/// Where a record is and what it is, as far as filters ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Where its line begins in the part.
    pub offset: u64,
    /// The line's length with its terminator; 0 stands for a record that is not on the tape.
    pub length: u32,
    /// Monotonic nanoseconds.
    pub mono: u64,
    pub session: u32,
    pub op: u32,
    /// The frame that first used this frame's method, which names it without a table of strings.
    pub method: u32,
    pub target: u32,
    /// Kind in the low, direction and error in the high bits.
    pub bits: u32,
}

/// Names seen so far, by the frame that used them first.
#[derive(Debug, Default)]
pub struct Names(std::collections::HashMap<String, u32>);

impl Names {
    fn first_use(&mut self, name: Option<&str>, seq: Seq) -> u32 {
        let Some(name) = name else { return 0 };
        if let Some(first) = self.0.get(name) {
            return *first;
        }
        let seq = u32::try_from(seq).unwrap_or(0);
        self.0.insert(name.to_owned(), seq);
        seq
    }
}

impl Entry {
    /// The entry of a record whose line stands at `offset`.
    pub fn of(record: &Record, offset: u64, length: usize, names: &mut Names) -> Self {
        let mut entry = Self {
            offset,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            mono: record.at.nanos(),
            session: record.session.0,
            ..Self::default()
        };
        let kind = match &record.body {
            Body::Frame(frame) => {
                entry.op = frame.link.op.map_or(0, |op| op.0);
                entry.method = names.first_use(frame.message.method(), record.seq);
                entry.target = names.first_use(frame.message.target().as_deref(), record.seq);
                entry.bits |= u32::from(frame.direction == Direction::ToClient) << 8;
                entry.bits |= u32::from(frame.message.is_error()) << 9;
                match frame.message.kind() {
                    Kind::Request { .. } => 1,
                    Kind::Notification { .. } => 2,
                    Kind::Response { .. } | Kind::Failure { .. } => 3,
                    Kind::Batch(_) => 4,
                    Kind::Opaque(_) => 5,
                }
            }
            Body::Opened(_) => 16,
            Body::Held(_) => 17,
            Body::Ruled(_) => 18,
            Body::Sent(_) => 19,
            Body::Facts(_) => 20,
            Body::Note(_) => 21,
            Body::Gap(_) => 22,
            Body::Closed(_) => 23,
            Body::Ended(_) => 24,
        };
        entry.bits |= kind;
        entry
    }

    fn encode(&self) -> [u8; ENTRY as usize] {
        let mut bytes = [0; ENTRY as usize];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.mono.to_le_bytes());
        let small = [self.length, self.session, self.op, self.method, self.target, self.bits];
        for (slot, value) in bytes[16..].chunks_exact_mut(4).zip(small) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; ENTRY as usize]) -> Self {
        let wide = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let small = |index: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[16 + index * 4 + i]));
        Self {
            offset: wide(0),
            mono: wide(8),
            length: small(0),
            session: small(1),
            op: small(2),
            method: small(3),
            target: small(4),
            bits: small(5),
        }
    }
}

/// The index's path beside the tape part at `tape`.
pub fn path_beside(tape: &Path) -> PathBuf {
    let mut name = tape.as_os_str().to_owned();
    name.push(".idx");
    name.into()
}

/// Bytes of a new index whose first record is `first`.
pub fn header(first: Seq) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes
}

/// Appends the entry of record `seq` to `bytes`, after empty ones for records since `last` that
/// are not on the tape.
pub fn append(bytes: &mut Vec<u8>, last: Seq, seq: Seq, entry: &Entry) {
    for _ in last + 1..seq {
        bytes.extend_from_slice(&Entry::default().encode());
    }
    bytes.extend_from_slice(&entry.encode());
}

/// An index opened for reading.
#[derive(Debug)]
pub struct Index {
    file: File,
    first: Seq,
}

impl Index {
    /// Opens the index of the tape part at `tape`.
    ///
    /// # Errors
    /// When there is none, or it is of another version.
    pub fn open(tape: &Path) -> io::Result<Self> {
        let file = File::open(path_beside(tape))?;
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, 0)?;
        if header[..8] != MAGIC {
            return Err(io::Error::other("not an index of this version"));
        }
        let first = u64::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
        Ok(Self { file, first })
    }

    /// The first record behind `seq` that has an entry.
    pub fn next(&self, seq: Seq) -> Option<Seq> {
        let length = self.file.metadata().ok()?.len();
        let end = self.first + length.saturating_sub(HEADER) / ENTRY;
        (seq.max(self.first - 1) + 1..end).find(|seq| self.entry(*seq).is_some())
    }

    /// The entry of record `seq`, if it has one.
    pub fn entry(&self, seq: Seq) -> Option<Entry> {
        let place = seq.checked_sub(self.first)?;
        let mut bytes = [0; ENTRY as usize];
        self.file.read_exact_at(&mut bytes, HEADER + place * ENTRY).ok()?;
        Some(Entry::decode(&bytes)).filter(|entry| entry.length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_forty_bytes_and_comes_back() {
        let entry =
            Entry { offset: 1 << 40, length: 7, mono: 9, session: 1, op: 2, method: 3, target: 4, bits: 5 };
        assert_eq!(Entry::decode(&entry.encode()), entry);
    }
}
