//! Reading tapes: in order, part after part, as far as they are whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::format::{Header, Line, LineError, Mark, Seal, read_line};
use super::writer::{hex, part_path};
use crate::log::{Body, Record, Seq};

/// Why a tape could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("open {}: {source}", path.display())]
    Format { path: PathBuf, source: LineError },
    #[error("open {}: it is torn inside its header, so nothing of it is left", path.display())]
    TornHeader { path: PathBuf },
    #[error("open {}: it does not begin with a tape header", path.display())]
    NoHeader { path: PathBuf },
}

/// What is wrong with a tape that opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// Where in that file.
    pub offset: u64,
    pub what: String,
}

/// How a tape ended.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Present when it was ended cleanly.
    pub seal: Option<Seal>,
    /// Bytes behind the last whole line.
    pub torn: u64,
    pub damage: Vec<Damage>,
}

/// A tape being read from its first record on.
pub struct Reader {
    path: PathBuf,
    header: Header,
    part: u32,
    source: BufReader<File>,
    /// The part's file, and where its next line begins.
    offset: u64,
    block: Sha256,
    marks: Sha256,
    ending: Ending,
    last: Seq,
    /// Reading began with the first part.
    whole: bool,
    done: bool,
}

/// The path of the first part of a tape, from that of part `number`.
fn first_part(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match stem.strip_suffix(&format!(".{number}")) {
        Some(stem) if number > 1 => path.with_file_name(format!("{stem}.tape")),
        _ => path.to_owned(),
    }
}

impl Reader {
    /// Opens the tape whose first part is at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no tape, or is from a newer program.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (source, header, line) = open_part(path)?;
        // A later part can be read alone: what stands before it is not missing.
        let first = header.part == 1;
        Ok(Self {
            path: first_part(path, header.part),
            whole: first,
            part: header.part,
            header,
            source,
            offset: line.len() as u64,
            block: Sha256::new_with_prefix(&line),
            marks: Sha256::new(),
            ending: Ending::default(),
            last: 0,
            done: false,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How it ended; complete once the reader has returned its last record.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    fn current(&self) -> PathBuf {
        part_path(&self.path, self.part)
    }

    fn damage(&mut self, offset: u64, what: impl Into<String>) {
        let path = self.current();
        self.ending.damage.push(Damage { path, offset, what: what.into() });
    }

    /// The next whole line of this part; none at its end or where it is torn.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        match self.source.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) if line.ends_with(b"\n") => Some(line),
            Ok(_) => {
                self.ending.torn += line.len() as u64;
                None
            }
            Err(error) => {
                self.damage(self.offset, format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn check_mark(&mut self, at: u64, mark: &Mark) {
        let hash = hex(std::mem::replace(&mut self.block, Sha256::new()));
        if mark.offset != at {
            self.damage(
                at,
                format!("a mark says {} where it stands at {at}: bytes were added or lost", mark.offset),
            );
        } else if mark.hash != hash {
            self.damage(at, "the block before this mark was changed (its checksum differs)");
        }
        self.marks.update(mark.hash.as_bytes());
    }

    fn check_seal(&mut self, at: u64, seal: Seal) {
        if seal.hash != hex(self.marks.clone()) {
            self.damage(at, "the seal does not fit the marks: blocks are missing or were changed");
        }
        if !seal.continued {
            self.ending.seal = Some(seal);
            return;
        }
        let next = part_path(&self.path, self.part + 1);
        match open_part(&next) {
            Ok((source, header, line)) if header.tape == self.header.tape => {
                self.part += 1;
                self.source = source;
                self.offset = line.len() as u64;
                self.block = Sha256::new_with_prefix(&line);
                self.marks = Sha256::new();
            }
            Ok(_) => self.damage(at, format!("{} belongs to another tape", next.display())),
            Err(error) => self.damage(at, format!("the next part is missing: {error}")),
        }
    }
}

fn open_part(path: &Path) -> Result<(BufReader<File>, Header, Vec<u8>), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let mut source = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    source.read_until(b'\n', &mut line).map_err(failed)?;
    match read_line(&line) {
        Ok(Line::Header(header)) => Ok((source, header, line)),
        Err(source @ (LineError::Newer(_) | LineError::Foreign(_))) => {
            Err(OpenError::Format { path: path.to_owned(), source })
        }
        _ if !line.ends_with(b"\n") && line.starts_with(b"{") => {
            Err(OpenError::TornHeader { path: path.to_owned() })
        }
        _ => Err(OpenError::NoHeader { path: path.to_owned() }),
    }
}

impl Iterator for Reader {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while !self.done {
            let at = self.offset;
            let Some(line) = self.next_line() else { break };
            self.offset += line.len() as u64;
            match read_line(&line) {
                Ok(Line::Mark(mark)) => {
                    self.check_mark(at, &mark);
                    continue;
                }
                Ok(Line::Seal(seal)) => {
                    self.check_seal(at, seal);
                    if self.ending.seal.is_some() {
                        break;
                    }
                    continue;
                }
                Ok(Line::Record(record)) => {
                    self.block.update(&line);
                    // A gap stands at the end of what it says is missing.
                    let from = match &record.body {
                        Body::Gap(gap) if gap.last == record.seq => gap.first,
                        _ => record.seq,
                    };
                    let last = self.last;
                    self.last = last.max(record.seq);
                    if record.seq <= last {
                        self.damage(at, format!("record {} stands behind record {last}", record.seq));
                        continue;
                    }
                    if from > last + 1 && (self.whole || last > 0) {
                        self.damage(at, format!("records {} to {} are missing", last + 1, from - 1));
                    }
                    return Some(record);
                }
                Ok(Line::Header(_) | Line::Checkpoint) => self.block.update(&line),
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
