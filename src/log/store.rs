//! The log: append-only, shared, bounded in memory. The log is the bus of the program: the screen, the
//! tape writer and every later reader follow it as a [`Tail`] at their own pace, and none of them can
//! slow the writer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::record::{Body, Gap, Record, Seq, SessionId};
use crate::clock::{Clock, Stamp};

/// The storage from which evicted records can be read back: the tape.
pub trait Archive: Send + Sync {
    /// Returns the record at `seq`, if it is stored and readable.
    fn read(&self, seq: Seq) -> Option<Arc<Record>>;

    /// Returns the position of the first stored record after `seq`.
    fn next(&self, seq: Seq) -> Option<Seq>;

    /// Returns the frames from `first` to `last` whose messages may contain `text`, in order, or `None`
    /// if the storage would have to read each message to answer.
    fn containing(&self, _text: &[u8], _first: Seq, _last: Seq) -> Option<Vec<Seq>> {
        None
    }
}

/// An append-only list of records with a memory bound.
///
/// When the bound is exceeded, the oldest records are evicted. Those that are on the tape are read
/// back from it on demand; without a tape, or if it cannot keep up, they are lost and a [`Gap`] takes
/// their place. Pinned records (held frames) stay.
pub struct Log {
    clock: Clock,
    /// The memory bound in bytes, counted as [`Record::cost`].
    bound: usize,
    inner: RwLock<Inner>,
    length: watch::Sender<Seq>,
    /// Wakes the tape writer when records arrive faster than it looks by itself.
    pressed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    records: VecDeque<Arc<Record>>,
    /// The last position used; 0 if there are no records.
    last: Seq,
    cost: usize,
    /// Cost of the records that are not on the tape yet.
    fresh: usize,
    /// The position up to which every record is on the tape.
    archived: Seq,
    archive: Option<Arc<dyn Archive>>,
    pinned: BTreeMap<Seq, Arc<Record>>,
    lost: u64,
}

/// A reader's position in the log.
pub struct Tail {
    log: Arc<Log>,
    next: Seq,
    length: watch::Receiver<Seq>,
}

/// The default memory bound of an engine's log, in bytes.
pub const DEFAULT_BOUND: usize = 64 << 20;

impl Log {
    /// Creates an empty log that keeps about `bound` bytes of records in memory.
    pub fn new(clock: Clock, bound: usize) -> Arc<Self> {
        Arc::new(Self {
            clock,
            bound,
            inner: RwLock::default(),
            length: watch::Sender::new(0),
            pressed: OnceLock::new(),
        })
    }

    /// Returns the clock that stamps the records.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Appends a fact, stamped with the current time, and returns its position.
    pub fn append(&self, session: SessionId, body: Body) -> Seq {
        self.append_with(session, |_| body).seq
    }

    /// Appends the fact that `make` builds from its position. `make` runs while the log is locked, and
    /// must not use the log.
    pub fn append_with(&self, session: SessionId, make: impl FnOnce(Seq) -> Body) -> Arc<Record> {
        // The time is read while the log is locked, so that times never run against the order.
        self.push(session, |clock| clock.now(), make)
    }

    /// Appends a fact with a stamp that was taken elsewhere, as [`Log::append_with`] does otherwise.
    pub fn append_at(&self, at: Stamp, session: SessionId, make: impl FnOnce(Seq) -> Body) -> Arc<Record> {
        self.push(session, |_| at, make)
    }

    fn push(
        &self,
        session: SessionId,
        time: impl FnOnce(&Clock) -> Stamp,
        make: impl FnOnce(Seq) -> Body,
    ) -> Arc<Record> {
        let mut inner = self.inner.write();
        let at = time(&self.clock);
        let body = make(inner.last + 1);
        let record = inner.push(at, session, body);
        if inner.cost > self.bound
            && let Some(gap) = inner.evict(self.bound)
        {
            inner.push(at, session, Body::Gap(gap));
        }
        let last = inner.last;
        let pressed = inner.fresh > self.bound / 2;
        drop(inner);
        if pressed && let Some(wake) = self.pressed.get() {
            wake();
        }
        // A concurrent append may have reported a later position meanwhile.
        self.length.send_modify(|length| *length = (*length).max(last));
        record
    }

    /// Sets the function to call when records that are not on the tape yet fill half of the bound. Only
    /// the first call has an effect.
    pub fn set_pressed(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // An engine has one recording; ignore a second call.
        let _ = self.pressed.set(wake);
    }

    /// Creates the log of a finished tape, whose records up to `last` are in `archive`.
    pub fn finished(clock: Clock, last: Seq, archive: Arc<dyn Archive>) -> Arc<Self> {
        let log = Self::new(clock, usize::MAX);
        {
            let mut inner = log.inner.write();
            (inner.last, inner.archived) = (last, last);
        }
        log.set_archive(archive);
        log.length.send_replace(last);
        log
    }

    /// Returns the position of the newest record; 0 if there is none.
    pub fn last(&self) -> Seq {
        self.inner.read().last
    }

    /// Returns the number of records that were dropped without being on a tape.
    pub fn lost(&self) -> u64 {
        self.inner.read().lost
    }

    /// Returns the record at `seq`, from memory or from the tape.
    pub fn get(&self, seq: Seq) -> Option<Arc<Record>> {
        let archive = {
            let inner = self.inner.read();
            if let Some(record) = inner.get(seq) {
                return Some(record);
            }
            inner.archive.clone()?
        };
        archive.read(seq)
    }

    /// Returns the frames from `first` to `last` that may contain `text`, in order, if all of them have
    /// left memory; `None` otherwise, or if the tape would have to read each message to answer.
    pub fn containing(&self, text: &[u8], first: Seq, last: Seq) -> Option<Vec<Seq>> {
        let (kept, archive) = {
            let inner = self.inner.read();
            (inner.first(), inner.archive.clone())
        };
        match last < kept {
            true => archive?.containing(text, first, last),
            // Records in memory can be read at once.
            false => None,
        }
    }

    /// Returns up to `most` records from position `from` on. A [`Gap`] stands for each range of records
    /// that are gone.
    pub fn window(&self, from: Seq, most: usize) -> Vec<Arc<Record>> {
        let from = from.max(1);
        let (first, archive) = {
            let inner = self.inner.read();
            let first = inner.first();
            if from >= first {
                let skip = usize::try_from(from - first).unwrap_or(usize::MAX);
                return inner.records.iter().skip(skip).take(most).cloned().collect();
            }
            (first, inner.archive.clone())
        };
        let mut window = Vec::new();
        let mut seq = from;
        while seq < first && window.len() < most {
            let kept = self.inner.read().pinned.get(&seq).cloned();
            match kept.or_else(|| archive.as_ref()?.read(seq)) {
                Some(record) => {
                    window.push(record);
                    seq += 1;
                }
                None => {
                    let archived = archive.as_ref().and_then(|archive| archive.next(seq));
                    let pinned = self.inner.read().pinned.range(seq + 1..).next().map(|(pinned, _)| *pinned);
                    let next = [archived, pinned].into_iter().flatten().fold(first, Seq::min);
                    window.push(self.gap(seq, next - 1));
                    seq = next;
                }
            }
        }
        window
    }

    fn gap(&self, first: Seq, last: Seq) -> Arc<Record> {
        let body = Body::Gap(Gap { first, last });
        Arc::new(Record { seq: last, at: self.clock.now(), session: SessionId(0), body })
    }

    /// Keeps a record in memory regardless of the bound.
    pub fn pin(&self, record: &Arc<Record>) {
        self.inner.write().pinned.insert(record.seq, Arc::clone(record));
    }

    /// Lets go of a record that was pinned. It counts as lost if it is neither in memory nor on the tape.
    pub fn unpin(&self, seq: Seq) {
        let mut inner = self.inner.write();
        let gone = seq < inner.first() && seq > inner.archived;
        if inner.pinned.remove(&seq).is_some() && gone {
            inner.lost += 1;
        }
    }

    /// Sets the tape that evicted records are read back from.
    pub fn set_archive(&self, archive: Arc<dyn Archive>) {
        self.inner.write().archive = Some(archive);
    }

    /// Reports that every record up to `seq` is on the tape.
    pub fn archived(&self, seq: Seq) {
        let mut inner = self.inner.write();
        inner.archived = inner.archived.max(seq);
        let archived = inner.archived;
        let fresh = inner.records.iter().rev().take_while(|record| record.seq > archived);
        inner.fresh = fresh.map(|record| record.cost()).sum();
    }

    /// Creates a reader that begins at position `from` (1 is the beginning).
    pub fn tail(self: &Arc<Self>, from: Seq) -> Tail {
        Tail { log: Arc::clone(self), next: from.max(1), length: self.length.subscribe() }
    }
}

impl Inner {
    fn first(&self) -> Seq {
        self.last + 1 - self.records.len() as Seq
    }

    fn get(&self, seq: Seq) -> Option<Arc<Record>> {
        if let Some(offset) = seq.checked_sub(self.first()) {
            return self.records.get(usize::try_from(offset).ok()?).cloned();
        }
        self.pinned.get(&seq).cloned()
    }

    fn push(&mut self, at: Stamp, session: SessionId, body: Body) -> Arc<Record> {
        self.last += 1;
        let record = Arc::new(Record { seq: self.last, at, session, body });
        self.cost += record.cost();
        self.fresh += record.cost();
        self.records.push_back(Arc::clone(&record));
        record
    }

    /// Evicts from the front down to seven eighths of `bound`, so that a full log does not evict (and
    /// report a gap) at every append. Returns the range of records that are lost.
    fn evict(&mut self, bound: usize) -> Option<Gap> {
        let goal = bound - bound / 8;
        let mut gap: Option<Gap> = None;
        while self.cost > goal && self.records.len() > 1 {
            let Some(record) = self.records.pop_front() else { break };
            self.cost -= record.cost();
            if record.seq > self.archived {
                self.fresh -= record.cost().min(self.fresh);
            }
            if self.pinned.contains_key(&record.seq) {
                continue;
            }
            if record.seq > self.archived {
                self.lost += 1;
                gap.get_or_insert(Gap { first: record.seq, last: record.seq }).last = record.seq;
            }
        }
        gap
    }
}

impl Tail {
    /// Returns up to `most` records after those read so far; empty if there are none.
    pub fn read(&mut self, most: usize) -> Vec<Arc<Record>> {
        let window = self.log.window(self.next, most);
        if let Some(last) = window.last() {
            self.next = last.seq + 1;
        }
        window
    }

    /// Returns the position of the next record to be read.
    pub fn position(&self) -> Seq {
        self.next
    }

    /// Moves back or forward, so that `seq` is read next.
    pub fn seek(&mut self, seq: Seq) {
        self.next = seq.max(1);
    }

    /// Returns the number of records that are not read yet.
    pub fn behind(&self) -> u64 {
        (self.log.last() + 1).saturating_sub(self.next)
    }

    /// Waits until there is a record to read.
    pub async fn changed(&mut self) {
        let next = self.next;
        // The sender lives in the log, which this tail keeps alive, so the channel cannot be closed.
        let _ = self.length.wait_for(|last| *last >= next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record::{Level, Note};

    fn note(text: &str) -> Body {
        Body::Note(Note { frame: None, mark: None, level: Level::Info, by: "test".into(), text: text.into() })
    }

    const S: SessionId = SessionId(1);

    #[test]
    fn a_tail_reads_everything_once() {
        let log = Log::new(Clock::manual(0), DEFAULT_BOUND);
        let mut tail = log.tail(1);
        for _ in 0..5 {
            log.append(S, note("x"));
        }
        assert_eq!(tail.read(3).len(), 3);
        assert_eq!(tail.behind(), 2);
        assert_eq!(tail.read(9).iter().map(|r| r.seq).collect::<Vec<_>>(), [4, 5]);
        assert!(tail.read(9).is_empty());
    }

    #[test]
    fn without_a_tape_eviction_leaves_a_gap() {
        let log = Log::new(Clock::manual(0), 256 * 16);
        for _ in 0..40 {
            log.append(S, note("x"));
        }
        assert!(log.lost() > 0);
        let mut tail = log.tail(1);
        let first = tail.read(100);
        assert!(matches!(first[0].body, Body::Gap(Gap { first: 1, .. })), "{first:?}");
        let rest = tail.read(100);
        assert_eq!(rest[0].seq, first[0].seq + 1);
        assert!(rest.iter().any(|record| matches!(record.body, Body::Gap(_))), "the log itself says so");
    }

    #[test]
    fn what_is_on_the_tape_is_read_back() {
        struct Shelf(Vec<Arc<Record>>);
        impl Archive for Shelf {
            fn read(&self, seq: Seq) -> Option<Arc<Record>> {
                self.0.iter().find(|record| record.seq == seq).cloned()
            }

            fn next(&self, seq: Seq) -> Option<Seq> {
                self.0.iter().map(|record| record.seq).find(|next| *next > seq)
            }
        }
        let log = Log::new(Clock::manual(0), 256 * 16);
        for _ in 0..10 {
            log.append(S, note("x"));
        }
        log.set_archive(Arc::new(Shelf(log.window(1, 10))));
        log.archived(10);
        for _ in 0..8 {
            log.append(S, note("y"));
        }
        assert_eq!(log.lost(), 0);
        let mut tail = log.tail(1);
        let read = std::iter::from_fn(|| Some(tail.read(4)).filter(|window| !window.is_empty())).flatten();
        assert_eq!(read.map(|record| record.seq).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_is_behind_still_sees_what_is_pinned() {
        let log = Log::new(Clock::manual(0), 256 * 8);
        for _ in 0..3 {
            log.append(S, note("x"));
        }
        log.pin(&log.get(3).unwrap());
        for _ in 0..60 {
            log.append(S, note("x"));
        }
        let mut tail = log.tail(1);
        let seen: Vec<_> =
            std::iter::from_fn(|| Some(tail.read(9)).filter(|window| !window.is_empty())).flatten().collect();
        assert!(
            seen.iter().any(|record| record.seq == 3 && matches!(record.body, Body::Note(_))),
            "{seen:?}"
        );
        assert!(matches!(seen[0].body, Body::Gap(Gap { first: 1, last: 2 })));
    }

    #[test]
    fn pinned_records_stay() {
        let log = Log::new(Clock::manual(0), 256 * 8);
        let held = log.append(S, note("held"));
        log.pin(&log.get(held).unwrap());
        for _ in 0..40 {
            log.append(S, note("x"));
        }
        assert!(log.get(held).is_some() && log.get(held + 1).is_none());
        log.unpin(held);
        assert!(log.get(held).is_none());
    }
}
