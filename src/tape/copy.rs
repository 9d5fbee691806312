//! A tape made of records that are there already: redacted, repaired, cut or imported. Their
//! numbers and times stay.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, CheckpointChange};
use super::draft::Draft;
use super::format::{Header, write_record};
use super::index::{self, Entry};
use super::part;
use super::writer::{Part, Totals};
use crate::clock::Stamp;
use crate::log::record::{Body, Gap, Record, Seq, SessionId};

/// Bytes that are written at once, with a mark behind them.
const BLOCK: usize = 1 << 20;

/// A tape being written from records. It has its name only when it is whole: until then, and when
/// it is given up, whatever had that name is as it was.
pub struct Copy {
    path: PathBuf,
    file: Draft,
    index: Draft,
    header: Header,
    part: Part,
    lines: Vec<u8>,
    entries: index::Pending,
    totals: Totals,
    checkpoint: Checkpoint,
    /// Whether what is missing between records is said.
    fills: bool,
}

impl Copy {
    /// Begins a tape that will be at `path`, readable by its owner alone.
    ///
    /// # Errors
    /// When its directory cannot be written to.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let header = Header { part: 1, ..header.clone() };
        let (file, index) = (Draft::beside(path)?, Draft::beside(path)?);
        let part = Part::begin(Box::new(file.file()?), &header, Stamp::default(), 0)?;
        index.file()?.write_all(&index::header(1, &part.begins(&header)))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            index,
            header,
            part,
            lines: Vec::new(),
            entries: index::Pending::default(),
            totals: Totals::default(),
            checkpoint: Checkpoint::default(),
            fills: false,
        })
    }

    /// Says with a gap what is missing between records.
    #[must_use]
    pub fn filling(self) -> Self {
        Self { fills: true, ..self }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When it cannot be written.
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
        let entry = Entry::of(record, offset, line.len(), self.part.names());
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

    /// Seals the tape and gives it its name. Whatever had that name before is replaced at once,
    /// with the parts behind it.
    ///
    /// # Errors
    /// When it cannot be written; then the old file is as it was.
    pub fn finish(self) -> io::Result<()> {
        self.finish_behind(|| Ok(()))
    }

    /// The same; `first` makes room between the last byte and the name.
    ///
    /// # Errors
    /// When it cannot be written, or there is no room.
    pub fn finish_behind(mut self, first: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.flush()?;
        self.part.seal(self.totals, self.checkpoint.facts(), false)?;
        self.part.sync()?;
        first()?;
        let later: Vec<PathBuf> = match self.path.exists() {
            true => part::parts(&self.path).split_off(1),
            false => Vec::new(),
        };
        // The old index does not fit the new file, and is told by its header; so the order is free.
        self.file.persist(&self.path)?;
        self.index.persist(&index::path_beside(&self.path))?;
        for part in later {
            // It belongs to the tape that was replaced; left there it would only be litter.
            let _ = std::fs::remove_file(index::path_beside(&part));
            let _ = std::fs::remove_file(part);
        }
        if let Some(directory) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The names are on the disk as well then; not every file system can do this.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }

    /// The last record written.
    pub fn last(&self) -> Seq {
        self.totals.last()
    }
}
