//! Random access to the bytes of a tape part, in a plain or a compressed file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::packed::{self, Packed};

/// Uncompressed bytes of one tape part.
#[derive(Debug)]
pub enum PartBytes {
    /// An uncompressed file.
    Plain(File),
    /// A compressed file with a seek table.
    Packed(Packed),
}

impl PartBytes {
    /// Opens the part at `path`, compressed or not.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or its compression is broken.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// Returns the source of the bytes in `file`, compressed or not.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or its compression is broken.
    pub fn of(file: File) -> io::Result<Self> {
        let mut magic = [0; 4];
        let is_packed = file.read_exact_at(&mut magic, 0).is_ok() && packed::MAGIC == magic;
        if !is_packed {
            return Ok(Self::Plain(file));
        }
        match Packed::open(file.try_clone()?)? {
            Some(packed) => Ok(Self::Packed(packed)),
            // The file was compressed by another program, without a seek table, so its middle
            // cannot be read directly: decompress all of it into a temporary file.
            None => {
                let mut plain = tempfile::tempfile()?;
                let mut decoder = zstd::stream::read::Decoder::new(At { file, offset: 0 })?;
                let decoded = io::copy(&mut decoder, &mut plain);
                // Bytes before the damage are as useful as the beginning of a torn tape.
                if let Err(error) = decoded
                    && plain.metadata()?.len() == 0
                {
                    return Err(error);
                }
                Ok(Self::Plain(plain))
            }
        }
    }

    /// Copies a pipe into an unnamed temporary file, which exists until the source is dropped.
    ///
    /// # Errors
    /// Returns an error if the pipe cannot be read, the file cannot be written, or the compression
    /// is broken.
    pub fn spool(mut from: impl Read) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut from, &mut file)?;
        Self::of(file)
    }

    /// Opens another reader of the same bytes.
    ///
    /// # Errors
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(file) => Self::Plain(file.try_clone()?),
            Self::Packed(packed) => Self::Packed(packed.another()?),
        })
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// Returns `UnexpectedEof` if there are fewer bytes, or an error if they cannot be read.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(bytes, offset),
            Self::Packed(packed) => packed.read_exact_at(bytes, offset),
        }
    }

    /// Returns the uncompressed length in bytes.
    ///
    /// # Errors
    /// Returns an error if the metadata of the file cannot be read.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => Ok(packed.length()),
        }
    }

    /// Returns the offset of the block behind the one that contains `offset`, if there is one. A
    /// plain file has no blocks.
    pub fn behind(&self, offset: u64) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Packed(packed) => packed.behind(offset),
        }
    }

    /// Returns a reader of the bytes from `offset` on.
    ///
    /// # Errors
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn from(&self, offset: u64) -> io::Result<Box<dyn BufRead + Send>> {
        const BUFFER: usize = 256 << 10;
        Ok(match self {
            Self::Plain(file) => {
                // A duplicated descriptor shares its position with the original, so the reader
                // keeps a position of its own.
                Box::new(BufReader::with_capacity(BUFFER, At { file: file.try_clone()?, offset }))
            }
            Self::Packed(packed) => Box::new(packed.another()?.from(offset)),
        })
    }
}

/// Reader of a file with a position of its own.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
