//! What an exchange is answered: one message where the answer is the first that comes, else a
//! stream of events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::mcp::{Id, compose, sse};
use crate::stdio::process::ServerProcess;
use crate::stdio::reply_queue::{ReplyReceiver, Said};
use crate::transport::http::{Body, BodyError, Unanswered, full};

/// An exchange that waits for its server.
pub struct Awaited {
    pub replies: ReplyReceiver,
    pub pending: Pending,
    /// Its answers come as events in any case.
    pub streams: bool,
}

/// Requests that are not answered yet. Dropped before they are, it tells the server: there, a
/// stream that its client closes is a cancellation (2026-07-28, patterns/cancellation).
pub struct Pending {
    pub process: Arc<ServerProcess>,
    /// Each as the server knows it, and as the client does.
    pub ids: Vec<(Id, Id)>,
    /// Whether the era is one in which the server is told.
    pub tells: bool,
}

/// How long an exchange is silent before it becomes a stream, so that nobody on the way takes it
/// for dead.
const STREAM_AFTER: Duration = Duration::from_secs(10);
/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Awaited {
    /// Waits for what comes first. `status` finds the status for the error that it may be.
    ///
    /// # Errors
    /// When the server ends before it answers.
    pub async fn respond(mut self, status: impl Fn(i64) -> StatusCode) -> Result<Response<Body>, Unanswered> {
        let first = match self.streams {
            true => None,
            false => match tokio::time::timeout(STREAM_AFTER, self.replies.recv()).await {
                Ok(None) => match self.pending.why() {
                    Some(why) => return Err(Unanswered::bad_gateway(why)),
                    // It took its request back, and a server says nothing to that.
                    None => None,
                },
                Ok(Some(said)) => Some(said),
                Err(_) => None,
            },
        };
        match first {
            Some(Said { line, answer: Some(answer) }) => {
                self.pending.ids.clear();
                let mut response = one(line);
                *response.status_mut() = answer.code.map_or(StatusCode::OK, status);
                Ok(response)
            }
            first => Ok(stream(self.replies, Some(self.pending), first)),
        }
    }
}

impl Pending {
    fn answered(&mut self, said: &Said) {
        if let Some(answer) = &said.answer {
            self.ids.retain(|(_, id)| *id != answer.id);
        }
    }

    /// Why there will be no answer; none where the client took its request back.
    fn why(&self) -> Option<String> {
        match (self.process.router.over(), self.tells) {
            (Some(why), _) => Some(why),
            (None, true) => Some("the client read too slowly and was let go".into()),
            (None, false) => None,
        }
    }

    /// An error for everything that is not answered.
    fn give_up(&mut self) -> Bytes {
        let Some(why) = self.why() else {
            self.ids.clear();
            return Bytes::new();
        };
        let why = format!("shadowcat: {why}");
        let error = |(_, id): (Id, Id)| compose::failure(Some(&id), compose::INTERNAL_ERROR, &why);
        let events = self.ids.drain(..).flat_map(|ids| sse::compose(&error(ids)));
        events.collect::<Vec<u8>>().into()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for (id, _) in &self.ids {
            if self.process.router.leave(id) && self.tells {
                self.process.mention(&compose::cancelled(id, "the client closed its stream"));
            }
        }
    }
}

/// A response of one message.
pub fn one(message: Bytes) -> Response<Body> {
    let length = HeaderValue::from(message.len());
    let mut response = Response::new(full(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// A stream of events that ends when nothing is pending any more; without anything that was asked,
/// with its replies.
pub fn stream(replies: ReplyReceiver, pending: Option<Pending>, first: Option<Said>) -> Response<Body> {
    let events = unfold((replies, pending, first), |(mut replies, mut pending, first)| async move {
        if pending.as_ref().is_some_and(|pending| pending.ids.is_empty()) {
            return None;
        }
        let said = match first {
            Some(said) => Ok(Some(said)),
            None => tokio::time::timeout(KEEP_ALIVE, replies.recv()).await,
        };
        let bytes = match (said, &mut pending) {
            (Err(_), _) => Bytes::from_static(b":\n\n"),
            (Ok(Some(said)), pending) => {
                if let Some(pending) = pending {
                    pending.answered(&said);
                }
                sse::compose(&said.line)
            }
            // The server has ended. Whoever still waits for an answer is told.
            (Ok(None), Some(pending)) => pending.give_up(),
            (Ok(None), None) => return None,
        };
        Some((Ok::<_, BodyError>(Frame::data(bytes)), (replies, pending, None)))
    });
    let mut response = Response::new(StreamBody::new(Box::pin(events)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies in front of us must not collect events (2026-07-28, basic/transports).
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
