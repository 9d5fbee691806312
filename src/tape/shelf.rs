//! Tape parts from which single records are read back: those that a writer has written so far, or
//! those of an opened tape.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{TapeLine, read_line};
use super::index::{Brief, Index, IndexEntry};
use super::source::PartBytes;
use crate::log::record::{Record, Seq};
use crate::log::store::Archive;

/// A tape part with the locations of its records.
pub struct ShelfPart {
    /// Bytes of the part.
    pub source: PartBytes,
    /// Index of the part.
    pub index: Index,
    /// Sequence number, line offset and line length of the records that are not in the index, in
    /// order.
    pub loose: Vec<(Seq, u64, u32)>,
}

/// Parts of a tape, in order.
#[derive(Default)]
pub struct Shelf(Mutex<Vec<ShelfPart>>);

impl ShelfPart {
    /// Reads the line of `length` bytes at `offset`.
    ///
    /// # Errors
    /// Returns an error if the line cannot be read in full.
    pub fn line(&self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let mut line = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_exact_at(&mut line, offset)?;
        Ok(line)
    }

    /// Reads the record `seq` from its line; returns `None` if the line cannot be read or is
    /// another one.
    pub fn record(&self, seq: Seq, offset: u64, length: u32) -> Option<Record> {
        match read_line(&self.line(offset, length).ok()?) {
            Ok(TapeLine::Record(record)) if record.seq == seq => Some(record),
            _ => None,
        }
    }

    fn first(&self) -> Seq {
        self.index.first()
    }

    fn locate(&self, seq: Seq) -> Option<(u64, u32)> {
        if let Some(IndexEntry { offset, length, .. }) = self.index.entry(seq) {
            return Some((offset, length));
        }
        let at = self.loose.binary_search_by_key(&seq, |(seq, ..)| *seq).ok()?;
        Some((self.loose[at].1, self.loose[at].2))
    }

    fn next(&self, seq: Seq) -> Option<Seq> {
        let loose = self.loose.partition_point(|(loose, ..)| *loose <= seq);
        self.index.next(seq).or_else(|| self.loose.get(loose).map(|(seq, ..)| *seq))
    }
}

impl ShelfPart {
    /// Adds the frames from `first` to `last` whose messages may contain `text` to `found`.
    fn search(&self, text: &[u8], first: Seq, last: Seq, found: &mut Vec<Seq>) -> io::Result<()> {
        /// Number of bytes that are read and searched at once.
        const BLOCK: u64 = 4 << 20;
        let finder = memchr::memmem::Finder::new(text);
        let mut block: Vec<(Seq, IndexEntry)> = Vec::new();
        let mut entries = self.index.entries(first).take_while(|(seq, _)| *seq <= last).peekable();
        let mut bytes = Vec::new();
        let length = self.source.length()?;
        while let Some((seq, entry)) = entries.next() {
            let begin = block.first().map_or(entry.offset, |(_, first)| first.offset);
            let end = entry.offset + u64::from(entry.length);
            if entry.offset < begin || end > length {
                return Err(io::ErrorKind::InvalidData.into());
            }
            block.push((seq, entry));
            if end - begin < BLOCK && entries.peek().is_some() {
                continue;
            }
            bytes.resize(usize::try_from(end - begin).unwrap_or(0), 0);
            self.source.read_exact_at(&mut bytes, begin)?;
            let mut hits = finder.find_iter(&bytes).map(|hit| begin + hit as u64).peekable();
            for (seq, entry) in block.drain(..) {
                let end = entry.offset + u64::from(entry.length);
                let mut is_hit = false;
                while hits.next_if(|hit| *hit < end).is_some() {
                    is_hit = true;
                }
                let unclear = !entry.verbatim && !matches!(entry.brief, Brief::Sent(_));
                if is_hit || unclear {
                    found.push(seq);
                }
            }
        }
        found.extend(self.loose.iter().map(|(seq, ..)| *seq).filter(|seq| (first..=last).contains(seq)));
        Ok(())
    }
}

impl Shelf {
    /// Appends a part.
    pub fn push(&self, part: ShelfPart) {
        self.0.lock().push(part);
    }
}

impl Archive for Shelf {
    fn read(&self, seq: Seq) -> Option<Arc<Record>> {
        let parts = self.0.lock();
        let at = parts.partition_point(|part| part.first() <= seq).checked_sub(1)?;
        let (offset, length) = parts[at].locate(seq)?;
        parts[at].record(seq, offset, length).map(Arc::new)
    }

    fn next(&self, seq: Seq) -> Option<Seq> {
        let parts = self.0.lock();
        let at = parts.partition_point(|part| part.first() <= seq).saturating_sub(1);
        parts.iter().skip(at).find_map(|part| part.next(seq.max(part.first() - 1)))
    }

    fn containing(&self, text: &[u8], first: Seq, last: Seq) -> Option<Vec<Seq>> {
        let mut found = Vec::new();
        for part in self.0.lock().iter().filter(|part| part.first() <= last) {
            part.search(text, first, last, &mut found).ok()?;
        }
        Some(found)
    }
}
