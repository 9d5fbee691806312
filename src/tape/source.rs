//! What a tape part is read from: a plain file, or a compressed one that can still be read from
//! anywhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::packed::{self, Packed};

/// The bytes of one tape part, as they were before any compression.
#[derive(Debug)]
pub enum Source {
    Plain(File),
    Packed(Packed),
}

impl Source {
    /// Opens the part at `path`, compressed or not.
    ///
    /// # Errors
    /// When it cannot be read, or its compression is broken.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// What `file` holds, compressed or not.
    ///
    /// # Errors
    /// When it cannot be read, or its compression is broken.
    pub fn of(file: File) -> io::Result<Self> {
        let mut magic = [0; 4];
        let is_packed = file.read_exact_at(&mut magic, 0).is_ok() && packed::MAGIC == magic;
        if !is_packed {
            return Ok(Self::Plain(file));
        }
        match Packed::open(file.try_clone()?)? {
            Some(packed) => Ok(Self::Packed(packed)),
            // Compressed by somebody else: no way to read from its middle.
            None => {
                let mut plain = tempfile::tempfile()?;
                let mut decoder = zstd::stream::read::Decoder::new(At { file, offset: 0 })?;
                let decoded = io::copy(&mut decoder, &mut plain);
                // What comes before the damage is as good as the beginning of a torn tape.
                if let Err(error) = decoded
                    && plain.metadata()?.len() == 0
                {
                    return Err(error);
                }
                Ok(Self::Plain(plain))
            }
        }
    }

    /// What comes from a pipe, kept in a file without a name until it is dropped.
    ///
    /// # Errors
    /// When it cannot be read or kept.
    pub fn spool(mut from: impl Read) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut from, &mut file)?;
        Self::of(file)
    }

    /// Another reader of the same bytes.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(file) => Self::Plain(file.try_clone()?),
            Self::Packed(packed) => Self::Packed(packed.another()?),
        })
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// When there are fewer, or they cannot be read.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(bytes, offset),
            Self::Packed(packed) => packed.read_exact_at(bytes, offset),
        }
    }

    /// Bytes in all.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => Ok(packed.length()),
        }
    }

    /// Where the block ends that `offset` falls in, if there is one behind it. A plain file has no
    /// blocks.
    pub fn behind(&self, offset: u64) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Packed(packed) => packed.behind(offset),
        }
    }

    /// Everything from `offset` on, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from(&self, offset: u64) -> io::Result<Box<dyn BufRead + Send>> {
        const BUFFER: usize = 256 << 10;
        Ok(match self {
            Self::Plain(file) => {
                // A descriptor that is duplicated shares its position with the original; this
                // reader keeps one of its own.
                Box::new(BufReader::with_capacity(BUFFER, At { file: file.try_clone()?, offset }))
            }
            Self::Packed(packed) => Box::new(packed.another()?.from(offset)),
        })
    }
}

/// A file read from a place of our own.
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
