//! Entry of one record in an index.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use crate::log::digest::{Digest, HttpDigest};
use crate::log::record::{
    Body, Flags, Frame, FrameKind, LaneId, Link, OpId, Origin, Outcome, Record, Role, Sent, Seq,
};
use crate::mcp::{Direction, Quirks};
use crate::tape::format::is_verbatim;

/// Bytes of an entry.
pub const ENTRY: usize = 56;

/// Location and summary of a record, as far as a fold needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of its line in the part.
    pub offset: u64,
    /// Length of its line with the terminator; 0 stands for a record that is not on the tape.
    pub length: u32,
    /// Monotonic time in nanoseconds.
    pub mono: u64,
    /// Number of its session.
    pub session: u32,
    /// `true` if its line contains the message as it was on the wire, so that the line can be
    /// searched.
    pub verbatim: bool,
    /// Summary of the record.
    pub brief: Brief,
}

/// Summary of a record. Texts are represented by the frame of this part that used them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brief {
    /// A frame.
    Frame(Digest<u32>),
    /// The outcome of a frame.
    Sent(Sent),
    /// A record that must be read from its line: few records are like this.
    Other,
}

/// Texts that were used so far in a part, with the frame that used each first.
#[derive(Debug, Default)]
pub struct EntryNames {
    methods: HashMap<String, u32>,
    targets: HashMap<String, u32>,
}

fn first_use(names: &mut HashMap<String, u32>, text: &str, seq: u32) -> u32 {
    if let Some(first) = names.get(text) {
        return *first;
    }
    names.insert(text.to_owned(), seq);
    seq
}

// === an entry ===

/// Bit fields of an entry: the first bit, and the number of bits.
mod bits {
    /// Kind of the record.
    pub const KIND: (u32, u32) = (0, 4);
    /// 1 for a frame to the client.
    pub const DIRECTION: (u32, u32) = (4, 1);
    /// Origin of a frame.
    pub const ORIGIN: (u32, u32) = (5, 2);
    /// Role of a frame in its operation.
    pub const ROLE: (u32, u32) = (7, 3);
    /// Flags of a frame.
    pub const FLAGS: (u32, u32) = (10, 5);
    /// Quirks of the message.
    pub const QUIRKS: (u32, u32) = (15, 5);
    /// 1 for a frame that reports an error.
    pub const ERROR: (u32, u32) = (20, 1);
    /// 1 for a frame of an event stream.
    pub const STREAM: (u32, u32) = (21, 1);
    /// 1 for an event of such a stream.
    pub const EVENT: (u32, u32) = (22, 1);
    /// 1 for a request for a later page of a list.
    pub const PAGES: (u32, u32) = (23, 1);
    /// 1 for a frame with HTTP facts.
    pub const HTTP: (u32, u32) = (24, 1);
    /// Outcome of a frame.
    pub const OUTCOME: (u32, u32) = (25, 2);
    /// 1 for a frame that was held; `method` and `target` contain the nanoseconds.
    pub const HELD: (u32, u32) = (27, 1);
    /// 1 for a line that contains the message as it was on the wire.
    pub const VERBATIM: (u32, u32) = (28, 1);
    /// 1 for a frame from which secrets were removed.
    pub const REDACTED: (u32, u32) = (29, 1);

    /// Sets a field that is still 0.
    pub fn put(bits: &mut u32, (at, width): (u32, u32), value: u32) {
        *bits |= (value & ((1 << width) - 1)) << at;
    }

    /// Returns a field.
    pub fn get(bits: u32, (at, width): (u32, u32)) -> u32 {
        (bits >> at) & ((1 << width) - 1)
    }
}

const KINDS: [FrameKind; 7] = [
    FrameKind::Request,
    FrameKind::Response,
    FrameKind::Notification,
    FrameKind::Batch,
    FrameKind::Invalid,
    FrameKind::Stderr,
    FrameKind::Http,
];
const ROLES: [Role; 8] = [
    Role::None,
    Role::Request,
    Role::Retry,
    Role::Progress,
    Role::Cancel,
    Role::Event,
    Role::InputRequired,
    Role::Response,
];
const OUTCOMES: [Outcome; 4] = [Outcome::Forwarded, Outcome::Dropped, Outcome::Answered, Outcome::Withdrawn];
/// Kind of a record that is not a frame.
const SENT: u32 = 8;
const OTHER: u32 = 9;

fn index_of<T: PartialEq>(all: &[T], one: &T) -> u32 {
    all.iter().position(|each| each == one).and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
}

impl IndexEntry {
    /// Returns the entry of a record whose line of `length` bytes is at `offset`.
    pub fn of(record: &Record, offset: u64, length: usize, names: &mut EntryNames) -> Self {
        let brief = match &record.body {
            Body::Frame(frame) => brief_frame(record.seq, frame, names),
            Body::Sent(sent) if sent.length.is_none() && fits(record.seq, sent.frame) => {
                Some(Brief::Sent(Sent { why: None, ..sent.clone() }))
            }
            _ => None,
        };
        Self {
            offset,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            mono: record.at.nanos(),
            session: record.session.0,
            verbatim: record.frame().is_some_and(|frame| {
                let raw = frame.message.raw();
                // White space around the message is stored beside it, escaped.
                raw.strip_suffix(b"\n").unwrap_or(raw) == raw.trim_ascii() && is_verbatim(&frame.message)
            }),
            brief: brief.unwrap_or(Brief::Other),
        }
    }

    /// Encodes the entry of record `seq`.
    pub fn encode(&self, seq: Seq) -> [u8; ENTRY] {
        let mut small = [0_u32; 8];
        let [lane, exchange, op, to, method, target, size, bits] = &mut small;
        let mut status = 0_u16;
        let back = |to: Option<Seq>| to.map_or(0, |to| u32::try_from(seq - to).unwrap_or(0));
        match &self.brief {
            Brief::Other => bits::put(bits, bits::KIND, OTHER),
            Brief::Sent(sent) => {
                bits::put(bits, bits::KIND, SENT);
                bits::put(bits, bits::OUTCOME, index_of(&OUTCOMES, &sent.outcome));
                *to = back(Some(sent.frame));
                if let Some(held) = sent.held {
                    bits::put(bits, bits::HELD, 1);
                    let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
                    *method = u32::from_le_bytes([held[0], held[1], held[2], held[3]]);
                    *target = u32::from_le_bytes([held[4], held[5], held[6], held[7]]);
                }
            }
            Brief::Frame(digest) => {
                bits::put(bits, bits::KIND, index_of(&KINDS, &digest.kind));
                bits::put(bits, bits::DIRECTION, u32::from(digest.direction == Direction::ToClient));
                bits::put(bits, bits::ORIGIN, origin_bits(digest.origin));
                bits::put(bits, bits::ROLE, index_of(&ROLES, &digest.link.role));
                bits::put(bits, bits::FLAGS, u32::from(digest.flags.bits()));
                bits::put(bits, bits::QUIRKS, u32::from(digest.quirks.bits()));
                bits::put(bits, bits::ERROR, u32::from(digest.is_error));
                bits::put(bits, bits::PAGES, u32::from(digest.pages_on));
                bits::put(bits, bits::REDACTED, u32::from(digest.is_redacted));
                if let Some(http) = digest.http {
                    bits::put(bits, bits::HTTP, 1);
                    bits::put(bits, bits::STREAM, u32::from(http.stream));
                    bits::put(bits, bits::EVENT, u32::from(http.event));
                    *exchange = http.exchange.0;
                    status = http.status.unwrap_or(0);
                }
                *lane = digest.lane.0;
                *op = digest.link.op.map_or(0, |op| op.0);
                *to = back(digest.link.to);
                *method = digest.method.unwrap_or(0);
                *target = digest.target.unwrap_or(0);
                *size = u32::try_from(digest.size).unwrap_or(u32::MAX);
            }
        }
        bits::put(bits, bits::VERBATIM, u32::from(self.verbatim));
        let mut bytes = [0; ENTRY];
        // The offset (48 bits) and the HTTP status (16 bits) share a word.
        bytes[0..8].copy_from_slice(&(self.offset | u64::from(status) << 48).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.mono.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.session.to_le_bytes());
        for (slot, value) in bytes[24..].chunks_exact_mut(4).zip(small) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Decodes the entry of record `seq`; returns `None` for a record that is not on the tape, or a
    /// broken entry.
    pub fn decode(bytes: &[u8; ENTRY], seq: Seq) -> Option<Self> {
        let wide = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let small = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let length = small(16);
        if length == 0 {
            return None;
        }
        let word = wide(0);
        let (offset, status) = (word & ((1 << 48) - 1), (word >> 48) as u16);
        let field = |index: usize| small(24 + index * 4);
        let bits = field(7);
        let is = |place| bits::get(bits, place) == 1;
        let to = (field(3) > 0).then(|| seq.saturating_sub(u64::from(field(3))));
        let brief = match bits::get(bits, bits::KIND) {
            SENT => Brief::Sent(Sent {
                frame: to?,
                outcome: OUTCOMES[bits::get(bits, bits::OUTCOME) as usize],
                held: is(bits::HELD)
                    .then(|| Duration::from_nanos(u64::from(field(5)) << 32 | u64::from(field(4)))),
                length: None,
                why: None,
            }),
            kind if kind < SENT => {
                let flags = Flags::from_bits(bits::get(bits, bits::FLAGS) as u8);
                let role = ROLES[bits::get(bits, bits::ROLE) as usize];
                let op = (field(2) > 0).then_some(OpId(field(2)));
                let name = |field: u32| (field > 0).then_some(field);
                Brief::Frame(Digest {
                    lane: LaneId(field(0)),
                    direction: if is(bits::DIRECTION) { Direction::ToClient } else { Direction::ToServer },
                    kind: *KINDS.get(kind as usize)?,
                    origin: match bits::get(bits, bits::ORIGIN) {
                        1 => Origin::Injected,
                        2 => Origin::Replayed,
                        _ => Origin::Wire,
                    },
                    link: Link { op, role, to, cause: None, flags },
                    reply_to: to.filter(|_| matches!(role, Role::Response | Role::InputRequired)),
                    flags,
                    quirks: Quirks::from_bits(bits::get(bits, bits::QUIRKS) as u8),
                    method: name(field(4)),
                    target: name(field(5)),
                    size: u64::from(field(6)),
                    is_error: is(bits::ERROR),
                    pages_on: is(bits::PAGES),
                    is_redacted: is(bits::REDACTED),
                    http: is(bits::HTTP).then(|| HttpDigest {
                        exchange: LaneId(field(1)),
                        status: (status > 0).then_some(status),
                        stream: is(bits::STREAM),
                        event: is(bits::EVENT),
                    }),
                })
            }
            _ => Brief::Other,
        };
        Some(Self { offset, length, mono: wide(8), session: small(20), verbatim: is(bits::VERBATIM), brief })
    }
}

/// Returns the digest of a frame, if an entry can hold all of it.
fn brief_frame(seq: Seq, frame: &Frame, names: &mut EntryNames) -> Option<Brief> {
    let number = u32::try_from(seq).ok()?;
    let digest: Digest<Cow<'_, str>> = Digest::of(frame);
    let fits = frame.elements.is_empty()
        && digest.link.cause.is_none()
        && digest.origin.of().is_none()
        && digest.size < u64::from(u32::MAX)
        && digest.link.to.is_none_or(|to| fits(seq, to));
    fits.then(|| {
        let method = digest.method.as_deref().map(|text| first_use(&mut names.methods, text, number));
        let target = digest.target.as_deref().map(|text| first_use(&mut names.targets, text, number));
        Brief::Frame(digest.named(method, target))
    })
}

/// Returns `true` if an entry of record `seq` can refer to the earlier record `to`.
fn fits(seq: Seq, to: Seq) -> bool {
    to < seq && u32::try_from(seq - to).is_ok()
}

fn origin_bits(origin: Origin) -> u32 {
    match origin {
        Origin::Injected => 1,
        Origin::Replayed => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let frame = Digest {
            lane: LaneId(3),
            direction: Direction::ToClient,
            kind: FrameKind::Response,
            origin: Origin::Injected,
            link: Link {
                op: Some(OpId(9)),
                role: Role::Response,
                to: Some(5),
                cause: None,
                flags: Flags::LATE,
            },
            reply_to: Some(5),
            flags: Flags::LATE,
            quirks: Quirks::BOM,
            method: None,
            target: Some(2),
            size: 77,
            is_error: true,
            pages_on: false,
            is_redacted: true,
            http: Some(HttpDigest { exchange: LaneId(2), status: Some(404), stream: true, event: false }),
        };
        let sent = Sent {
            frame: 8,
            outcome: Outcome::Withdrawn,
            held: Some(Duration::from_nanos(1 << 40)),
            length: None,
            why: None,
        };
        for brief in [Brief::Frame(frame), Brief::Sent(sent), Brief::Other] {
            let entry = IndexEntry { offset: 1 << 40, length: 7, mono: 9, session: 1, verbatim: true, brief };
            assert_eq!(IndexEntry::decode(&entry.encode(10), 10), Some(entry));
        }
    }
}
