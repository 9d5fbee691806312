//! Writing a log down, block by block, part by part.
//!
//! What came since the last flush is written with one call, a mark behind it. A write that fails
//! (a full disk) is undone and tried again at the next flush; the wire never waits for it, and
//! what the log could not keep meanwhile is a gap.

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
use super::index::{self, Entry, Index, Names};
use super::media::Media;
use super::redact::Redactor;
use super::shelf::{Part as Shelved, Shelf};
use super::source::Source;
use crate::clock::Stamp;
use crate::log::record::{Body, Record, Seq};
use crate::log::{Archive, Log, Tail};

/// How often what was written is forced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// A part is sealed and the next begun at this size …
const PART_BYTES: u64 = 256 << 20;
/// … or this age.
const PART_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes encoded before they are written, so that a long backlog takes bounded memory.
const BLOCK: usize = 4 << 20;

/// What a tape is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub target: Vec<String>,
    /// The id of the tape that it was made from.
    pub parent: Option<String>,
}

/// Writes a log to a tape, part by part.
pub struct TapeWriter {
    log: Arc<Log>,
    tail: Tail,
    path: PathBuf,
    header: Header,
    part: Part,
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

/// The part that is being written.
pub(super) struct Part {
    media: Box<dyn Media>,
    index: Option<File>,
    /// Bytes written, all of them whole lines.
    length: u64,
    began: Stamp,
    synced: Stamp,
    marks: Sha256,
    /// Hash state of the block so far: the header before the first mark.
    block: Sha256,
    names: Names,
    /// The last record whose index entry was written.
    indexed: Seq,
}

impl TapeWriter {
    /// Creates the tape file, readable by its owner alone, and writes its header.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, subject: Subject, log: &Arc<Log>) -> io::Result<Self> {
        Self::create_redacted(path, subject, log, None)
    }

    /// The same, without the secrets that `redactor` finds.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create_redacted(
        path: &Path,
        subject: Subject,
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

    /// Records onto `media`; nothing can be read back from it.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn on(media: Box<dyn Media>, path: &Path, subject: Subject, log: &Arc<Log>) -> io::Result<Self> {
        let header = Header {
            name: subject.name,
            target: subject.target,
            parent: subject.parent,
            ..Header::new(log.clock().anchor())
        };
        let part = Part::begin(media, &header, log.clock().now(), 0)?;
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

    /// Rolls at this size instead of 256 MiB.
    #[must_use]
    pub fn rolling_at(self, part_bytes: u64) -> Self {
        Self { part_bytes, ..self }
    }

    /// Writes everything new and a mark behind it.
    ///
    /// # Errors
    /// When it could not be written; then the tape is as it was, and the next flush tries again.
    pub fn flush(&mut self) -> io::Result<()> {
        // A backlog that grows while it is written must not keep parts from rolling.
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
                // The name of the next part is taken: this one goes on.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Writes one block. Returns whether there may be more.
    fn flush_block(&mut self) -> io::Result<bool> {
        let start = self.tail.position();
        let mut lines = Vec::new();
        let mut entries = index::Pending::default();
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
                let entry = Entry::of(record, offset, lines.len() - from, &mut self.part.names);
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
        // Without its index the tape is only slower to open; it can be rebuilt from the tape. What
        // is not in it cannot be read back either, but it is not lost.
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
            discard(&next);
            return Err(error);
        }
        // Sealed it is whole; whether the disk has it yet is the next sync's question as well.
        let synced = self.part.media.sync();
        self.before += self.part.length;
        self.part = part;
        self.header = header;
        self.shelf.push(readable);
        synced
    }

    /// Creates the files of a part, and what reads them back.
    fn begin_part(&self, path: &Path, header: &Header) -> io::Result<(Part, Shelved)> {
        // A file that is there already is somebody else's.
        let file = create_file(path)?;
        self.fill_part(file, path, header).inspect_err(|_| discard(path))
    }

    fn fill_part(&self, file: File, path: &Path, header: &Header) -> io::Result<(Part, Shelved)> {
        let last = self.totals.last;
        let mut part = Part::begin(Box::new(file), header, self.log.clock().now(), last)?;
        if header.part > 1 {
            let mut line = Vec::new();
            write_checkpoint(&mut line, self.checkpoint.open());
            part.media.append(&line)?;
            part.length += line.len() as u64;
            part.block.update(&line);
        }
        let mut index = create_file(&index::path_beside(path))?;
        let begins = header_line(header);
        index.write_all(&index::header(last + 1, &begins))?;
        part.index = Some(index);
        let (source, index) = (Source::Plain(File::open(path)?), Index::open(path, &begins)?);
        Ok((part, Shelved { source, index, loose: Vec::new() }))
    }

    /// Writes what is left and ends the tape.
    ///
    /// # Errors
    /// When it could not be written; the tape is readable all the same, only not sealed.
    pub fn seal(&mut self) -> io::Result<()> {
        while self.flush_block()? {}
        self.part.seal(self.totals, self.checkpoint.facts(), false)?;
        self.part.media.sync()
    }

    /// Where the first part is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.before + self.part.length
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.totals.frames
    }

    /// The log that is written down.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

impl Totals {
    pub(super) fn last(&self) -> Seq {
        self.last
    }

    /// The seal behind records that add up to this.
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

impl Part {
    /// The line that it begins with.
    pub(super) fn begins(&self, header: &Header) -> Vec<u8> {
        header_line(header)
    }

    /// Bytes written so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn names(&mut self) -> &mut Names {
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
            names: Names::default(),
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
            // Half a block would be a torn tape although the disk may have room again soon. If
            // even the cut fails, readers still find the last whole record.
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

/// The line that a part begins with.
fn header_line(header: &Header) -> Vec<u8> {
    let mut line = Vec::new();
    write_tagged(&mut line, "header", header);
    line
}

/// A hash as lower-case hexadecimal.
pub fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Removes the files of a part that was begun in vain; left there they would stand in the way.
fn discard(path: &Path) {
    let _ = std::fs::remove_file(index::path_beside(path));
    let _ = std::fs::remove_file(path);
}

fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    // Tells others that it is being written; not every file system can.
    let _ = file.try_lock();
    Ok(file)
}

/// Creates `directory` and what is missing above it, readable by the owner alone.
///
/// # Errors
/// When it cannot be created.
pub fn create_private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
