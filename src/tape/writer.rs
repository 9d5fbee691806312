//! Writing a log down, block by block, part by part.
//!
//! What came since the last flush is written with one call, a mark behind it. A write that fails
//! (a full disk) is undone and tried again at the next flush; the wire never waits for it, and
//! what the log could not keep meanwhile is a gap.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::format::{
    FORMAT, Header, Mark, Seal, VERSION, read_line, write_checkpoint, write_record, write_tagged,
};
use super::index::{self, Entry, Index, Names};
use super::media::Media;
use super::standing::{Standing, Turn};
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
    standing: Standing,
    part_bytes: u64,
}

/// Counts that the seal repeats.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    records: u64,
    frames: u64,
    errors: u64,
    last: Seq,
    mono: Stamp,
}

/// The part that is being written.
struct Part {
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

/// The parts written so far, to read evicted records back from.
#[derive(Default)]
struct Shelf {
    parts: Mutex<Vec<Readable>>,
}

/// The first record of a part, its file and its index.
type Readable = (Seq, File, Index);

impl Archive for Shelf {
    fn read(&self, seq: Seq) -> Option<Arc<Record>> {
        let parts = self.parts.lock();
        let at = parts.partition_point(|(first, ..)| *first <= seq).checked_sub(1)?;
        let (_, tape, index) = &parts[at];
        let entry = index.entry(seq)?;
        let mut line = vec![0; usize::try_from(entry.length).ok()?];
        tape.read_exact_at(&mut line, entry.offset).ok()?;
        match read_line(&line) {
            Ok(super::format::Line::Record(record)) if record.seq == seq => Some(Arc::new(record)),
            _ => None,
        }
    }

    fn next(&self, seq: Seq) -> Option<Seq> {
        let parts = self.parts.lock();
        let at = parts.partition_point(|(first, ..)| *first <= seq).saturating_sub(1);
        parts[at.min(parts.len())..].iter().find_map(|(first, _, index)| index.next(seq.max(first - 1)))
    }
}

/// The file of part `number` of the tape at `path`: `x.tape`, `x.2.tape`, …
pub fn part_path(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!("{stem}.{number}.tape"))
}

impl TapeWriter {
    /// Creates the tape file, readable by its owner alone, and writes its header.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, subject: Subject, log: &Arc<Log>) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_private_directory(directory)?;
        }
        let nowhere = Box::new(io::sink());
        let mut writer = Self::on(nowhere, path, subject, log)?;
        let (part, readable) = writer.begin_part(path, &writer.header)?;
        writer.part = part;
        writer.shelf.parts.lock().push(readable);
        log.set_archive(Arc::clone(&writer.shelf) as Arc<dyn Archive>);
        Ok(writer)
    }

    /// Records onto `media`; nothing can be read back from it.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn on(media: Box<dyn Media>, path: &Path, subject: Subject, log: &Arc<Log>) -> io::Result<Self> {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            by: concat!("shadowcat ", env!("CARGO_PKG_VERSION")).to_owned(),
            tape: uuid::Uuid::now_v7().to_string(),
            part: 1,
            anchor: log.clock().anchor(),
            name: subject.name,
            target: subject.target,
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
            standing: Standing::default(),
            part_bytes: PART_BYTES,
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
        let mut entries = Vec::new();
        let mut totals = self.totals;
        let mut indexed = self.part.indexed;
        let mut turns = Vec::new();
        while lines.len() < BLOCK {
            let records = self.tail.read(1024);
            if records.is_empty() {
                break;
            }
            for record in &records {
                let from = lines.len();
                write_record(&mut lines, record, self.log.clock().wall(record.at));
                let offset = self.part.length + from as u64;
                let entry = Entry::of(record, offset, lines.len() - from, &mut self.part.names);
                index::append(&mut entries, indexed, record.seq, &entry);
                indexed = record.seq;
                totals.count(record);
                turns.extend(Turn::of(record, &lines[from..]));
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
        turns.into_iter().for_each(|turn| self.standing.turn(turn));
        // Without its index the tape is only slower to open; it can be rebuilt from the tape. What
        // is not in it cannot be read back either, but it is not lost.
        self.part.index = self.part.index.take().filter(|index| (&*index).write_all(&entries).is_ok());
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
        if let Err(error) = self.part.seal(self.totals, self.standing.facts(), true) {
            discard(&next);
            return Err(error);
        }
        // Sealed it is whole; whether the disk has it yet is the next sync's question as well.
        let synced = self.part.media.sync();
        self.before += self.part.length;
        self.part = part;
        self.header = header;
        self.shelf.parts.lock().push(readable);
        synced
    }

    /// Creates the files of a part, and what reads them back.
    fn begin_part(&self, path: &Path, header: &Header) -> io::Result<(Part, Readable)> {
        // A file that is there already is somebody else's.
        let file = create_file(path)?;
        self.fill_part(file, path, header).inspect_err(|_| discard(path))
    }

    fn fill_part(&self, file: File, path: &Path, header: &Header) -> io::Result<(Part, Readable)> {
        let last = self.totals.last;
        let mut part = Part::begin(Box::new(file), header, self.log.clock().now(), last)?;
        if header.part > 1 {
            let mut line = Vec::new();
            write_checkpoint(&mut line, self.standing.open());
            part.media.append(&line)?;
            part.length += line.len() as u64;
            part.block.update(&line);
        }
        let mut index = create_file(&index::path_beside(path))?;
        index.write_all(&index::header(last + 1))?;
        part.index = Some(index);
        Ok((part, (last + 1, File::open(path)?, Index::open(path)?)))
    }

    /// Writes what is left and ends the tape.
    ///
    /// # Errors
    /// When it could not be written; the tape is readable all the same, only not sealed.
    pub fn seal(&mut self) -> io::Result<()> {
        while self.flush_block()? {}
        self.part.seal(self.totals, self.standing.facts(), false)?;
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
    fn count(&mut self, record: &Record) {
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
    fn begin(mut media: Box<dyn Media>, header: &Header, now: Stamp, indexed: Seq) -> io::Result<Self> {
        let mut line = Vec::new();
        write_tagged(&mut line, "header", header);
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

    fn append_block(&mut self, lines: &mut Vec<u8>, last: Seq) -> io::Result<()> {
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

    fn seal(&mut self, totals: Totals, facts: Vec<Box<RawValue>>, continued: bool) -> io::Result<()> {
        let seal = Seal {
            records: totals.records,
            frames: totals.frames,
            errors: totals.errors,
            last: totals.last,
            mono: totals.mono.nanos(),
            hash: hex(self.marks.clone()),
            continued,
            facts,
        };
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
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Creates `directory` and what is missing above it, readable by the owner alone.
///
/// # Errors
/// When it cannot be created.
pub fn create_private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
