//! The seam between the HTTP front and a server: a parsed message goes in, an answer comes out.
//!
//! A server is anything that answers a [`Call`]: an HTTP upstream ([`HttpUpstream`]), a process of ours,
//! and whatever is put around either. The message was parsed once, by the front; a server of ours
//! answers with messages that it has parsed, so that neither side composes a text for the other to
//! parse again.
//!
//! ```
//! use shadowcat::http::call::{Answer, Call, CallService, Calling};
//! use shadowcat::mcp::Message;
//! use shadowcat::transport::http::ServerAddress;
//!
//! /// A server that knows one answer.
//! struct Constant(ServerAddress);
//!
//! impl CallService for Constant {
//!     fn call(&self, call: Call) -> Calling<'_> {
//!         Box::pin(async move {
//!             let Some(id) = call.message.as_ref().and_then(Message::id) else {
//!                 return Ok(Answer::empty(http::StatusCode::ACCEPTED));
//!             };
//!             let line = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id.token());
//!             Ok(Answer::message(http::StatusCode::OK, Message::parse(line.into())))
//!         })
//!     }
//!
//!     fn address(&self) -> &ServerAddress {
//!         &self.0
//!     }
//! }
//! ```

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::body::Outbound;
use super::context::RequestContext;
use crate::mcp::Message;
use crate::transport::http::headers;
use crate::transport::http::{Connect, HttpBody, ServerAddress, Unanswered};

/// A server that answers calls.
pub trait CallService: Send + Sync + 'static {
    /// Sends a call and waits for the head of its answer. If the future or the answer is dropped before
    /// the answer has ended, the server is notified.
    ///
    /// # Errors
    /// The future fails with [`Unanswered`] if the server does not respond.
    fn call(&self, call: Call) -> Calling<'_>;

    /// Returns the names of the server.
    fn address(&self) -> &ServerAddress;
}

/// The future of a call, which resolves to the head of the answer.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>>;

/// A request on its way to a server.
pub struct Call {
    /// The method, the URI, the headers, and extensions such as the spelling of header names.
    pub head: http::request::Parts,
    /// The message in the body, if the body is JSON and was inspected.
    pub message: Option<Message>,
    /// The body.
    pub body: CallBody,
    /// The session and the frame of the request.
    pub context: RequestContext,
}

/// The body of a call.
pub enum CallBody {
    /// The whole body.
    Whole(Outbound),
    /// The body of a request over the inspect limit, as it arrives.
    Stream(HttpBody),
}

/// The answer of a server: the head, and a body in the form that the server has it in.
pub struct Answer {
    /// The status, the headers, and extensions such as the spelling of header names.
    pub head: http::response::Parts,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// Bytes of an HTTP upstream, which nobody has looked into yet.
    Http(HttpBody),
    /// No body.
    Empty,
    /// One message of a server of ours.
    Message(Message),
    /// Messages of a server of ours as they come, each an event of a stream.
    Stream(AnswerStream),
}

/// The messages of a streamed answer.
pub type AnswerStream = Pin<Box<dyn Stream<Item = StreamItem> + Send>>;

/// One item of a streamed answer.
pub enum StreamItem {
    /// A message.
    Message(Message),
    /// A sign of life while there is no message (a comment in server-sent events).
    KeepAlive,
}

/// An HTTP server as a [`CallService`].
pub struct HttpUpstream(Arc<dyn Connect>);

impl HttpUpstream {
    /// Creates the service of the server that `connect` reaches.
    pub fn new(connect: Arc<dyn Connect>) -> Arc<Self> {
        Arc::new(Self(connect))
    }
}

impl CallService for HttpUpstream {
    fn call(&self, call: Call) -> Calling<'_> {
        let Call { head, body, .. } = call;
        let body = match body {
            CallBody::Whole(outbound) => outbound.into_body(),
            CallBody::Stream(body) => body,
        };
        let sent = self.0.send(Request::from_parts(head, body));
        Box::pin(async move {
            let (head, body) = sent.await?.into_parts();
            Ok(Answer { head, body: AnswerBody::Http(body) })
        })
    }

    fn address(&self) -> &ServerAddress {
        self.0.address()
    }
}

impl AnswerBody {
    /// Returns `true` if the body is a stream of messages, by the headers of an HTTP upstream or by its form.
    pub fn is_stream(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Http(_) => headers::is_type(headers, "text/event-stream"),
            Self::Stream(_) => true,
            Self::Empty | Self::Message(_) => false,
        }
    }
}

impl Call {
    /// Returns the headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }
}

impl Answer {
    /// Creates an answer with `status` and without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, AnswerBody::Empty)
    }

    /// Creates an answer of one message.
    pub fn message(status: StatusCode, message: Message) -> Self {
        let length = message.body().len();
        let mut answer = Self::new(status, AnswerBody::Message(message));
        answer.head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        answer
    }

    /// Creates an answer of messages as they come.
    pub fn stream(items: impl Stream<Item = StreamItem> + Send + 'static) -> Self {
        let mut answer = Self::new(StatusCode::OK, AnswerBody::Stream(Box::pin(items)));
        let headers = &mut answer.head.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Proxies in front of us must not collect events (2026-07-28, basic/transports).
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        answer
    }

    fn new(status: StatusCode, body: AnswerBody) -> Self {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        Self { head, body }
    }
}

/// Returns the bytes of a message without the terminator that its line had, sharing the memory.
pub fn body_of(message: &Message) -> Bytes {
    message.raw().slice_ref(message.body())
}
