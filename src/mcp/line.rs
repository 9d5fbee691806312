//! Newline framing (the stdio transport of all revisions), without I/O.
//!
//! A line longer than the inspect limit is not collected: its pieces stream through, and only its
//! beginning is kept for the record.

use bytes::{Bytes, BytesMut};

/// A piece of a byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinePart {
    /// A whole line with its terminator, or the last line without one.
    Line(Bytes),
    /// The first bytes of a line that is longer than the limit.
    Start(Bytes),
    /// More bytes of that line.
    More(Bytes),
    /// The last bytes of that line, with its terminator if it has one.
    End(Bytes),
}

/// A splitter of a byte stream into lines.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: BytesMut,
    /// Offset up to which the buffer contains no newline.
    searched: usize,
    limit: usize,
    streaming: bool,
}

impl LineSplitter {
    /// Creates a splitter that collects lines of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit: limit.max(1), streaming: false }
    }

    /// Appends bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next piece, or `None` until more bytes are fed.
    pub fn next_piece(&mut self) -> Option<LinePart> {
        match memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            Some(at) => {
                let line = self.consume(self.searched + at + 1);
                Some(match std::mem::take(&mut self.streaming) {
                    true => LinePart::End(line),
                    false => LinePart::Line(line),
                })
            }
            None if self.streaming => {
                let bytes = self.consume(self.buffer.len());
                (!bytes.is_empty()).then_some(LinePart::More(bytes))
            }
            None if self.buffer.len() > self.limit => {
                self.streaming = true;
                Some(LinePart::Start(self.consume(self.buffer.len())))
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// Returns the bytes of a line that has begun and not ended; none of a line over the limit, whose pieces
    /// are given as they come.
    pub fn unfinished(&self) -> &[u8] {
        if self.streaming { &[] } else { &self.buffer }
    }

    /// Returns the remaining bytes when the stream has ended, or continues without being split.
    pub fn finish(&mut self) -> Option<LinePart> {
        let rest = self.consume(self.buffer.len());
        match std::mem::take(&mut self.streaming) {
            true => Some(LinePart::End(rest)),
            false => (!rest.is_empty()).then_some(LinePart::Line(rest)),
        }
    }

    fn consume(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        split_front(&mut self.buffer, length)
    }
}

/// Takes the first bytes out of a read buffer. Short pieces are copied, so that they do not keep the
/// whole buffer in memory; long ones share it.
pub(super) fn split_front(buffer: &mut BytesMut, length: usize) -> Bytes {
    const SHARE: usize = 32 * 1024;
    if length >= SHARE {
        return buffer.split_to(length).freeze();
    }
    let taken = Bytes::copy_from_slice(&buffer[..length]);
    bytes::Buf::advance(buffer, length);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(limit: usize, chunks: &[&str]) -> Vec<LinePart> {
        let mut splitter = LineSplitter::new(limit);
        let mut pieces = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk.as_bytes());
            pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
        }
        pieces.extend(splitter.finish());
        pieces
    }

    #[test]
    fn splits_lines_across_chunks() {
        let line = |text: &'static str| LinePart::Line(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            pieces(100, &["a\nb", "c\r\n", "\nlast"]),
            [line("a\n"), line("bc\r\n"), line("\n"), line("last")]
        );
    }

    #[test]
    fn streams_a_line_over_the_limit() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(
            pieces(4, &["abc", "def", "gh", "i\nj\n"]),
            [
                LinePart::Start(bytes("abcdef")),
                LinePart::More(bytes("gh")),
                LinePart::End(bytes("i\n")),
                LinePart::Line(bytes("j\n"))
            ]
        );
        assert_eq!(pieces(2, &["abc"]), [LinePart::Start(bytes("abc")), LinePart::End(bytes(""))]);
    }
}
