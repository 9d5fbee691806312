//! The stages that every frame passes, in the order of their priority.

use std::sync::Arc;

use super::verdict::Ruling;
use crate::log::operation::Operation;
use crate::log::query::Subject;
use crate::log::record::{Channel, Frame, OpId, Seq, SessionId};
use crate::mcp::{Direction, Era, Eras, Message};

/// A stage of the pipeline.
pub trait Interceptor: Send + Sync {
    /// The name that the log gives for its verdicts.
    fn name(&self) -> &str;

    /// Rules on a frame, or has no opinion. Called with the session locked: it must not block.
    fn rule(&self, frame: &Arriving<'_>) -> Option<Ruling>;
}

/// A frame on its way, with what is known about it.
pub struct Arriving<'a> {
    pub seq: Seq,
    pub session: SessionId,
    pub name: &'a str,
    pub frame: &'a Frame,
    /// The operation it belongs to.
    pub operation: Option<&'a Operation>,
    pub eras: &'a Eras,
    /// Seconds since local midnight at its arrival.
    pub time_of_day: u32,
}

/// The stages, highest priority first; equals keep the order in which they were added.
#[derive(Default, Clone)]
pub struct Chain {
    stages: Vec<(i32, Arc<dyn Interceptor>)>,
}

impl Chain {
    /// Adds a stage.
    #[must_use]
    pub fn with(mut self, priority: i32, stage: Arc<dyn Interceptor>) -> Self {
        let at = self.stages.partition_point(|(other, _)| *other >= priority);
        self.stages.insert(at, (priority, stage));
        self
    }

    /// The first ruling of the stages from `from` on, who gave it, and the stage after it.
    pub fn rule(&self, from: usize, frame: &Arriving<'_>) -> Option<(usize, &str, Ruling)> {
        self.stages
            .iter()
            .enumerate()
            .skip(from)
            .find_map(|(index, (_, stage))| Some((index + 1, stage.name(), stage.rule(frame)?)))
    }

    /// Whether no stage can have an opinion.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

impl Subject for Arriving<'_> {
    fn seq(&self) -> Seq {
        self.seq
    }

    fn direction(&self) -> Direction {
        self.frame.direction
    }

    fn kind(&self) -> &str {
        self.frame.kind().as_str()
    }

    fn method(&self) -> Option<&str> {
        self.frame.message.method().or(self.operation.map(|operation| &*operation.method))
    }

    fn target(&self) -> Option<&str> {
        self.operation.and_then(|operation| operation.target.as_deref())
    }

    fn size(&self) -> u64 {
        self.frame.message.raw().len() as u64
    }

    fn message(&self) -> Option<Message> {
        (self.frame.channel == Channel::Main).then(|| self.frame.message.clone())
    }

    fn origin(&self) -> &str {
        self.frame.origin.as_str()
    }

    fn op(&self) -> Option<OpId> {
        self.frame.link.op
    }

    fn cause(&self) -> Option<OpId> {
        self.frame.link.cause.map(|cause| cause.op)
    }

    fn http(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(http) = &self.frame.http {
            http.phrases(yes);
        }
    }

    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(status) = self.frame.http.as_ref().and_then(|http| http.status) {
            yes(&status.to_string());
        }
        if self.frame.message.is_error() {
            yes("error");
        }
        for link in self.frame.links() {
            link.flags.words().for_each(&mut *yes);
        }
    }

    fn era(&self) -> Option<Era> {
        self.eras.current()
    }

    fn lints(&self, yes: &mut dyn FnMut(&str)) {
        self.frame.message.quirks().describe().for_each(yes);
    }

    fn session(&self) -> (u32, &str) {
        (self.session.0, self.name)
    }

    fn time_of_day(&self) -> u32 {
        self.time_of_day
    }
}
