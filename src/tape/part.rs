//! Parts of a tape: opening one of its files, reading its lines, and finding the others.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::format::{Header, LineError, TapeLine, read_line};
use super::migrate;
use super::source::PartBytes;
use super::{files, index};

/// Error of opening a tape.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("open {}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The header is of a newer version or of another format.
    #[error("open {}: {source}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Error of the header line.
        source: LineError,
    },
    /// The tape is of an older version and cannot be converted.
    #[error("open {}: {source}", path.display())]
    Old {
        /// Path of the file.
        path: PathBuf,
        /// Error of the conversion.
        source: migrate::MigrateError,
    },
    /// The file ends inside of its header.
    #[error("open {}: the file ends within its header, so nothing can be recovered", path.display())]
    TornHeader {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file does not begin with a header.
    #[error("open {}: it does not begin with a tape header", path.display())]
    NoHeader {
        /// Path of the file.
        path: PathBuf,
    },
}

/// A part of a tape, opened for reading.
#[derive(Debug)]
pub struct PartFile {
    /// Path of the file; `-` for standard input.
    pub path: PathBuf,
    /// Header of the part.
    pub header: Header,
    /// First line, with its terminator.
    pub begins: Vec<u8>,
    /// Bytes of the part, converted to the present version.
    pub source: PartBytes,
    /// Version in which it was written, if that is an older one.
    pub migrated: Option<u32>,
}

/// Maximum bytes of a first line; a file with a longer one is not a tape.
const LONGEST_HEADER: u64 = 4 << 20;

impl PartFile {
    /// Opens the part at `path`, compressed or not. A part of an older version is converted; `-` is
    /// standard input.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not a tape, or was written by a newer
    /// program.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let source = match path.as_os_str() == "-" {
            true => PartBytes::spool(io::stdin().lock()),
            false => PartBytes::open(path),
        };
        Self::of(source.map_err(failed)?, path)
    }

    /// Opens the same part once more.
    ///
    /// # Errors
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self {
            path: self.path.clone(),
            header: self.header.clone(),
            begins: self.begins.clone(),
            source: self.source.another()?,
            migrated: self.migrated,
        })
    }

    fn of(source: PartBytes, path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let mut begins = Vec::new();
        let mut first = io::Read::take(source.from(0).map_err(failed)?, LONGEST_HEADER);
        first.read_until(b'\n', &mut begins).map_err(failed)?;
        match read_line(&begins) {
            Ok(TapeLine::Header(header)) => {
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

    /// Returns the lines from `offset` on.
    ///
    /// # Errors
    /// Returns an error if the part cannot be read.
    pub fn lines(&self, offset: u64) -> io::Result<Lines> {
        Ok(Lines { source: self.source.from(offset)?, offset, torn: 0 })
    }

    /// Returns the lines behind the unreadable block at `offset`; `None` if there are none.
    pub fn lines_behind(&self, mut offset: u64) -> Option<Lines> {
        loop {
            offset = self.source.behind(offset)?;
            let mut lines = self.lines(offset).ok()?;
            // The rest of a line is skipped: the block begins in the middle of one.
            if lines.source.skip_until(b'\n').is_ok_and(|count| {
                lines.offset += count as u64;
                count > 0
            }) {
                return Some(lines);
            }
        }
    }
}

/// Returns the parts of the tape whose first part is at `path`, in order. Files that only have the
/// name of a part are left out.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts = vec![path.to_owned()];
    // The first part is opened only if there may be more: most tapes have one part.
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

/// Returns every file of a tape in the order of deletion: notes and index files first, which are
/// useless without their tape.
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

/// Lines of a part, in order.
pub struct Lines {
    source: Box<dyn BufRead + Send>,
    /// Offset of the next line.
    pub offset: u64,
    /// Bytes behind the last complete line.
    pub torn: u64,
}

impl Lines {
    /// Reads the next complete line into `line` and returns its offset; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the rest of the part cannot be read.
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
