//! A tape made of existing records (redacted, repaired, cut or imported), which keep their numbers
//! and times.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, CheckpointChange};
use super::draft::Draft;
use super::format::{Header, write_record};
use super::index::{self, IndexEntry};
use super::part;
use super::writer::{PartWriter, Totals};
use crate::clock::Stamp;
use crate::log::record::{Body, Gap, Record, Seq, SessionId};

/// Bytes that are written at once, followed by a mark.
const BLOCK: usize = 1 << 20;

/// A tape that is being written from existing records. It gets its name only when it is complete:
/// until then, and if it is dropped, an existing file of that name is unchanged.
pub struct Copy {
    path: PathBuf,
    file: Draft,
    index: Draft,
    header: Header,
    part: PartWriter,
    lines: Vec<u8>,
    entries: index::PendingEntries,
    totals: Totals,
    checkpoint: Checkpoint,
    /// `true` if missing records are replaced by gaps.
    fills: bool,
}

impl Copy {
    /// Begins a tape that will be at `path`, accessible to its owner only.
    ///
    /// # Errors
    /// Returns an error if the directory of `path` cannot be written to.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let header = Header { part: 1, ..header.clone() };
        let (file, index) = (Draft::beside(path)?, Draft::beside(path)?);
        let part = PartWriter::begin(Box::new(file.file()?), &header, Stamp::default(), 0)?;
        index.file()?.write_all(&index::header(1, &part.begins(&header)))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            index,
            header,
            part,
            lines: Vec::new(),
            entries: index::PendingEntries::default(),
            totals: Totals::default(),
            checkpoint: Checkpoint::default(),
            fills: false,
        })
    }

    /// Writes a gap where records are missing.
    #[must_use]
    pub fn filling(self) -> Self {
        Self { fills: true, ..self }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let last = self.totals.last();
        if self.fills && record.seq > last + 1 {
            let gap = Gap { first: last + 1, last: record.seq - 1 };
            let is_one = matches!(&record.body, Body::Gap(told) if told.first <= gap.first);
            if !is_one {
                self.line(&Record {
                    seq: gap.last,
                    at: record.at,
                    session: SessionId(0),
                    body: Body::Gap(gap),
                })?;
            }
        }
        self.line(record)
    }

    fn line(&mut self, record: &Record) -> io::Result<()> {
        let from = self.lines.len();
        let wall = self.header.anchor.saturating_add(record.at.nanos() / 1000);
        write_record(&mut self.lines, record, wall);
        let line = &self.lines[from..];
        let offset = self.part.length() + from as u64;
        let entry = IndexEntry::of(record, offset, line.len(), self.part.names());
        self.entries.add(self.totals.last(), record.seq, &entry);
        if let Some(change) = CheckpointChange::of(record, line) {
            self.checkpoint.apply(change);
        }
        self.totals.count(record);
        if self.lines.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.part.append_block(&mut self.lines, self.totals.last())?;
        self.entries.write_to(&self.index.file()?)?;
        self.lines.clear();
        Ok(())
    }

    /// Seals the tape and gives it its name. An existing file of that name is replaced atomically,
    /// and the parts behind it are removed.
    ///
    /// # Errors
    /// Returns an error if the tape cannot be written; the existing file is unchanged then.
    pub fn finish(self) -> io::Result<()> {
        self.finish_behind(|| Ok(()))
    }

    /// Seals the tape like [`Copy::finish`], and calls `first` after the last byte is written and
    /// before the tape gets its name, to make room.
    ///
    /// # Errors
    /// Returns an error if the tape cannot be written or `first` fails.
    pub fn finish_behind(mut self, first: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.flush()?;
        self.part.seal(self.totals, self.checkpoint.facts(), false)?;
        self.part.sync()?;
        first()?;
        let later: Vec<PathBuf> = match self.path.exists() {
            true => part::parts(&self.path).split_off(1),
            false => Vec::new(),
        };
        // The order does not matter: the header of the old index shows that it does not match the
        // new file.
        self.file.persist(&self.path)?;
        self.index.persist(&index::path_beside(&self.path))?;
        for part in later {
            // Later parts belong to the tape that was replaced; nothing else refers to them.
            let _ = std::fs::remove_file(index::path_beside(&part));
            let _ = std::fs::remove_file(part);
        }
        if let Some(directory) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Sync the directory, so that the names are on the disk as well; not every file system
            // can do this.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }

    /// Returns the last record written; 0 if there is none.
    pub fn last(&self) -> Seq {
        self.totals.last()
    }
}
