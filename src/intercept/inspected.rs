//! The view of a frame that interceptors get.

use std::sync::Arc;

use crate::log::http::Http;
use crate::log::operation::Operation;
use crate::log::query::Subject;
use crate::log::record::{Channel, FrameKind, Link, OpId, Origin, Role, Seq, SessionId};
use crate::mcp::{Direction, Era, Eras, Message};

/// A frame on its way, with the facts around it. All parts are borrowed, and none of them has to
/// be recorded: a gateway that records nothing can be inspected as well.
#[derive(Clone, Copy)]
pub struct Inspected<'a> {
    /// The position of its record; 0 where it is not recorded.
    pub seq: Seq,
    /// The session.
    pub session: SessionId,
    /// The name of the session's server.
    pub session_name: &'a str,
    /// The direction of the frame.
    pub direction: Direction,
    /// The kind of stream that it came through.
    pub channel: Channel,
    /// The origin of the frame.
    pub origin: Origin,
    /// The message, or the text of a frame that is none.
    pub message: &'a Message,
    /// The HTTP exchange that it is part of.
    pub http: Option<&'a Http>,
    /// The link of each element of [`Message::elements`].
    pub links: &'a [Link],
    /// The operation of each element of [`Message::elements`].
    pub operations: &'a [Option<Arc<Operation>>],
    /// The eras that both sides have shown so far.
    pub eras: &'a Eras,
    /// Local time of its arrival in seconds since midnight.
    pub time_of_day: u32,
}

/// A message of a frame: the only one, or an element of a batch.
#[derive(Clone, Copy)]
pub struct InspectedMessage<'a> {
    frame: &'a Inspected<'a>,
    message: &'a Message,
    link: Link,
    operation: Option<&'a Operation>,
}

impl<'a> Inspected<'a> {
    /// Returns the frame's messages: the elements of a batch, or the only one.
    pub fn messages(&'a self) -> impl Iterator<Item = InspectedMessage<'a>> {
        self.message.elements().iter().enumerate().map(|(at, message)| InspectedMessage {
            frame: self,
            message,
            link: self.links.get(at).copied().unwrap_or_default(),
            operation: self.operations.get(at).and_then(Option::as_deref),
        })
    }

    /// Returns the frame as a whole: a batch is one message here.
    pub fn whole(&'a self) -> InspectedMessage<'a> {
        let is_batch = self.links.len() > 1 || self.message.elements().len() > 1;
        let (link, operation) = match is_batch {
            true => (Link::default(), None),
            false => (
                self.links.first().copied().unwrap_or_default(),
                self.operations.first().and_then(Option::as_deref),
            ),
        };
        InspectedMessage { frame: self, message: self.message, link, operation }
    }

    /// Returns the kind in the words of the query language.
    pub fn kind(&self) -> FrameKind {
        FrameKind::of(self.channel, self.message)
    }
}

impl<'a> InspectedMessage<'a> {
    /// Returns the message.
    pub fn message(&self) -> &'a Message {
        self.message
    }

    /// Returns the place of the message in its operation.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Returns the operation that the message belongs to, as it was before the message.
    pub fn operation(&self) -> Option<&'a Operation> {
        self.operation
    }

    /// Returns the method of the message, or of the request that it belongs to.
    pub fn method(&self) -> Option<&'a str> {
        self.message.method().or(self.operation.map(|operation| &*operation.method))
    }

    /// Returns the tool, prompt or resource that the operation names.
    pub fn target(&self) -> Option<&'a str> {
        self.operation.and_then(|operation| operation.target.as_deref())
    }
}

impl Subject for InspectedMessage<'_> {
    fn seq(&self) -> Seq {
        self.frame.seq
    }

    fn direction(&self) -> Direction {
        self.frame.direction
    }

    fn kind(&self) -> &str {
        FrameKind::of(self.frame.channel, self.message).as_str()
    }

    fn method(&self) -> Option<&str> {
        Self::method(self)
    }

    fn target(&self) -> Option<&str> {
        Self::target(self)
    }

    fn size(&self) -> u64 {
        self.message.raw().len() as u64
    }

    fn message(&self) -> Option<Message> {
        (self.frame.channel == Channel::Main).then(|| self.message.clone())
    }

    fn origin(&self) -> &str {
        self.frame.origin.as_str()
    }

    fn op(&self) -> Option<OpId> {
        self.link.op
    }

    fn cause(&self) -> Option<OpId> {
        self.link.cause.map(|cause| cause.op)
    }

    fn http(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(http) = self.frame.http {
            http.phrases(yes);
        }
    }

    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(status) = self.frame.http.and_then(|http| http.status) {
            yes(&status.to_string());
        }
        match self.frame.origin {
            Origin::Replaced(_) => yes("edited"),
            Origin::Answered(_) => yes("answered"),
            Origin::Injected => yes("injected"),
            _ => {}
        }
        match self.link.role {
            _ if self.message.is_error() => yes("error"),
            Role::Response | Role::InputRequired => yes("ok"),
            Role::Request | Role::Retry => yes("pending"),
            Role::Cancel => yes("cancel"),
            _ => {}
        }
        self.link.flags.words().for_each(yes);
    }

    fn era(&self) -> Option<Era> {
        self.frame.eras.current()
    }

    fn lints(&self, yes: &mut dyn FnMut(&str)) {
        self.message.quirks().describe().for_each(&mut *yes);
        self.link.flags.words().for_each(&mut *yes);
        if self.kind() == FrameKind::Invalid.as_str() {
            yes("invalid");
        }
    }

    fn session(&self) -> (u32, &str) {
        (self.frame.session.0, self.frame.session_name)
    }

    fn time_of_day(&self) -> u32 {
        self.frame.time_of_day
    }
}
