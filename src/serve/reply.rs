//! The answer to a call: one message if the answer of the server is the first message that comes, else a
//! stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use http::StatusCode;

use crate::http::{Answer, StreamItem};
use crate::mcp::{Id, Message, compose};
use crate::stdio::process::ServerProcess;
use crate::stdio::reply_queue::{Answered, QueuedReply, ReplyReceiver};
use crate::transport::http::Unanswered;

/// A call that waits for the server.
pub struct Awaited {
    /// The messages of the server for the call.
    pub replies: ReplyReceiver,
    /// The requests of the call.
    pub pending: OpenRequests,
    /// Set to answer with a stream in any case.
    pub streams: bool,
}

/// Requests without an answer yet. In an era in which a stream that its client closes is a cancellation
/// (2026-07-28, patterns/cancellation), dropping this cancels them at the server.
pub struct OpenRequests {
    /// The server process.
    pub process: Arc<ServerProcess>,
    /// The ids of the requests as the server and as the client know them.
    pub ids: Vec<(Id, Id)>,
    /// Set in an era in which the server is told of a client that left.
    pub cancels: bool,
}

/// Time for which a call may be silent before its answer becomes a stream, so that no proxy on the way
/// gives it up.
pub(super) const STREAM_AFTER: Duration = Duration::from_secs(10);
/// Interval of the signs of life on a silent stream.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

impl Awaited {
    /// Waits for the first message. `status` maps the code of an error to the status of the answer.
    ///
    /// # Errors
    /// If the server ends before it answers.
    pub async fn respond(mut self, status: impl Fn(i64) -> StatusCode) -> Result<Answer, Unanswered> {
        let first = match self.streams {
            true => None,
            false => match tokio::time::timeout(STREAM_AFTER, self.replies.recv()).await {
                Ok(None) => match self.pending.unanswered_reason() {
                    Some(why) => return Err(Unanswered::bad_gateway(why)),
                    // The client cancelled its request, and a server sends no answer to that.
                    None => None,
                },
                Ok(Some(reply)) => Some(reply),
                Err(_) => None,
            },
        };
        match first {
            Some(QueuedReply { message, answers: Some(Answered { code, .. }) }) => {
                self.pending.ids.clear();
                Ok(Answer::message(code.map_or(StatusCode::OK, status), message))
            }
            first => Ok(stream(self.replies, Some(self.pending), first)),
        }
    }
}

impl OpenRequests {
    fn settle(&mut self, reply: &QueuedReply) {
        if let Some(answered) = &reply.answers {
            self.ids.retain(|(_, id)| *id != answered.id);
        }
    }

    /// Returns the reason why there will be no answer; `None` if the client cancelled its request.
    fn unanswered_reason(&self) -> Option<String> {
        match (self.process.router.over(), self.cancels) {
            (Some(why), _) => Some(why),
            (None, true) => Some("the client read too slowly and was disconnected".into()),
            (None, false) => None,
        }
    }

    /// Takes out a request that will get no answer, and returns the error that its client gets.
    fn fail_next(&mut self) -> Option<Message> {
        let Some(why) = self.unanswered_reason() else {
            self.ids.clear();
            return None;
        };
        let (_, id) = self.ids.pop()?;
        let line = compose::failure(Some(&id), compose::INTERNAL_ERROR, &format!("shadowcat: {why}"));
        Some(Message::parse(line))
    }
}

impl Drop for OpenRequests {
    fn drop(&mut self) {
        for (id, _) in &self.ids {
            if self.process.router.leave(id) && self.cancels {
                self.process.try_write(&compose::cancelled(id, "the client closed its stream"));
            }
        }
    }
}

/// Creates a streamed answer that ends when no request is pending any more; without requests, with its
/// replies.
pub fn stream(replies: ReplyReceiver, pending: Option<OpenRequests>, first: Option<QueuedReply>) -> Answer {
    Answer::stream(unfold((replies, pending, first), |(mut replies, mut pending, first)| async move {
        if pending.as_ref().is_some_and(|pending| pending.ids.is_empty()) {
            return None;
        }
        let reply = match first {
            Some(reply) => Ok(Some(reply)),
            None => tokio::time::timeout(KEEP_ALIVE_INTERVAL, replies.recv()).await,
        };
        let item = match (reply, &mut pending) {
            (Err(_), _) => StreamItem::KeepAlive,
            (Ok(Some(reply)), pending) => {
                if let Some(pending) = pending {
                    pending.settle(&reply);
                }
                StreamItem::Message(reply.message)
            }
            // The server has ended: every request without an answer gets an error.
            (Ok(None), Some(pending)) => StreamItem::Message(pending.fail_next()?),
            (Ok(None), None) => return None,
        };
        Some((item, (replies, pending, None)))
    }))
}
