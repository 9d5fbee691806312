//! The operations of a world: which rows belong together, and how each stands.

use std::collections::HashMap;

use super::{Row, World};
use crate::clock::Stamp;
use crate::log::record::{Cause, OpId, Role, Seq, SessionId};
use crate::mcp::Direction;

/// An operation as a list shows it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub id: OpId,
    pub session: SessionId,
    /// The places of its first and last rows; the rows are chained.
    first: u32,
    last: u32,
    count: u32,
    pub direction: Direction,
    pub state: State,
    pub started: Stamp,
    ended_at: Stamp,
    /// The record that ended it; 0 while it runs.
    ended_by: Seq,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    /// Its newest result asks the client for input.
    InputRequired,
    Ok,
    Error,
    Cancelled,
    /// The exchange that was to bring its answer has ended without one.
    Lost,
}

impl Operation {
    /// When it ended.
    pub fn ended(&self) -> Option<Stamp> {
        (self.ended_by > 0).then_some(self.ended_at)
    }

    /// The record that ended it.
    pub fn ended_by(&self) -> Option<Seq> {
        (self.ended_by > 0).then_some(self.ended_by)
    }

    /// How many frames it has.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    fn end(&mut self, seq: Seq, at: Stamp, state: State) {
        (self.ended_by, self.ended_at, self.state) = (seq, at, state);
    }
}

/// All operations, found by their number. Numbers are counted from 1, so they are places; a tape
/// that was tampered with may have others.
#[derive(Debug, Default)]
pub struct Operations {
    dense: Vec<Option<Operation>>,
    odd: HashMap<OpId, Operation>,
    /// What operations of the server were asked for in the correlation of.
    causes: HashMap<OpId, Cause>,
    /// The operations that the other side began in the correlation of one.
    caused: HashMap<OpId, Vec<OpId>>,
    count: usize,
}

impl Operations {
    /// The operation numbered `op`.
    pub fn get(&self, op: OpId) -> Option<&Operation> {
        self.dense.get(op.0 as usize).and_then(Option::as_ref).or_else(|| self.odd.get(&op))
    }

    fn get_mut(&mut self, op: OpId) -> Option<&mut Operation> {
        match self.dense.get_mut(op.0 as usize) {
            Some(slot) => slot.as_mut(),
            None => self.odd.get_mut(&op),
        }
    }

    fn insert(&mut self, operation: Operation) {
        let at = operation.id.0 as usize;
        self.count += 1;
        // Numbers that run far ahead of how many there are would cost memory for nothing.
        if at > 2 * self.count + 1024 {
            self.odd.insert(operation.id, operation);
            return;
        }
        if self.dense.len() <= at {
            self.dense.resize(at + 1, None);
        }
        self.dense[at] = Some(operation);
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.dense.iter().flatten()
    }

    /// What an operation was asked for in the correlation of.
    pub fn cause(&self, op: OpId) -> Option<Cause> {
        self.causes.get(&op).copied()
    }
}

impl World {
    /// Files a frame, the row of which is to be pushed, under its operation.
    pub(super) fn follow(&mut self, seq: Seq, at: Stamp, session: SessionId, digest: &super::Digest) {
        let link = digest.link;
        let Some(op) = link.op else { return };
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        if self.operations.get(op).is_none() {
            self.operations.insert(Operation {
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
        {
            row.next = place;
        }
        operation.last = place;
        operation.count += 1;
        match link.role {
            Role::Response if operation.state == State::Cancelled => {}
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
        self.pending = (self.pending + usize::from(is_pending)).saturating_sub(usize::from(was_pending));
        if link.role != Role::Progress {
            let root = self.rows.get(root as usize).map_or(seq, |row| row.seq);
            self.touched.push(root);
        }
    }

    /// Ends an operation of which no answer will come.
    pub(super) fn give_up_operation(&mut self, op: OpId, seq: Seq, at: Stamp, state: State) {
        let Some(operation) = self.operations.get_mut(op) else { return };
        if operation.state == State::Pending {
            operation.end(seq, at, state);
            let first = operation.first;
            self.pending = self.pending.saturating_sub(1);
            self.touched.extend(self.rows.get(first as usize).map(|row| row.seq));
        }
    }

    /// The operation numbered `op`.
    pub fn operation(&self, op: OpId) -> Option<&Operation> {
        self.operations.get(op)
    }

    /// The first frame of an operation.
    pub fn first(&self, operation: &Operation) -> Option<&Row> {
        self.rows.get(operation.first as usize)
    }

    /// The newest frame of an operation.
    pub fn last_of(&self, operation: &Operation) -> Option<&Row> {
        self.rows.get(operation.last as usize)
    }

    /// The frames of an operation, in order.
    pub fn frames(&self, operation: &Operation) -> impl Iterator<Item = &Row> + use<'_> {
        let mut next = Some(operation.first);
        std::iter::from_fn(move || {
            let row = self.rows.get(next? as usize)?;
            next = (row.next > 0).then_some(row.next);
            Some(row)
        })
    }

    /// The operation of a row, or the one in whose correlation that was asked for.
    pub fn root(&self, row: &Row) -> Option<&Operation> {
        let op = row.op()?;
        let cause = self.operations.cause(op).and_then(|cause| self.operations.get(cause.op));
        cause.or_else(|| self.operations.get(op))
    }

    /// The frames of an operation and of those that it caused, in order.
    pub fn family(&self, operation: &Operation) -> Vec<Seq> {
        let mut frames: Vec<Seq> = self.frames(operation).map(|row| row.seq).collect();
        let caused = self.operations.caused.get(&operation.id);
        for op in caused.into_iter().flatten().filter_map(|op| self.operations.get(*op)) {
            frames.extend(self.frames(op).map(|row| row.seq));
        }
        frames.sort_unstable();
        frames
    }
}
