//! A tape opened to be looked at: its world, folded from the index, and a log that reads single
//! records back from the file.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::draft::Draft;
use super::files;
use super::format::{Header, Line, Seal, read_line};
use super::index::{self, Brief, Entry, Index, Names, Pending};
use super::notes;
use super::part::{OpenError, PartFile};
use super::shelf::{Part, Shelf};
use crate::clock::{Clock, Stamp};
use crate::log::Log;
use crate::log::digest::Digest;
use crate::log::record::{Body, Record, Seq, SessionId};
use crate::log::world::{Name, World};

/// A tape that was opened.
pub struct Opened {
    /// The first part.
    pub path: PathBuf,
    pub header: Header,
    /// Everything that is on the tape, and the notes beside it.
    pub world: World,
    pub log: Arc<Log>,
    /// The last record of the tape itself.
    pub last: Seq,
    /// How it ended; none when it is still recorded, or its recorder was killed.
    pub seal: Option<Seal>,
    /// Bytes of all parts, before compression.
    pub bytes: u64,
    /// Bytes behind the last whole line.
    pub torn: u64,
}

/// How far opening has come: bytes looked at, and bytes in all.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Opens the tape whose first part is at `path`. An index that is missing or of another file is
/// made anew, which takes a while for a long tape: `progress` is told.
///
/// # Errors
/// When it cannot be read, is no tape, or is from a newer program.
pub fn open(path: &Path, progress: &mut Progress<'_>) -> Result<Opened, OpenError> {
    let part = PartFile::open(path)?;
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let again = part.another().map_err(failed)?;
    match read(part, true, progress) {
        // The file was changed behind its index, or the index is damaged: the tape itself counts.
        Err(Unread::Unfit) => match read(again, false, progress) {
            Err(Unread::Unfit) => Err(failed(io::Error::other("its index cannot be made"))),
            Err(Unread::Failed(error)) => Err(error),
            Ok(opened) => Ok(opened),
        },
        Err(Unread::Failed(error)) => Err(error),
        Ok(opened) => Ok(opened),
    }
}

/// Why a tape was not read.
enum Unread {
    /// An index does not fit its tape.
    Unfit,
    Failed(OpenError),
}

fn read(mut part: PartFile, trusts: bool, progress: &mut Progress<'_>) -> Result<Opened, Unread> {
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
            // A next part that is missing is damage that `validate` names; what is here is shown.
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
    Ok(Opened { path, header, world, log, last, seal, bytes, torn })
}

/// Folds the parts of a tape into a world.
struct Fold<'a, 'b> {
    world: World,
    progress: &'a mut Progress<'b>,
    torn: u64,
    /// Whether an index is taken at its word as far as it fits.
    trusts: bool,
    /// Whether reading began with the first part.
    whole: bool,
}

/// Entries that are decoded at once, and how many such chunks may wait.
const CHUNK: usize = 4096;
const CHUNKS: usize = 4;
/// The fewest bytes that a frame and what became of it take on a tape.
const LEAST: u64 = 128;
/// Records that may be missing without a word: more are a number that was damaged.
const JUMP: u64 = 1 << 20;
/// Records that may be missing at all.
const GAP: u64 = 1 << 27;
/// Touched frames that are forgotten at once: nobody keeps a list yet.
const TOUCHED: usize = 1 << 16;

impl Fold<'_, '_> {
    /// Folds a part; none when its index does not fit it.
    fn part(&mut self, part: &PartFile) -> io::Result<Option<(Part, Option<Seal>)>> {
        let source = part.source.another()?;
        let begins = part.begins.len() as u64;
        match Index::open(&part.path, &part.begins) {
            Ok(index) if self.trusts && part.migrated.is_none() => {
                let mut shelved = Part { source, index, loose: Vec::new() };
                let Some(end) = self.indexed(&shelved)? else { return Ok(None) };
                // What the index does not have yet: the last flush of a recorder, or a seal.
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

    /// Folds what the index has. Returns where the last of its lines ends; none when the lines are
    /// not what it says.
    fn indexed(&mut self, part: &Part) -> io::Result<Option<u64>> {
        // In this order: a tape that is recorded right now is written before its index.
        let until = part.index.end();
        let length = part.source.length()?;
        if part.index.first() <= self.world.last {
            return Ok(None);
        }
        let mut end = 0;
        let mut newest = None;
        let mut texts = Texts::new(&mut self.world);
        let count = until.saturating_sub(part.index.first());
        // A frame has at least one record beside it that says what became of it.
        let rows = (count / 2).min(length / LEAST);
        self.world.rows.reserve_exact(usize::try_from(rows).unwrap_or(0));
        // Reading and decoding is half of the work, and there is more than one processor.
        std::thread::scope(|scope| {
            let (sender, chunks) = sync_channel(CHUNKS);
            scope.spawn(move || {
                let mut entries = part.index.entries(0).take_while(|(seq, _)| *seq < until);
                loop {
                    let chunk: Vec<(Seq, Entry)> = entries.by_ref().take(CHUNK).collect();
                    // Whoever folds them may have given up.
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

    /// Folds an entry; false when its line is not what it says.
    fn entry(&mut self, part: &Part, seq: Seq, entry: &Entry, texts: &mut Texts) -> bool {
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

    /// Folds the lines from `offset` on; `each` is told of every record, and where its line is.
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
                Ok(Line::Record(record)) if self.follows(&record) => {
                    each(&record, at, u32::try_from(line.len()).unwrap_or(u32::MAX))?;
                    self.world.apply(&record);
                }
                Ok(Line::Seal(seal)) => return Ok(Some(seal)),
                Ok(Line::Mark(_)) => (self.progress)(at, total),
                // What cannot be read is what `validate` is for.
                _ => {}
            }
            if self.world.touched.len() > TOUCHED {
                self.world.touched.clear();
            }
        }
        self.torn += lines.torn;
        Ok(None)
    }

    /// Whether a record can stand behind those read so far. Where reading does not begin with the
    /// first part, the first record may have any number.
    fn follows(&self, record: &Record) -> bool {
        let last = self.world.last;
        let most = match &record.body {
            Body::Gap(_) => GAP,
            _ if last == 0 && !self.whole => GAP,
            _ => JUMP,
        };
        record.seq > last && record.seq - last <= most
    }

    /// Folds every line, and makes an index of them: beside the part where that can be written,
    /// else for this time only.
    fn index_anew(
        &mut self,
        part: &PartFile,
        source: super::source::Source,
    ) -> io::Result<(Part, Option<Seal>)> {
        let named = match (part.migrated, part.path.as_os_str() == "-") {
            (None, false) => Draft::beside(&index::path_beside(&part.path)).ok(),
            _ => None,
        };
        let mut file = match &named {
            Some(named) => named.file()?,
            None => tempfile::tempfile()?,
        };
        let (mut names, mut pending, mut last) = (Names::default(), Pending::default(), None);
        let seal = self.unindexed(part, part.begins.len() as u64, &mut |record, at, length| {
            let entry = Entry::of(record, at, length as usize, &mut names);
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
        // A tape that is still recorded has a writer of its index; a broken one is not a reason to
        // give it one that it would go on with.
        if let Some(named) = named.filter(|_| seal.is_some()) {
            // Without it the tape opens all the same.
            let _ = named.persist(&index::path_beside(&part.path));
        }
        let index = Index::read(file, &part.begins)?;
        Ok((Part { source, index, loose: Vec::new() }, seal))
    }
}

/// Bytes of entries that are written at once.
const BLOCK: usize = 1 << 20;

/// The texts that an index names, as far as they were met.
struct Texts {
    methods: HashMap<u32, Name>,
    targets: HashMap<u32, Name>,
    /// Stands for what can be read no more: the rest of the tape can.
    lost: Name,
}

impl Texts {
    fn new(world: &mut World) -> Self {
        Self { methods: HashMap::new(), targets: HashMap::new(), lost: world.intern("(unreadable)") }
    }

    /// The digest of a frame with its texts, which are read where they are met first; none when its
    /// line is not what the index says.
    fn digest(
        &mut self,
        part: &Part,
        seq: Seq,
        entry: &Entry,
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
