//! Compressed tape parts with random access: zstd frames of about one megabyte each, followed by
//! their sizes in a skippable frame (the zstd seekable format, version 0.1.0 of
//! `contrib/seekable_format`). `zstd -dc` restores the plain tape.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Magic number at the beginning of a zstd file (RFC 8878, section 3.1.1).
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Magic number at the end of a seek table.
const TABLE_END: u32 = 0x8f92_eab1;
/// Magic number of the skippable frame that holds a seek table.
const TABLE_BEGIN: u32 = 0x184d_2a5e;
/// Bytes of the footer behind the table entries: their number, a descriptor, the magic number.
const FOOTER: u64 = 9;
/// Uncompressed bytes of a zstd frame.
const BLOCK: usize = 1 << 20;
/// Maximum uncompressed size of a frame; a table that declares a larger one is broken.
const LARGEST: u64 = 1 << 30;
/// Number of decompressed blocks that are cached.
const CACHED_BLOCKS: usize = 8;
/// Compression level: a good ratio, and far faster than a disk.
const LEVEL: i32 = 3;

/// A compressed tape part with its seek table.
#[derive(Debug)]
pub struct Packed {
    file: File,
    blocks: Arc<[BlockSpan]>,
    kept: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
}

/// Position and size of a block, in the file (`at`, `packed`) and in the plain tape (`from`,
/// `size`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockSpan {
    at: u64,
    packed: u64,
    from: u64,
    size: u64,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid zstd seek table or frame: {what}"))
}

impl Packed {
    /// Reads the seek table of `file`; returns `None` if the file has no table.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or the table is broken.
    pub fn open(file: File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut footer = [0; FOOTER as usize];
        let Some(at) = length.checked_sub(FOOTER) else { return Ok(None) };
        file.read_exact_at(&mut footer, at)?;
        let small = |bytes: &[u8], at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if small(&footer, 5) != TABLE_END {
            return Ok(None);
        }
        let checksums = footer[4] & 0x80 != 0;
        let entry: usize = if checksums { 12 } else { 8 };
        let count = small(&footer, 0) as usize;
        let size = count as u64 * entry as u64;
        let begin = at.checked_sub(size).ok_or_else(|| broken("its table is longer than the file"))?;
        let mut table = vec![0; usize::try_from(size).map_err(|_| broken("its table is too long"))?];
        file.read_exact_at(&mut table, begin)?;
        let mut blocks = Vec::with_capacity(count);
        let (mut at, mut from) = (0, 0);
        for entry in table.chunks_exact(entry) {
            let place = BlockSpan { at, packed: small(entry, 0).into(), from, size: small(entry, 4).into() };
            (at, from) = (at + place.packed, from + place.size);
            if at > begin || place.size > LARGEST {
                return Err(broken("the seek table exceeds the file"));
            }
            blocks.push(place);
        }
        Ok(Some(Self { file, blocks: blocks.into(), kept: Mutex::default() }))
    }

    /// Returns the uncompressed length in bytes.
    pub fn length(&self) -> u64 {
        self.blocks.last().map_or(0, |last| last.from + last.size)
    }

    /// Opens another reader of the same file.
    ///
    /// # Errors
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn another(&self) -> io::Result<Self> {
        let (file, blocks) = (self.file.try_clone()?, Arc::clone(&self.blocks));
        Ok(Self { file, blocks, kept: Mutex::default() })
    }

    /// Returns the uncompressed offset of the block behind the one that contains `offset`, if there
    /// is one.
    pub fn behind(&self, offset: u64) -> Option<u64> {
        let index = self.blocks.partition_point(|place| place.from + place.size <= offset);
        self.blocks.get(index + 1).map(|next| next.from)
    }

    fn block(&self, index: usize) -> io::Result<Arc<Vec<u8>>> {
        let mut kept = self.kept.lock();
        if let Some((_, block)) = kept.iter().find(|(at, _)| *at == index) {
            return Ok(Arc::clone(block));
        }
        let place = self.blocks[index];
        let mut packed = vec![0; usize::try_from(place.packed).unwrap_or(0)];
        self.file.read_exact_at(&mut packed, place.at)?;
        let size = usize::try_from(place.size).unwrap_or(0);
        let block = zstd::bulk::decompress(&packed, size).map_err(|error| broken(&error.to_string()))?;
        if block.len() != size {
            return Err(broken("a block has another size than its table says"));
        }
        let block = Arc::new(block);
        kept.push_back((index, Arc::clone(&block)));
        if kept.len() > CACHED_BLOCKS {
            kept.pop_front();
        }
        Ok(block)
    }

    /// Returns the block that contains `offset` and the position in it; an empty block at the end.
    fn rest(&self, offset: u64) -> io::Result<(Arc<Vec<u8>>, usize)> {
        let index = self.blocks.partition_point(|place| place.from + place.size <= offset);
        match self.blocks.get(index) {
            Some(place) => Ok((self.block(index)?, usize::try_from(offset - place.from).unwrap_or(0))),
            None => Ok((Arc::default(), 0)),
        }
    }

    /// Fills `bytes` with the uncompressed bytes from `offset` on.
    ///
    /// # Errors
    /// Returns `UnexpectedEof` if there are fewer bytes, or an error if a block cannot be read or
    /// decompressed.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let (block, from) = self.rest(offset)?;
            let there = &block[from..];
            if there.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = there.len().min(bytes.len());
            let (now, later) = std::mem::take(&mut bytes).split_at_mut(count);
            now.copy_from_slice(&there[..count]);
            bytes = later;
            offset += count as u64;
        }
        Ok(())
    }

    /// Returns a reader of the uncompressed bytes from `offset` on.
    pub fn from(self, offset: u64) -> impl BufRead + Send {
        OpenBlock { packed: self, offset, block: Arc::default(), at: 0 }
    }
}

/// Sequential reader of a compressed part.
struct OpenBlock {
    packed: Packed,
    /// Uncompressed offset of the next block.
    offset: u64,
    block: Arc<Vec<u8>>,
    at: usize,
}

impl BufRead for OpenBlock {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.block.len() {
            (self.block, self.at) = self.packed.rest(self.offset)?;
            self.offset += (self.block.len() - self.at) as u64;
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for OpenBlock {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = there.len().min(bytes.len());
        bytes[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Compresses everything in `from` into `to` and returns the number of bytes written. `done` is
/// called after each block with the number of bytes read so far.
///
/// # Errors
/// Returns an error if `from` cannot be read, `to` cannot be written, or zstd fails.
pub fn pack(mut from: impl Read, to: &mut impl Write, done: &mut dyn FnMut(u64)) -> io::Result<u64> {
    let mut table = Vec::new();
    let (mut count, mut read, mut written) = (0_u32, 0, 0);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        if from.by_ref().take(BLOCK as u64).read_to_end(&mut block)? == 0 {
            break;
        }
        let packed = compressor.compress(&block)?;
        to.write_all(&packed)?;
        let small = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        table.extend_from_slice(&small(packed.len()));
        table.extend_from_slice(&small(block.len()));
        count += 1;
        read += block.len() as u64;
        written += packed.len() as u64;
        done(read);
    }
    let size = table.len() as u64 + FOOTER;
    to.write_all(&TABLE_BEGIN.to_le_bytes())?;
    to.write_all(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes())?;
    to.write_all(&table)?;
    to.write_all(&count.to_le_bytes())?;
    to.write_all(&[0])?;
    to.write_all(&TABLE_END.to_le_bytes())?;
    Ok(written + size + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_can_be_read_from_anywhere() {
        let plain: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        pack(&plain[..], &mut file, &mut |_| ()).unwrap();
        let packed = Packed::open(file).unwrap().unwrap();
        assert_eq!(packed.length(), 3_000_000);
        let mut middle = vec![0; 1_500_000];
        packed.read_exact_at(&mut middle, 1_000_000).unwrap();
        assert_eq!(middle, plain[1_000_000..2_500_000]);
        assert!(packed.read_exact_at(&mut middle, 2_000_000).is_err());
        let mut rest = Vec::new();
        packed.another().unwrap().from(2_999_990).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, plain[2_999_990..]);
    }
}
