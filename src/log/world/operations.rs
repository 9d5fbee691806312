//! The operations of a world: the rows that belong together, and the state of each operation.

use std::collections::HashMap;

use super::{Name, Row, World};
use crate::clock::Stamp;
use crate::log::record::{Cause, Frame, FrameKind, OpId, Role, Seq, SessionId};
use crate::mcp::Direction;

/// An operation, with what a list shows of it.
#[derive(Debug, Clone)]
pub struct OperationSummary {
    /// The number of the operation.
    pub id: OpId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// The index of the first row. Each row links to the next one of its operation.
    first: u32,
    /// The index of the newest row.
    last: u32,
    count: u32,
    /// The direction of the request that began it.
    pub direction: Direction,
    /// The state.
    pub state: State,
    /// The time of its first frame.
    pub started: Stamp,
    ended_at: Stamp,
    /// The record that ended it; 0 while it runs.
    ended_by: Seq,
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No response yet.
    Pending,
    /// The newest result asks the client for input.
    InputRequired,
    /// Ended with a successful response.
    Ok,
    /// Ended with an error response or an HTTP status from 400 on.
    Error,
    /// Cancelled by its sender.
    Cancelled,
    /// Not to be answered any more: the exchange that was to bring the response has ended.
    Lost,
}

impl State {
    /// Returns the status word of a request whose operation has this state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending | Self::InputRequired => "pending",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancel",
            Self::Lost => "lost",
        }
    }
}

impl OperationSummary {
    /// Returns the time at which the operation ended, if it has.
    pub fn ended(&self) -> Option<Stamp> {
        (self.ended_by > 0).then_some(self.ended_at)
    }

    /// Returns the record that ended the operation, if it has ended.
    pub fn ended_by(&self) -> Option<Seq> {
        (self.ended_by > 0).then_some(self.ended_by)
    }

    /// Returns the number of frames.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    fn end(&mut self, seq: Seq, at: Stamp, state: State) {
        (self.ended_by, self.ended_at, self.state) = (seq, at, state);
    }
}

/// A table of all operations by their numbers. Numbers are counted from 1 and serve as indices. A tape that
/// was tampered with may have numbers far out of order, which are kept in a map.
#[derive(Debug, Default)]
pub struct OperationTable {
    dense: Vec<Option<OperationSummary>>,
    odd: HashMap<OpId, OperationSummary>,
    /// For requests by the server: the client's operation in whose course each was asked.
    causes: HashMap<OpId, Cause>,
    /// For each operation of the client: the operations that the server began in its course.
    caused: HashMap<OpId, Vec<OpId>>,
    count: usize,
}

impl OperationTable {
    /// Returns the operation numbered `op`.
    pub fn get(&self, op: OpId) -> Option<&OperationSummary> {
        self.dense.get(op.0 as usize).and_then(Option::as_ref).or_else(|| self.odd.get(&op))
    }

    fn get_mut(&mut self, op: OpId) -> Option<&mut OperationSummary> {
        match self.dense.get_mut(op.0 as usize) {
            Some(slot) => slot.as_mut(),
            None => self.odd.get_mut(&op),
        }
    }

    fn insert(&mut self, operation: OperationSummary) {
        let at = operation.id.0 as usize;
        self.count += 1;
        // Indices far beyond the number of operations would waste memory.
        if at > 2 * self.count + 1024 {
            self.odd.insert(operation.id, operation);
            return;
        }
        if self.dense.len() <= at {
            self.dense.resize(at + 1, None);
        }
        self.dense[at] = Some(operation);
    }

    /// Returns the operations in the order of their numbers, except those far out of order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &OperationSummary> {
        self.dense.iter().flatten()
    }

    /// Returns the operation in whose course operation `op` was asked for, if any.
    pub fn cause(&self, op: OpId) -> Option<Cause> {
        self.causes.get(&op).copied()
    }
}

impl World {
    /// Adds a frame to its operation, before its row is pushed.
    pub(super) fn follow(&mut self, seq: Seq, at: Stamp, session: SessionId, digest: &super::FrameDigest) {
        let link = digest.link;
        let Some(op) = link.op else { return };
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        if self.operations.get(op).is_none() {
            self.operations.insert(OperationSummary {
                id: op,
                session,
                first: place,
                last: place,
                count: 0,
                direction: digest.direction,
                state: State::Pending,
                started: at,
                ended_at: Stamp::default(),
                ended_by: 0,
            });
            if let Some(cause) = link.cause {
                self.operations.causes.insert(op, cause);
                self.operations.caused.entry(cause.op).or_default().push(op);
            }
        }
        let Some(operation) = self.operations.get_mut(op) else { return };
        let was_pending = operation.state == State::Pending && operation.count > 0;
        if operation.count > 0
            && let Some(row) = self.rows.get_mut(operation.last as usize)
            // A batch belongs to several operations.
            && row.kind != FrameKind::Batch
        {
            row.next = place;
        }
        operation.last = place;
        operation.count += 1;
        match link.role {
            Role::Response | Role::InputRequired if operation.state == State::Cancelled => {}
            Role::Response => {
                let state = if digest.is_error { State::Error } else { State::Ok };
                match operation.ended_by {
                    0 => operation.end(seq, at, state),
                    _ if operation.state == State::Lost => operation.end(seq, at, state),
                    _ => operation.state = state,
                }
            }
            Role::InputRequired => operation.state = State::InputRequired,
            Role::Retry => operation.state = State::Pending,
            Role::Cancel if operation.ended_by == 0 => operation.end(seq, at, State::Cancelled),
            _ => {}
        }
        let is_pending = operation.state == State::Pending;
        let root = operation.first;
        let is_open = is_pending || operation.state == State::InputRequired;
        let open = self.open.entry(session).or_default();
        if is_open {
            open.insert(op)
        } else {
            open.remove(&op)
        };
        self.pending = (self.pending + usize::from(is_pending)).saturating_sub(usize::from(was_pending));
        if link.role != Role::Progress {
            let root = self.rows.get(root as usize).map_or(seq, |row| row.seq);
            self.touched.push(root);
        }
    }

    /// Adds the messages of a batch to their operations, after the row of the batch was pushed. The batch is the first
    /// or the newest row of each.
    pub(super) fn follow_elements(&mut self, seq: Seq, at: Stamp, session: SessionId, frame: &Frame) {
        let place = u32::try_from(self.rows.len().saturating_sub(1)).unwrap_or(u32::MAX);
        for (link, message) in frame.elements.iter().zip(frame.message.elements()) {
            let Some(op) = link.op else { continue };
            if self.operations.get(op).is_none() {
                self.operations.insert(OperationSummary {
                    id: op,
                    session,
                    first: place,
                    last: place,
                    count: 0,
                    direction: frame.direction,
                    state: State::Pending,
                    started: at,
                    ended_at: Stamp::default(),
                    ended_by: 0,
                });
            }
            if matches!(link.role, Role::Request | Role::Retry) {
                let method = message.method().map(|text| self.names.intern(text));
                let target = message.target().map(|text| self.names.intern(&text));
                self.batched.insert(op, (method, target));
            }
            let Some(operation) = self.operations.get_mut(op) else { continue };
            let was_pending = operation.state == State::Pending && operation.count > 0;
            (operation.last, operation.count) = (place, operation.count + 1);
            match link.role {
                Role::Response if operation.ended_by == 0 => {
                    let state = if message.is_error() { State::Error } else { State::Ok };
                    operation.end(seq, at, state);
                }
                Role::InputRequired if operation.ended_by == 0 => operation.state = State::InputRequired,
                Role::Cancel if operation.ended_by == 0 => operation.end(seq, at, State::Cancelled),
                _ => {}
            }
            let is_pending = operation.state == State::Pending;
            let root = operation.first;
            let open = self.open.entry(session).or_default();
            match is_pending || operation.state == State::InputRequired {
                true => open.insert(op),
                false => open.remove(&op),
            };
            self.pending = (self.pending + usize::from(is_pending)).saturating_sub(usize::from(was_pending));
            self.touched.extend(self.rows.get(root as usize).map(|row| row.seq));
        }
    }

    /// Ends the operations of a session that has ended.
    pub(super) fn lose_open_operations(&mut self, session: SessionId, seq: Seq, at: Stamp) {
        for op in self.open.remove(&session).unwrap_or_default() {
            self.give_up_operation(op, seq, at, State::Lost);
        }
    }

    /// Ends an operation that will get no response.
    pub(super) fn give_up_operation(&mut self, op: OpId, seq: Seq, at: Stamp, state: State) {
        let Some(operation) = self.operations.get_mut(op) else { return };
        if matches!(operation.state, State::Pending | State::InputRequired) {
            self.pending = self.pending.saturating_sub(usize::from(operation.state == State::Pending));
            operation.end(seq, at, state);
            let first = operation.first;
            if let Some(open) = self.open.get_mut(&operation.session) {
                open.remove(&op);
            }
            self.touched.extend(self.rows.get(first as usize).map(|row| row.seq));
        }
    }

    /// Returns the method and the target of an operation that began in a batch.
    pub fn begun_in_batch(&self, op: OpId) -> Option<(Option<Name>, Option<Name>)> {
        self.batched.get(&op).copied()
    }

    /// Returns the operation numbered `op`.
    pub fn operation(&self, op: OpId) -> Option<&OperationSummary> {
        self.operations.get(op)
    }

    /// Returns the first frame of an operation.
    pub fn first(&self, operation: &OperationSummary) -> Option<&Row> {
        self.rows.get(operation.first as usize)
    }

    /// Returns the newest frame of an operation.
    pub fn last_of(&self, operation: &OperationSummary) -> Option<&Row> {
        self.rows.get(operation.last as usize)
    }

    /// Returns the frames of an operation, in order.
    pub fn frames(&self, operation: &OperationSummary) -> impl Iterator<Item = &Row> + use<'_> {
        let (mut next, last) = (Some(operation.first), operation.last);
        std::iter::from_fn(move || {
            let at = next?;
            let row = self.rows.get(at as usize)?;
            // Behind a batch only the newest frame is known.
            next = match row.next {
                0 => (at < last).then_some(last),
                following => Some(following),
            };
            Some(row)
        })
    }

    /// Returns the operation in whose course the row's operation was asked for, or else the latter.
    pub fn root(&self, row: &Row) -> Option<&OperationSummary> {
        let op = row.op()?;
        let cause = self.operations.cause(op).and_then(|cause| self.operations.get(cause.op));
        cause.or_else(|| self.operations.get(op))
    }

    /// Returns the frames of an operation and of the operations in its course, in order.
    pub fn family(&self, operation: &OperationSummary) -> Vec<Seq> {
        let mut frames: Vec<Seq> = self.frames(operation).map(|row| row.seq).collect();
        let caused = self.operations.caused.get(&operation.id);
        for op in caused.into_iter().flatten().filter_map(|op| self.operations.get(*op)) {
            frames.extend(self.frames(op).map(|row| row.seq));
        }
        frames.sort_unstable();
        frames
    }
}
