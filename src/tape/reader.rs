//! Sequential reader of tapes, part after part, as far as they are intact.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, CheckpointChange};
use super::files::{first_part, next_part};
use super::format::{Header, Mark, Seal, TapeLine, read_line};
use super::part::{Lines, OpenError, PartFile};
use super::writer::{Totals, hex};
use crate::log::{Body, Record, Seq};

/// Damage of a tape that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Path of the damaged file.
    pub path: PathBuf,
    /// Offset in that file.
    pub offset: u64,
    /// Description of the damage.
    pub what: String,
}

/// Maximum number of records that may be missing without a gap record; a larger jump is a damaged
/// number.
const JUMP: u64 = 1 << 20;

/// State of a tape at its end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Seal of the last part, if the tape was ended cleanly.
    pub seal: Option<Seal>,
    /// Bytes behind the last complete line.
    pub torn: u64,
    /// Damage found so far, in order.
    pub damage: Vec<Damage>,
}

/// Reader of a tape from its first record on.
pub struct Reader {
    /// Path of the first part.
    path: PathBuf,
    part: PartFile,
    lines: Lines,
    block: Sha256,
    marks: Sha256,
    ending: Ending,
    last: Seq,
    totals: Totals,
    checkpoint: Checkpoint,
    /// `true` if reading began with the first part.
    whole: bool,
    done: bool,
}

impl Reader {
    /// Opens the tape whose first part is at `path`.
    ///
    /// ```
    /// use shadowcat::tape::reader::Reader;
    ///
    /// let tape = Reader::open("tests/it/fixtures/v1.tape".as_ref())?;
    /// let messages = tape.filter(|record| record.frame().is_some()).count();
    /// assert!(messages > 0);
    /// # Ok::<(), shadowcat::tape::part::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not a tape, or was written by a newer
    /// program.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::of(PartFile::open(path)?)
    }

    fn of(part: PartFile) -> Result<Self, OpenError> {
        let lines = begin(&part)?;
        Ok(Self {
            path: first_part(&part.path, part.header.part),
            // A later part can be read alone: the records before it are not missing.
            whole: part.header.part == 1,
            block: Sha256::new_with_prefix(&part.begins),
            part,
            lines,
            marks: Sha256::new(),
            ending: Ending::default(),
            last: 0,
            totals: Totals::default(),
            checkpoint: Checkpoint::default(),
            done: false,
        })
    }

    /// Opens the same tape again from its first record on, even if it came from a pipe.
    ///
    /// # Errors
    /// Returns an error if the first part cannot be read again.
    pub fn again(&self) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: self.part.path.clone(), source };
        Self::of(self.part.another().map_err(failed)?)
    }

    /// Returns the header of the part that is being read.
    pub fn header(&self) -> &Header {
        &self.part.header
    }

    /// Returns the version in which the part was written, if that is an older one.
    pub fn migrated(&self) -> Option<u32> {
        self.part.migrated
    }

    /// Returns the bytes of the part that is being read.
    pub fn length(&self) -> u64 {
        self.part.source.length().unwrap_or(0)
    }

    /// Returns the offset of the next line in this part.
    pub fn position(&self) -> u64 {
        self.lines.offset
    }

    /// Returns the state at the end of the tape; complete once the reader has returned its last
    /// record.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    fn damage(&mut self, offset: u64, what: impl Into<String>) {
        let path = self.part.path.clone();
        self.ending.damage.push(Damage { path, offset, what: what.into() });
    }

    /// Returns the next complete line of this part; `None` at its end or if it is torn.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Option<u64> {
        loop {
            match self.lines.next(line) {
                Ok(Some(at)) => return Some(at),
                Ok(None) => {
                    self.ending.torn += self.lines.torn;
                    return None;
                }
                Err(error) => {
                    self.damage(self.lines.offset, format!("cannot be read: {error}"));
                    // Lines behind a damaged block may be intact.
                    self.lines = self.part.lines_behind(self.lines.offset + line.len() as u64)?;
                }
            }
        }
    }

    fn check_mark(&mut self, at: u64, mark: &Mark) {
        let hash = hex(std::mem::replace(&mut self.block, Sha256::new()));
        if mark.offset != at {
            self.damage(
                at,
                format!("a mark gives offset {} but is at {at}: bytes were added or lost", mark.offset),
            );
        } else if mark.hash != hash {
            self.damage(at, "the block before this mark was changed (its checksum differs)");
        }
        if mark.last != self.last {
            self.damage(
                at,
                format!("a mark names {} as the last record before it, but it is {}", mark.last, self.last),
            );
        }
        self.marks.update(mark.hash.as_bytes());
    }

    fn check_seal(&mut self, at: u64, seal: Seal) {
        if seal.last != self.last {
            let text = format!("the seal says that record {} is the last, which is {}", seal.last, self.last);
            self.damage(at, text);
        }
        if seal.hash != hex(self.marks.clone()) {
            self.damage(at, "the seal does not match the marks: blocks are missing or were changed");
        }
        // The seal is not covered by a mark: compare it with the records.
        if self.whole && self.ending.damage.is_empty() && !self.is_sum(&seal) {
            self.damage(at, "the seal does not match the records: it was changed");
        }
        let next = next_part(&self.path, self.part.header.part);
        if !seal.continued {
            // The member `continued` is not covered by a mark either.
            if PartFile::open(&next).is_ok_and(|part| part.header.tape == self.part.header.tape) {
                self.damage(at, format!("the seal does not announce the part {}", next.display()));
            }
            let behind = self.length().saturating_sub(self.lines.offset);
            if behind > 0 {
                self.damage(self.lines.offset, format!("{behind} bytes after the seal"));
            }
            self.ending.seal = Some(seal);
            return;
        }
        match PartFile::open(&next).and_then(|part| Ok((begin(&part)?, part))) {
            Ok((lines, part)) if part.header.tape == self.part.header.tape => {
                self.block = Sha256::new_with_prefix(&part.begins);
                self.marks = Sha256::new();
                (self.part, self.lines) = (part, lines);
            }
            Ok(_) => self.damage(at, format!("{} belongs to another tape", next.display())),
            Err(error) => self.damage(at, format!("the next part is missing: {error}")),
        }
    }
}

impl Reader {
    /// Returns `true` if a seal matches the counts of the records before it.
    fn is_sum(&self, seal: &Seal) -> bool {
        let own = self.totals.seal(seal.hash.clone(), self.checkpoint.facts(), seal.continued);
        let facts = |seal: &Seal| seal.facts.iter().map(|facts| facts.get().to_owned()).collect::<Vec<_>>();
        (own.records, own.frames, own.errors, own.last, own.mono)
            == (seal.records, seal.frames, seal.errors, seal.last, seal.mono)
            && facts(&own) == facts(seal)
    }
}

/// Returns the lines behind the header.
fn begin(part: &PartFile) -> Result<Lines, OpenError> {
    let behind = part.begins.len() as u64;
    part.lines(behind).map_err(|source| OpenError::Io { path: part.path.clone(), source })
}

impl Iterator for Reader {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut line = Vec::new();
        while !self.done {
            let Some(at) = self.next_line(&mut line) else { break };
            match read_line(&line) {
                Ok(TapeLine::Mark(mark)) => {
                    self.check_mark(at, &mark);
                    continue;
                }
                Ok(TapeLine::Seal(seal)) => {
                    self.check_seal(at, seal);
                    if self.ending.seal.is_some() {
                        break;
                    }
                    continue;
                }
                Ok(TapeLine::Record(record)) => {
                    self.block.update(&line);
                    // A gap has the number of the last record that it says is missing.
                    let from = match &record.body {
                        Body::Gap(gap) if gap.last == record.seq => gap.first,
                        _ => record.seq,
                    };
                    let last = self.last;
                    if from > last + 1 + JUMP && (self.whole || last > 0) {
                        let text =
                            format!("record {} follows record {last}: its number was damaged", record.seq);
                        self.damage(at, text);
                        continue;
                    }
                    self.last = last.max(record.seq);
                    if record.seq <= last {
                        self.damage(at, format!("record {} follows record {last}", record.seq));
                        continue;
                    }
                    if from > last + 1 && (self.whole || last > 0) {
                        self.damage(at, format!("records {} to {} are missing", last + 1, from - 1));
                    }
                    self.totals.count(&record);
                    if let Some(change) = CheckpointChange::of(&record, &line) {
                        self.checkpoint.apply(change);
                    }
                    return Some(record);
                }
                Ok(TapeLine::Header(_) | TapeLine::Checkpoint) => self.block.update(&line),
                Err(error) => {
                    self.block.update(&line);
                    self.damage(at, error.to_string());
                }
            }
        }
        self.done = true;
        None
    }
}
