//! Writing at a limited speed, as a slow peer or a slow network would.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;

/// The speed of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second.
    pub bytes_per_second: NonZeroU32,
}

/// Number of pieces per second that a paced write is split into, if it has that many bytes.
const PIECES_PER_SECOND: u32 = 10;

impl Pace {
    /// Splits `bytes` into the pieces that are written one after the other.
    pub fn pieces(self, mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
        let size = (self.bytes_per_second.get() / PIECES_PER_SECOND).max(1) as usize;
        std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(size.min(bytes.len()))))
    }

    /// Returns the time that `length` bytes take.
    pub fn duration(self, length: usize) -> Duration {
        Duration::from_secs_f64(length as f64 / f64::from(self.bytes_per_second.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_bytes_and_take_the_time_that_the_speed_says() {
        let bytes = Bytes::from(vec![b'x'; 2500]);
        let pace = Pace { bytes_per_second: NonZeroU32::new(1000).unwrap() };
        let pieces: Vec<Bytes> = pace.pieces(bytes.clone()).collect();
        assert_eq!(pieces.concat(), bytes);
        assert_eq!(pieces.len(), 25);
        assert_eq!(pace.duration(bytes.len()), Duration::from_millis(2500));
        let slow = Pace { bytes_per_second: NonZeroU32::MIN };
        assert_eq!(slow.pieces(Bytes::from_static(b"ab")).count(), 2);
    }
}
