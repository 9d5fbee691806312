//! Writer of a log to a tape, block by block and part by part.
//!
//! Records since the last flush are written with one call, followed by a mark. A write that fails
//! (a full disk) is undone and tried again at the next flush; proxied traffic never waits for it,
//! and records that the log could not keep meanwhile become a gap.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, CheckpointChange};
use super::files::part_path;
use super::format::{Header, Mark, Seal, write_checkpoint, write_record, write_tagged};
use super::index::{self, EntryNames, Index, IndexEntry};
use super::media::Media;
use super::redact::Redactor;
use super::shelf::{Shelf, ShelfPart as Shelved};
use super::source::PartBytes;
use crate::clock::Stamp;
use crate::log::record::{Body, Record, Seq};
use crate::log::{Archive, Log, Tail};

/// Interval at which written data is forced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Size in bytes at which a part is sealed and the next one begun …
const PART_BYTES: u64 = 256 << 20;
/// … or the age at which this happens.
const PART_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes that are encoded before they are written, so that a long backlog takes bounded memory.
const BLOCK: usize = 4 << 20;

/// Description of what is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingInfo {
    /// Name of the recording for people.
    pub name: String,
    /// Command line or URL that is recorded.
    pub target: Vec<String>,
    /// Id of the tape that it was made from, if any.
    pub parent: Option<String>,
}

/// Writes a log to a tape, part by part.
pub struct TapeWriter {
    log: Arc<Log>,
    tail: Tail,
    path: PathBuf,
    header: Header,
    part: PartWriter,
    /// Bytes of the parts before this one.
    before: u64,
    totals: Totals,
    shelf: Arc<Shelf>,
    checkpoint: Checkpoint,
    part_bytes: u64,
    redactor: Option<Arc<Redactor>>,
}

/// Counts that the seal repeats.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    records: u64,
    frames: u64,
    errors: u64,
    last: Seq,
    mono: Stamp,
}

/// Part that is being written.
pub(super) struct PartWriter {
    media: Box<dyn Media>,
    index: Option<File>,
    /// Bytes written, all of them complete lines.
    length: u64,
    began: Stamp,
    synced: Stamp,
    marks: Sha256,
    /// Hash state of the current block; the first block begins with the header.
    block: Sha256,
    names: EntryNames,
    /// Last record whose index entry was written.
    indexed: Seq,
}

impl TapeWriter {
    /// Creates the tape file, accessible to its owner only, and writes its header.
    ///
    /// # Errors
    /// Returns an error if the file exists or cannot be written.
    pub fn create(path: &Path, subject: RecordingInfo, log: &Arc<Log>) -> io::Result<Self> {
        Self::create_redacted(path, subject, log, None)
    }

    /// Creates the tape file like [`TapeWriter::create`]; secrets that `redactor` finds are not
    /// written.
    ///
    /// # Errors
    /// Returns an error if the file exists or cannot be written.
    pub fn create_redacted(
        path: &Path,
        subject: RecordingInfo,
        log: &Arc<Log>,
        redactor: Option<Arc<Redactor>>,
    ) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_private_directory(directory)?;
        }
        let nowhere = Box::new(io::sink());
        let mut writer = Self::on(nowhere, path, subject, log)?;
        if let Some(redactor) = &redactor {
            writer.header = redactor.header(&writer.header);
        }
        writer.redactor = redactor;
        let (part, readable) = writer.begin_part(path, &writer.header)?;
        writer.part = part;
        writer.shelf.push(readable);
        log.set_archive(Arc::clone(&writer.shelf) as Arc<dyn Archive>);
        Ok(writer)
    }

    /// Creates a writer to `media`, from which no records can be read back.
    ///
    /// # Errors
    /// Returns an error if the header cannot be written.
    pub fn on(
        media: Box<dyn Media>,
        path: &Path,
        subject: RecordingInfo,
        log: &Arc<Log>,
    ) -> io::Result<Self> {
        let header = Header {
            name: subject.name,
            target: subject.target,
            parent: subject.parent,
            ..Header::new(log.clock().anchor())
        };
        let part = PartWriter::begin(media, &header, log.clock().now(), 0)?;
        Ok(Self {
            log: Arc::clone(log),
            tail: log.tail(1),
            path: path.to_owned(),
            header,
            part,
            before: 0,
            totals: Totals::default(),
            shelf: Arc::default(),
            checkpoint: Checkpoint::default(),
            part_bytes: PART_BYTES,
            redactor: None,
        })
    }

    /// Begins a new part at this size in bytes instead of 256 MiB.
    #[must_use]
    pub fn rolling_at(self, part_bytes: u64) -> Self {
        Self { part_bytes, ..self }
    }

    /// Writes all new records, followed by a mark; syncs the file and begins the next part when
    /// these are due.
    ///
    /// # Errors
    /// Returns an error if the tape cannot be written. A block that failed is undone, and the next
    /// flush tries it again.
    pub fn flush(&mut self) -> io::Result<()> {
        // The number of blocks is limited: a backlog that grows meanwhile must not keep parts from
        // rolling.
        const BLOCKS: usize = 16;
        for _ in 0..BLOCKS {
            if !self.flush_block()? {
                break;
            }
        }
        let now = self.log.clock().now();
        if now.since(self.part.synced) >= SYNC_EVERY {
            self.part.media.sync()?;
            self.part.synced = now;
        }
        if self.part.length > self.part_bytes || now.since(self.part.began) > PART_AGE {
            match self.roll() {
                // The file of the next part exists already: go on with this part.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Writes one block. Returns `true` if there may be more.
    fn flush_block(&mut self) -> io::Result<bool> {
        let start = self.tail.position();
        let mut lines = Vec::new();
        let mut entries = index::PendingEntries::default();
        let mut totals = self.totals;
        let mut indexed = self.part.indexed;
        let mut changes = Vec::new();
        while lines.len() < BLOCK {
            let records = self.tail.read(1024);
            if records.is_empty() {
                break;
            }
            for record in &records {
                let clean = self.redactor.as_ref().map(|redactor| redactor.record(record));
                let record = clean.as_ref().unwrap_or(record);
                let from = lines.len();
                write_record(&mut lines, record, self.log.clock().wall(record.at));
                let offset = self.part.length + from as u64;
                let entry = IndexEntry::of(record, offset, lines.len() - from, &mut self.part.names);
                entries.add(indexed, record.seq, &entry);
                indexed = record.seq;
                totals.count(record);
                changes.extend(CheckpointChange::of(record, &lines[from..]));
            }
        }
        if lines.is_empty() {
            return Ok(false);
        }
        if let Err(error) = self.part.append_block(&mut lines, totals.last) {
            self.tail.seek(start);
            return Err(error);
        }
        self.totals = totals;
        changes.into_iter().for_each(|change| self.checkpoint.apply(change));
        // A failed index is given up: it only makes the tape slower to open, and can be rebuilt.
        // Records that are not in it cannot be read back for now, but are not lost.
        self.part.index = self.part.index.take().filter(|index| entries.write_to(index).is_ok());
        self.part.indexed = indexed;
        self.log.archived(totals.last);
        Ok(true)
    }

    /// Begins the next part and seals this one. Either both happen or neither.
    fn roll(&mut self) -> io::Result<()> {
        let mut header = self.header.clone();
        header.part += 1;
        let next = part_path(&self.path, header.part);
        let (part, readable) = self.begin_part(&next, &header)?;
        if let Err(error) = self.part.seal(self.totals, self.checkpoint.facts(), true) {
            // Both files were made just now.
            let _ = std::fs::remove_file(index::path_beside(&next));
            let _ = std::fs::remove_file(&next);
            return Err(error);
        }
        // The sealed part is complete, so a failed sync is only reported after the change of parts.
        let synced = self.part.media.sync();
        self.before += self.part.length;
        self.part = part;
        self.header = header;
        self.shelf.push(readable);
        synced
    }

    /// Creates the files of a part, and opens them for reading back.
    fn begin_part(&self, path: &Path, header: &Header) -> io::Result<(PartWriter, Shelved)> {
        // A file that exists already is not ours: fail here, so that it is not removed.
        let file = create_file(path)?;
        // Otherwise the file would block the next attempt.
        self.fill_part(file, path, header).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    fn fill_part(&self, file: File, path: &Path, header: &Header) -> io::Result<(PartWriter, Shelved)> {
        let last = self.totals.last;
        let mut part = PartWriter::begin(Box::new(file), header, self.log.clock().now(), last)?;
        if header.part > 1 {
            let mut line = Vec::new();
            write_checkpoint(&mut line, self.checkpoint.open());
            part.media.append(&line)?;
            part.length += line.len() as u64;
            part.block.update(&line);
        }
        let mut index = index::create(path)?;
        let begins = header_line(header);
        index.write_all(&index::header(last + 1, &begins))?;
        let (source, readable) =
            (PartBytes::Plain(File::open(path)?), Index::read(index.try_clone()?, &begins)?);
        part.index = Some(index);
        let index = readable;
        Ok((part, Shelved { source, index, loose: Vec::new() }))
    }

    /// Writes the remaining records and seals the tape.
    ///
    /// # Errors
    /// Returns an error if the tape cannot be written; it is readable then, but not sealed.
    pub fn seal(&mut self) -> io::Result<()> {
        while self.flush_block()? {}
        self.part.seal(self.totals, self.checkpoint.facts(), false)?;
        self.part.media.sync()
    }

    /// Returns the path of the first part.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.before + self.part.length
    }

    /// Returns the number of frames written.
    pub fn frames(&self) -> u64 {
        self.totals.frames
    }

    /// Returns the log that is written.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

impl Totals {
    pub(super) fn last(&self) -> Seq {
        self.last
    }

    /// Returns the seal behind records with these counts.
    pub(super) fn seal(self, hash: String, facts: Vec<Box<RawValue>>, continued: bool) -> Seal {
        let Self { records, frames, errors, last, mono } = self;
        Seal { records, frames, errors, last, mono: mono.nanos(), hash, continued, facts }
    }

    pub(super) fn count(&mut self, record: &Record) {
        self.records += 1;
        self.last = record.seq;
        self.mono = record.at;
        if let Body::Frame(frame) = &record.body {
            self.frames += 1;
            self.errors += u64::from(frame.message.is_error());
        }
    }
}

impl PartWriter {
    /// Returns the first line of the part.
    pub(super) fn begins(&self, header: &Header) -> Vec<u8> {
        header_line(header)
    }

    /// Returns the number of bytes written so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn names(&mut self) -> &mut EntryNames {
        &mut self.names
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.media.sync()
    }

    pub(super) fn begin(
        mut media: Box<dyn Media>,
        header: &Header,
        now: Stamp,
        indexed: Seq,
    ) -> io::Result<Self> {
        let line = header_line(header);
        media.append(&line)?;
        Ok(Self {
            media,
            index: None,
            length: line.len() as u64,
            began: now,
            synced: now,
            marks: Sha256::new(),
            block: Sha256::new_with_prefix(&line),
            names: EntryNames::default(),
            indexed,
        })
    }

    pub(super) fn append_block(&mut self, lines: &mut Vec<u8>, last: Seq) -> io::Result<()> {
        let mut block = self.block.clone();
        block.update(&lines[..]);
        let hash = hex(block);
        let mark = Mark { offset: self.length + lines.len() as u64, hash: hash.clone(), last };
        write_tagged(lines, "mark", &mark);
        if let Err(error) = self.media.append(lines) {
            // A partial block is cut off: the tape would be torn although the disk may have room
            // again soon. If the cut fails too, readers still find the last complete record.
            let _ = self.media.cut(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.marks.update(hash.as_bytes());
        self.block = Sha256::new();
        Ok(())
    }

    pub(super) fn seal(
        &mut self,
        totals: Totals,
        facts: Vec<Box<RawValue>>,
        continued: bool,
    ) -> io::Result<()> {
        let seal = totals.seal(hex(self.marks.clone()), facts, continued);
        let mut line = Vec::new();
        write_tagged(&mut line, "seal", &seal);
        if let Err(error) = self.media.append(&line) {
            let _ = self.media.cut(self.length);
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Returns the first line of a part.
fn header_line(header: &Header) -> Vec<u8> {
    let mut line = Vec::new();
    write_tagged(&mut line, "header", header);
    line
}

/// Returns a hash in lower-case hexadecimal.
pub fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    // The lock tells other processes that the file is being written; not every file system supports
    // it.
    let _ = file.try_lock();
    Ok(file)
}

/// Creates `directory` and its missing parents, accessible to their owner only.
///
/// # Errors
/// Returns an error if a directory cannot be created.
pub fn create_private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
