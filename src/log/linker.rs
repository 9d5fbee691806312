//! The linker of a session, which finds the operation of a message and facts about its sender.
//!
//! Live sessions and tape builders use the same linker, so that an imported recording is linked as
//! its traffic would have been.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::facts::KnownFacts;
use super::operation::{Correlation, Operation, OperationTracker};
use super::record::{Channel, Facts, LaneId, Link, Seq};
use crate::mcp::{Direction, Eras, Kind, Message};

/// Links the messages of one session and learns the era, name and capabilities of both sides.
#[derive(Default)]
pub struct Linker {
    /// The operations under way.
    pub operations: OperationTracker,
    /// The eras of both sides.
    pub eras: Eras,
    known: KnownFacts,
}

/// The circumstances in which a message is seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The direction of the message.
    pub direction: Direction,
    /// The kind of stream: only the messages of [`Channel::Main`] are linked.
    pub channel: Channel,
    /// The lane within which ids are unique, if they are not unique in the whole session (HTTP).
    pub exchange: Option<LaneId>,
    /// The call that a request of the server is related to.
    pub correlation: Correlation,
    /// Set on a request by shadowcat, whose response is kept from the peer.
    pub injected: bool,
}

/// The links of a message, or of the elements of a batch.
#[derive(Debug, Clone, Default)]
pub struct Linked {
    /// The link of any message except a batch.
    pub link: Link,
    /// The links of a batch's elements in their order; empty for any other message.
    pub elements: Vec<Link>,
    /// The operation of each element of [`Message::elements`], as it was before the message.
    pub operations: Vec<Option<Arc<Operation>>>,
}

impl Linker {
    /// Creates a linker that takes the numbers of its operations from `counter`.
    pub fn new(counter: Arc<AtomicU32>) -> Self {
        Self { operations: OperationTracker::new(counter), ..Self::default() }
    }

    /// Links a message that is frame `seq`.
    pub fn link(&mut self, seq: Seq, seen: Seen, message: &Message) -> Linked {
        let Seen { direction, channel, exchange, correlation, injected } = seen;
        if channel != Channel::Main {
            return Linked { operations: vec![None], ..Linked::default() };
        }
        let mut observe = |message: &Message| {
            self.operations.observe(seq, direction, exchange, correlation, message, injected)
        };
        match message.kind() {
            Kind::Batch(messages) => {
                let (elements, operations) =
                    messages.iter().map(observe).map(|each| (each.link, each.operation)).unzip();
                Linked { link: Link::default(), elements, operations }
            }
            _ => {
                let observed = observe(message);
                Linked { link: observed.link, elements: Vec::new(), operations: vec![observed.operation] }
            }
        }
    }

    /// Learns from a message of a peer, given the operations that [`Linker::link`] found. Returns
    /// the facts about its sender if they are new.
    pub fn learn(
        &mut self,
        direction: Direction,
        message: &Message,
        operations: &[Option<Arc<Operation>>],
    ) -> Option<Facts> {
        let method = operations.first().and_then(Option::as_ref).map(|operation| &*operation.method);
        let is_new =
            self.eras.observe(direction, message, method) | self.known.observe(direction, message, method);
        is_new.then(|| self.known.facts(direction, &self.eras))
    }
}
