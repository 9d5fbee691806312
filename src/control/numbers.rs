//! Conversion of one engine's numbers (positions, sessions, operations) to those of a log that
//! several engines share.

use std::collections::{BTreeMap, HashMap};

use crate::log::record::{
    Body, Cause, Frame, Gap, Held, Link, Note, OpId, Origin, Record, Ruled, Sent, Seq, SessionId,
};

/// Map from the numbers of one engine to those of the shared log.
#[derive(Debug, Default)]
pub struct NumberMap {
    /// Positions in the shared log, by the engine's position minus one; 0 for records that never
    /// arrived.
    seqs: Vec<Seq>,
    sessions: BTreeMap<SessionId, SessionId>,
    operations: HashMap<OpId, OpId>,
}

/// Counters that assign sessions and operations their numbers in the shared log.
#[derive(Debug, Default)]
pub struct Free {
    sessions: u32,
    operations: u32,
}

impl Free {
    fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    fn operation(&mut self) -> OpId {
        self.operations += 1;
        OpId(self.operations)
    }
}

impl NumberMap {
    /// Assigns numbers to the session and the operations that a record names for the first time.
    pub fn learn(&mut self, record: &Record, free: &mut Free) {
        if record.session != SessionId(0) {
            self.sessions.entry(record.session).or_insert_with(|| free.session());
        }
        for op in record.frame().into_iter().flat_map(Frame::links).filter_map(|link| link.op) {
            self.operations.entry(op).or_insert_with(|| free.operation());
        }
    }

    /// Notes that the engine's record `remote` is at position `local` of the shared log. Called in
    /// order of position.
    pub fn map(&mut self, remote: Seq, local: Seq) {
        // A number far ahead of the others is damaged or belongs to a gap: do not spend memory on
        // it.
        const JUMP: usize = 1 << 27;
        let Ok(at) = usize::try_from(remote.saturating_sub(1)) else { return };
        if at > self.seqs.len() + JUMP {
            return;
        }
        if self.seqs.len() <= at {
            self.seqs.resize(at + 1, 0);
        }
        self.seqs[at] = local;
    }

    /// Returns the newest position of the engine that has arrived.
    pub fn last(&self) -> Seq {
        self.seqs.len() as Seq
    }

    /// Returns the position in the shared log of the engine's record `remote`; 0 if it has none.
    pub fn seq(&self, remote: Seq) -> Seq {
        let at = usize::try_from(remote.saturating_sub(1)).unwrap_or(usize::MAX);
        self.seqs.get(at).copied().unwrap_or(0)
    }

    /// Returns the number of a session in the shared log; 0 (no session) stays 0.
    pub fn session(&self, remote: SessionId) -> SessionId {
        self.sessions.get(&remote).copied().unwrap_or(SessionId(0))
    }

    /// Returns the sessions of the engine, each with its number in the shared log.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, SessionId)> {
        self.sessions.iter().map(|(remote, local)| (*remote, *local))
    }

    /// Returns the body of a record in the numbers of the shared log; `own` is its position there.
    pub fn translated(&self, record: &Record, own: Seq) -> Body {
        match record.body.clone() {
            Body::Frame(mut frame) => {
                frame.link = self.link(frame.link);
                frame.elements = frame.elements.into_iter().map(|link| self.link(link)).collect();
                frame.origin = match frame.origin {
                    Origin::Replaced(seq) => Origin::Replaced(self.seq(seq)),
                    Origin::Answered(seq) => Origin::Answered(self.seq(seq)),
                    Origin::Remapped(seq) => Origin::Remapped(self.seq(seq)),
                    other => other,
                };
                Body::Frame(frame)
            }
            Body::Held(held) => Body::Held(Held { frame: self.seq(held.frame), ..held }),
            Body::Ruled(ruled) => Body::Ruled(Ruled { frame: self.seq(ruled.frame), ..ruled }),
            Body::Sent(sent) => Body::Sent(Sent { frame: self.seq(sent.frame), ..sent }),
            Body::Note(note) => Body::Note(Note {
                frame: note.frame.map(|frame| self.seq(frame)).filter(|seq| *seq > 0),
                ..note
            }),
            // The missing records have no positions here: the gap covers only its own.
            Body::Gap(_) => Body::Gap(Gap { first: own, last: own }),
            Body::Amended(mut amended) => {
                amended.frame = self.seq(amended.frame);
                Body::Amended(amended)
            }
            other @ (Body::Opened(_)
            | Body::Facts(_)
            | Body::Ended(_)
            | Body::Closed(_)
            | Body::Unknown(_)) => other,
        }
    }

    fn link(&self, link: Link) -> Link {
        let operation = |op: OpId| self.operations.get(&op).copied();
        let cause = |cause: Cause| Some(Cause { op: operation(cause.op)?, ..cause });
        Link {
            op: link.op.and_then(operation),
            to: link.to.map(|seq| self.seq(seq)).filter(|seq| *seq > 0),
            cause: link.cause.and_then(cause),
            ..link
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::log::record::{Level, Outcome};

    fn record(seq: Seq, session: u32, body: Body) -> Record {
        Record { seq, at: Stamp::default(), session: SessionId(session), body }
    }

    #[test]
    fn numbers_of_two_engines_do_not_meet() {
        let mut free = Free::default();
        let (mut one, mut other) = (NumberMap::default(), NumberMap::default());
        let note = || {
            Body::Note(Note {
                frame: Some(1),
                mark: None,
                level: Level::Info,
                by: "x".into(),
                text: String::new(),
            })
        };
        for (local, numbers) in [(1, &mut one), (2, &mut other)] {
            let first = record(1, 1, note());
            numbers.learn(&first, &mut free);
            numbers.map(1, local);
        }
        assert_eq!((one.session(SessionId(1)), other.session(SessionId(1))), (SessionId(1), SessionId(2)));
        let sent = Sent { frame: 1, outcome: Outcome::Forwarded, held: None, length: None, why: None };
        let Body::Sent(sent) = other.translated(&record(2, 1, Body::Sent(sent)), 3) else { panic!() };
        assert_eq!(sent.frame, 2);
        assert_eq!(one.seq(7), 0, "what never came has no place");
    }
}
