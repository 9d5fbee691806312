//! Questions about in_flight, and lines made from their parts.

use bytes::{BufMut, Bytes, BytesMut};

use super::holds::InFlight;
use crate::log::operation::Operation;
use crate::mcp::{Direction, Kind};

/// Whether a message that goes in `direction` belongs to a request of ours that went the other
/// way.
pub fn answers_ours(operation: Option<&Operation>, direction: Direction) -> bool {
    operation.is_some_and(|operation| operation.injected && operation.direction == direction.reverse())
}

/// A batch without the elements that answer requests of ours; none if nothing is left.
pub fn without_ours(in_flight: &InFlight) -> Option<Bytes> {
    let Kind::Batch(messages) = in_flight.frame().message.kind() else { return None };
    let foreign =
        messages.iter().zip(&in_flight.ours).filter(|(_, ours)| !**ours).map(|(message, _)| message.body());
    let rest = foreign.collect::<Vec<_>>().join(&b","[..]);
    (!rest.is_empty()).then(|| [&b"["[..], &rest, b"]"].concat().into())
}

pub fn is_request(in_flight: &InFlight) -> bool {
    matches!(in_flight.frame().message.kind(), Kind::Request { .. })
}

/// The terminator that a line ends with.
pub fn terminator(raw: &[u8]) -> &'static [u8] {
    match raw {
        [.., b'\r', b'\n'] => b"\r\n",
        [.., b'\n'] => b"\n",
        _ => b"",
    }
}

pub fn terminated(line: &[u8], terminator: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(line.len() + terminator.len());
    bytes.put_slice(line);
    bytes.put_slice(terminator);
    bytes.freeze()
}
