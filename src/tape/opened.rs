//! A tape opened for viewing: its world, folded from the index, and a log that reads single records
//! back from the file.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::draft::Draft;
use super::files;
use super::format::{Header, Seal, TapeLine, read_line};
use super::index::{self, Brief, EntryNames, Index, IndexEntry, PendingEntries};
use super::notes;
use super::part::{OpenError, PartFile};
use super::shelf::{Shelf, ShelfPart};
use crate::clock::{Clock, Stamp};
use crate::log::Log;
use crate::log::digest::Digest;
use crate::log::record::{Body, Record, Seq, SessionId};
use crate::log::world::{Name, World};

/// A tape that was opened.
pub struct OpenedTape {
    /// Path of the first part.
    pub path: PathBuf,
    /// Header of the part that was opened.
    pub header: Header,
    /// State folded from all records of the tape and the notes beside it.
    pub world: World,
    /// Log that reads the records back from the tape, with the notes beside it appended.
    pub log: Arc<Log>,
    /// Last record of the tape itself, without the notes.
    pub last: Seq,
    /// Seal of the last part; `None` if the tape is still being recorded, its recorder was killed,
    /// or a part is missing.
    pub seal: Option<Seal>,
    /// Bytes of all parts, before compression.
    pub bytes: u64,
    /// Bytes behind the last complete line.
    pub torn: u64,
}

/// Callback for the progress of opening: bytes examined, and bytes in total.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Opens the tape whose first part is at `path`. An index that is missing or does not match is made
/// anew, which takes a while for a long tape: `progress` is called meanwhile.
///
/// # Errors
/// Returns an error if the tape cannot be read, is not a tape, or was written by a newer program.
pub fn open(path: &Path, progress: &mut Progress<'_>) -> Result<OpenedTape, OpenError> {
    let part = PartFile::open(path)?;
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let again = part.another().map_err(failed)?;
    match read(part, true, progress) {
        // The file was changed after its index was made, or the index is damaged: the tape itself
        // counts.
        Err(Unread::Unfit) => match read(again, false, progress) {
            Err(Unread::Unfit) => Err(failed(io::Error::other("its index cannot be built"))),
            Err(Unread::Failed(error)) => Err(error),
            Ok(opened) => Ok(opened),
        },
        Err(Unread::Failed(error)) => Err(error),
        Ok(opened) => Ok(opened),
    }
}

/// Reason why a tape was not read.
enum Unread {
    /// The index does not match its tape.
    Unfit,
    Failed(OpenError),
}

fn read(mut part: PartFile, trusts: bool, progress: &mut Progress<'_>) -> Result<OpenedTape, Unread> {
    let header = part.header.clone();
    let path = files::first_part(&part.path, header.part);
    let mut fold = Fold { world: World::default(), progress, torn: 0, trusts, whole: header.part == 1 };
    let shelf = Arc::new(Shelf::default());
    let mut bytes = 0;
    let seal = loop {
        let failed = |source| Unread::Failed(OpenError::Io { path: part.path.clone(), source });
        bytes += part.source.length().map_err(failed)?;
        let (read, seal) = fold.part(&part).map_err(failed)?.ok_or(Unread::Unfit)?;
        shelf.push(read);
        match seal {
            // A missing part is damage, which `validate` reports; the parts that exist are shown.
            Some(seal) if seal.continued => {
                match PartFile::open(&files::next_part(&path, part.header.part)) {
                    Ok(next) if next.header.tape == header.tape => part = next,
                    _ => break None,
                }
            }
            seal => break seal,
        }
    };
    let Fold { mut world, torn, .. } = fold;
    world.touched = Vec::new();
    let last = world.last;
    let log = Log::finished(Clock::standing(header.anchor, world.now), last, shelf);
    for note in notes::read(&path) {
        let seq = log.append(SessionId(0), Body::Note(note));
        log.get(seq).iter().for_each(|record| world.apply(record));
    }
    Ok(OpenedTape { path, header, world, log, last, seal, bytes, torn })
}

/// Folds the parts of a tape into a world.
struct Fold<'a, 'b> {
    world: World,
    progress: &'a mut Progress<'b>,
    torn: u64,
    /// `true` if an index is used as far as it matches its tape.
    trusts: bool,
    /// `true` if reading began with the first part.
    whole: bool,
}

/// Number of entries in a decoded chunk; up to `CHUNKS` chunks may wait.
const CHUNK: usize = 4096;
const CHUNKS: usize = 4;
/// Minimum bytes that a frame and its outcome take on a tape.
const LEAST: u64 = 128;
/// Maximum number of records that may be missing without a gap record; a larger jump is a damaged
/// number.
const JUMP: u64 = 1 << 20;
/// Maximum number of records that may be missing at all.
const GAP: u64 = 1 << 27;
/// Number of touched frames after which they are forgotten: no view uses them yet.
const TOUCHED: usize = 1 << 16;

impl Fold<'_, '_> {
    /// Folds a part; returns `None` if its index does not match it.
    fn part(&mut self, part: &PartFile) -> io::Result<Option<(ShelfPart, Option<Seal>)>> {
        let source = part.source.another()?;
        let begins = part.begins.len() as u64;
        match Index::open(&part.path, &part.begins) {
            Ok(index) if self.trusts && part.migrated.is_none() => {
                let mut shelved = ShelfPart { source, index, loose: Vec::new() };
                let Some(end) = self.indexed(&shelved)? else { return Ok(None) };
                // Lines that are not in the index yet: the last flush of a recorder, or a seal.
                let mut loose = Vec::new();
                let seal = self.unindexed(part, end.max(begins), &mut |record, at, length| {
                    loose.push((record.seq, at, length));
                    Ok(())
                })?;
                shelved.loose = loose;
                Ok(Some((shelved, seal)))
            }
            _ => self.index_anew(part, source).map(Some),
        }
    }

    /// Folds the records in the index and returns the end of their last line; `None` if the lines
    /// do not match the index.
    fn indexed(&mut self, part: &ShelfPart) -> io::Result<Option<u64>> {
        // The end of the index is read before the length: a recorder writes the tape before its
        // index.
        let until = part.index.end();
        let length = part.source.length()?;
        if part.index.first() <= self.world.last {
            return Ok(None);
        }
        let mut end = 0;
        let mut newest = None;
        let mut texts = Texts::new(&mut self.world);
        let count = until.saturating_sub(part.index.first());
        // At most half of the records are frames: every frame has a record of its outcome.
        let rows = (count / 2).min(length / LEAST);
        self.world.rows.reserve_exact(usize::try_from(rows).unwrap_or(0));
        // Entries are read and decoded on a second thread, since that is half of the work.
        std::thread::scope(|scope| {
            let (sender, chunks) = sync_channel(CHUNKS);
            scope.spawn(move || {
                let mut entries = part.index.entries(0).take_while(|(seq, _)| *seq < until);
                loop {
                    let chunk: Vec<(Seq, IndexEntry)> = entries.by_ref().take(CHUNK).collect();
                    // `Err` means that folding was given up: stop too.
                    if chunk.is_empty() || sender.send(chunk).is_err() {
                        return;
                    }
                }
            });
            for (seq, entry) in chunks.into_iter().flatten() {
                if entry.offset < end || entry.offset + u64::from(entry.length) > length {
                    return Ok(None);
                }
                end = entry.offset + u64::from(entry.length);
                newest = Some((seq, entry.offset, entry.length));
                if !self.entry(part, seq, &entry, &mut texts) {
                    return Ok(None);
                }
            }
            let fits = newest.is_none_or(|(seq, offset, length)| part.record(seq, offset, length).is_some());
            Ok(fits.then_some(end))
        })
    }

    /// Folds an entry; returns `false` if its line does not match it.
    fn entry(&mut self, part: &ShelfPart, seq: Seq, entry: &IndexEntry, texts: &mut Texts) -> bool {
        let (at, session) = (Stamp::from_nanos(entry.mono), SessionId(entry.session));
        match &entry.brief {
            Brief::Sent(sent) => self.world.apply_sent(seq, at, sent),
            Brief::Frame(digest) => {
                let Some(digest) = texts.digest(part, seq, entry, *digest, &mut self.world) else {
                    return false;
                };
                self.world.apply_frame(seq, at, session, &digest);
            }
            Brief::Other => match part.record(seq, entry.offset, entry.length) {
                Some(record) => self.world.apply(&record),
                None => return false,
            },
        }
        if self.world.touched.len() > TOUCHED {
            self.world.touched.clear();
        }
        true
    }

    /// Folds the lines from `offset` on and returns the seal at their end, if any. `each` is called
    /// with every record, and the offset and length of its line.
    fn unindexed(
        &mut self,
        part: &PartFile,
        offset: u64,
        each: &mut dyn FnMut(&Record, u64, u32) -> io::Result<()>,
    ) -> io::Result<Option<Seal>> {
        let total = part.source.length()?;
        let mut lines = part.lines(offset)?;
        let mut line = Vec::new();
        while let Some(at) = lines.next(&mut line)? {
            match read_line(&line) {
                Ok(TapeLine::Record(record)) if self.follows(&record) => {
                    each(&record, at, u32::try_from(line.len()).unwrap_or(u32::MAX))?;
                    self.world.apply(&record);
                }
                Ok(TapeLine::Seal(seal)) => return Ok(Some(seal)),
                Ok(TapeLine::Mark(_)) => (self.progress)(at, total),
                // Unreadable lines are skipped; `validate` reports them.
                _ => {}
            }
            if self.world.touched.len() > TOUCHED {
                self.world.touched.clear();
            }
        }
        self.torn += lines.torn;
        Ok(None)
    }

    /// Returns `true` if a record can follow those read so far. If reading does not begin with the
    /// first part, the first record may have a much higher number.
    fn follows(&self, record: &Record) -> bool {
        let last = self.world.last;
        let most = match &record.body {
            Body::Gap(_) => GAP,
            _ if last == 0 && !self.whole => GAP,
            _ => JUMP,
        };
        record.seq > last && record.seq - last <= most
    }

    /// Folds every line and makes an index of them: beside the part if that can be written, or else
    /// a temporary one.
    fn index_anew(
        &mut self,
        part: &PartFile,
        source: super::source::PartBytes,
    ) -> io::Result<(ShelfPart, Option<Seal>)> {
        let named = match (part.migrated, part.path.as_os_str() == "-") {
            (None, false) => Draft::beside(&index::path_beside(&part.path)).ok(),
            _ => None,
        };
        let mut file = match &named {
            Some(named) => named.file()?,
            None => tempfile::tempfile()?,
        };
        let (mut names, mut pending, mut last) = (EntryNames::default(), PendingEntries::default(), None);
        let seal = self.unindexed(part, part.begins.len() as u64, &mut |record, at, length| {
            let entry = IndexEntry::of(record, at, length as usize, &mut names);
            let before = match last {
                Some(last) => last,
                None => {
                    file.write_all(&index::header(record.seq, &part.begins))?;
                    record.seq - 1
                }
            };
            pending.add(before, record.seq, &entry);
            last = Some(record.seq);
            if pending.length() > BLOCK { pending.write_to(&file) } else { Ok(()) }
        })?;
        if last.is_none() {
            file.write_all(&index::header(self.world.last + 1, &part.begins))?;
        }
        pending.write_to(&file)?;
        // Only the index of a sealed part is kept: the recorder of an unsealed part writes its
        // index itself, and a broken part should not seem to be continued.
        if let Some(named) = named.filter(|_| seal.is_some()) {
            // The tape opens without the file too; ignore the error.
            let path = index::path_beside(&part.path);
            if index::may_replace(&path) {
                let _ = named.persist(&path);
            }
        }
        let index = Index::read(file, &part.begins)?;
        Ok((ShelfPart { source, index, loose: Vec::new() }, seal))
    }
}

/// Bytes of index entries that are written at once.
const BLOCK: usize = 1 << 20;

/// Texts that an index refers to, as far as they were read.
struct Texts {
    methods: HashMap<u32, Name>,
    targets: HashMap<u32, Name>,
    /// Text that replaces an unreadable one: the rest of the tape can still be read.
    lost: Name,
}

impl Texts {
    fn new(world: &mut World) -> Self {
        Self { methods: HashMap::new(), targets: HashMap::new(), lost: world.intern("(unreadable)") }
    }

    /// Returns the digest of a frame with its texts, which are read at their first use; `None` if
    /// its line does not match the index.
    fn digest(
        &mut self,
        part: &ShelfPart,
        seq: Seq,
        entry: &IndexEntry,
        digest: Digest<u32>,
        world: &mut World,
    ) -> Option<Digest<Name>> {
        let is_new = |known: &HashMap<u32, Name>, first: Option<u32>| {
            first.is_some_and(|first| !known.contains_key(&first))
        };
        if is_new(&self.methods, digest.method) || is_new(&self.targets, digest.target) {
            let record = part.record(seq, entry.offset, entry.length)?;
            let spelled = Digest::of(record.frame()?);
            let mut learn = |known: &mut HashMap<u32, Name>, first: Option<u32>, text: Option<&str>| {
                known.extend(first.zip(text.map(|text| world.intern(text))));
            };
            learn(&mut self.methods, digest.method, spelled.method.as_deref());
            learn(&mut self.targets, digest.target, spelled.target.as_deref());
        }
        let text = |known: &HashMap<u32, Name>, first: u32| known.get(&first).copied().unwrap_or(self.lost);
        let method = digest.method.map(|first| text(&self.methods, first));
        let target = digest.target.map(|first| text(&self.targets, first));
        Some(digest.named(method, target))
    }
}
