//! One file of a tape.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::format::{Header, Line, LineError, read_line};
use super::migrate;
use super::source::Source;
use super::{files, index};

/// Why a tape could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("open {}: {source}", path.display())]
    Format { path: PathBuf, source: LineError },
    #[error("open {}: {source}", path.display())]
    Old { path: PathBuf, source: migrate::MigrateError },
    #[error("open {}: it is torn inside its header, so nothing of it is left", path.display())]
    TornHeader { path: PathBuf },
    #[error("open {}: it does not begin with a tape header", path.display())]
    NoHeader { path: PathBuf },
}

/// A part of a tape, opened for reading.
#[derive(Debug)]
pub struct PartFile {
    pub path: PathBuf,
    pub header: Header,
    /// Its first line.
    pub begins: Vec<u8>,
    pub source: Source,
    /// The version that it was written in, when that is an older one.
    pub migrated: Option<u32>,
}

/// The longest first line that is looked at before a file is taken for no tape.
const LONGEST_HEADER: u64 = 4 << 20;

impl PartFile {
    /// Opens the part at `path`, compressed or not, migrated when it is of an older version; `-`
    /// is standard input.
    ///
    /// # Errors
    /// When it cannot be read, is no tape, or is from a newer program.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let source = match path.as_os_str() == "-" {
            true => Source::spool(io::stdin().lock()),
            false => Source::open(path),
        };
        Self::of(source.map_err(failed)?, path)
    }

    /// The same part, to be read once more.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self {
            path: self.path.clone(),
            header: self.header.clone(),
            begins: self.begins.clone(),
            source: self.source.another()?,
            migrated: self.migrated,
        })
    }

    fn of(source: Source, path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let mut begins = Vec::new();
        let mut first = io::Read::take(source.from(0).map_err(failed)?, LONGEST_HEADER);
        first.read_until(b'\n', &mut begins).map_err(failed)?;
        match read_line(&begins) {
            Ok(Line::Header(header)) => {
                return Ok(Self { path: path.to_owned(), header, begins, source, migrated: None });
            }
            Err(source @ (LineError::Newer(_) | LineError::Foreign(_))) => {
                return Err(OpenError::Format { path: path.to_owned(), source });
            }
            _ => {}
        }
        if let Some(version) = migrate::recognise(&source).map_err(failed)? {
            let now = migrate::migrate(&source, version, path)
                .map_err(|source| OpenError::Old { path: path.to_owned(), source })?;
            return Ok(Self { migrated: Some(version), ..Self::of(now, path)? });
        }
        match !begins.ends_with(b"\n") && begins.starts_with(br#"{"r":"header""#) {
            true => Err(OpenError::TornHeader { path: path.to_owned() }),
            false => Err(OpenError::NoHeader { path: path.to_owned() }),
        }
    }

    /// Its lines from `offset` on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lines(&self, offset: u64) -> io::Result<Lines> {
        Ok(Lines { source: self.source.from(offset)?, offset, torn: 0 })
    }

    /// Its lines behind the block that cannot be read at `offset`; none when nothing is there.
    pub fn lines_behind(&self, mut offset: u64) -> Option<Lines> {
        loop {
            offset = self.source.behind(offset)?;
            let mut lines = self.lines(offset).ok()?;
            // The block begins in the middle of a line.
            if lines.source.skip_until(b'\n').is_ok_and(|count| {
                lines.offset += count as u64;
                count > 0
            }) {
                return Some(lines);
            }
        }
    }
}

/// The parts of the tape whose first part is at `path`, in order. Files that are only called like
/// parts of it are none.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts = vec![path.to_owned()];
    // It is opened only where there may be more: mostly there is one part.
    let mut tape = None;
    for number in 1.. {
        let next = files::next_part(path, number);
        if !next.exists() {
            break;
        }
        let tape = tape.get_or_insert_with(|| PartFile::open(path).ok().map(|first| first.header.tape));
        let belongs = PartFile::open(&next)
            .is_ok_and(|part| tape.as_ref() == Some(&part.header.tape) && part.header.part == number + 1);
        if !belongs {
            break;
        }
        parts.push(next);
    }
    parts
}

/// Every file of a tape, what belongs to it first: alone it would be litter.
pub fn all_files(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    if !files::has_twin(path) {
        all.push(files::notes(path));
    }
    for part in parts(path).into_iter().rev() {
        all.push(index::path_beside(&part));
        all.push(part);
    }
    all
}

/// The lines of a part, in order.
pub struct Lines {
    source: Box<dyn BufRead + Send>,
    /// Where the next line begins.
    pub offset: u64,
    /// Bytes behind the last whole line.
    pub torn: u64,
}

impl Lines {
    /// Reads the next whole line into `line`, and tells where it began; none at the end.
    ///
    /// # Errors
    /// When the rest cannot be read.
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
        line.clear();
        let count = self.source.read_until(b'\n', line)?;
        if !line.ends_with(b"\n") {
            self.torn += count as u64;
            return Ok(None);
        }
        let at = self.offset;
        self.offset += count as u64;
        Ok(Some(at))
    }
}
