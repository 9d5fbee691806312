//! Bodies: reading them whole where they are inspected, and sending queued writes as bodies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::session::{Receipt, Session};
use crate::transport::http::{BodyError, HttpBody, full};
use crate::transport::{QueuedWrite, WriterQueue};

/// The result of reading a body.
pub enum Gathered<B> {
    /// The whole body.
    Whole(Bytes),
    /// The beginning of a body over the limit, and its rest.
    Long(Bytes, B),
    /// No piece came within the time limit.
    Slow,
    /// The sender broke off.
    Broken,
}

/// Time limit for each piece of a client's body.
const CLIENT_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bodies under this many bytes are copied out of the read buffer: a record keeps them for long, and a
/// slice would keep the whole buffer.
const COPIED_BELOW: usize = 32 * 1024;

/// Reads a client's body of up to `limit` bytes.
pub async fn gather<B>(body: B, limit: usize) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    collect(body, limit, Some(CLIENT_BODY_TIMEOUT)).await
}

/// Reads an upstream's body of up to `limit` bytes, without a time limit.
pub async fn gather_reply<B>(body: B, limit: usize) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    collect(body, limit, None).await
}

async fn collect<B>(mut body: B, limit: usize, timeout: Option<Duration>) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let next = match timeout {
            Some(timeout) => match tokio::time::timeout(timeout, body.frame()).await {
                Ok(next) => next,
                Err(_) => return Gathered::Slow,
            },
            None => body.frame().await,
        };
        match next {
            None if whole.is_empty() => return Gathered::Whole(first),
            None => return Gathered::Whole(whole.freeze()),
            Some(Err(_)) => return Gathered::Broken,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                // Most bodies are one piece, which is not copied together.
                if first.is_empty() && whole.is_empty() {
                    first = if data.len() < COPIED_BELOW { Bytes::copy_from_slice(&data) } else { data };
                } else {
                    if whole.is_empty() {
                        whole.extend_from_slice(&first);
                    }
                    whole.extend_from_slice(&data);
                }
                if first.len().max(whole.len()) > limit {
                    let begun = if whole.is_empty() { first } else { whole.freeze() };
                    return Gathered::Long(begun, body);
                }
            }
        }
    }
}

/// A queued write on its way to a server. It is confirmed when it is accepted, and recorded as unwritten
/// if it is dropped before.
pub struct Outbound {
    session: Arc<Session>,
    write: Option<QueuedWrite<Receipt>>,
}

impl Outbound {
    /// Creates the outbound form of a write of `session`.
    pub fn new(session: Arc<Session>, write: QueuedWrite<Receipt>) -> Self {
        Self { session, write: Some(write) }
    }

    /// Returns the bytes of the write.
    pub fn bytes(&self) -> Bytes {
        self.write.as_ref().map(|write| write.bytes.clone()).unwrap_or_default()
    }

    /// Confirms the write and returns its bytes.
    pub fn accept(mut self) -> Bytes {
        let Some(write) = self.write.take() else { return Bytes::new() };
        if let Some(receipt) = write.receipt {
            self.session.confirm(receipt, true);
        }
        write.bytes
    }

    /// Turns the write into a request body that confirms it when it is sent, at its pace.
    pub fn into_body(self) -> HttpBody {
        let (length, pace) = self.write.as_ref().map_or((0, None), |write| (write.bytes.len(), write.pace));
        if length == 0 {
            return full(self.accept());
        }
        let Some(pace) = pace else {
            let stream = unfold(Some(self), |outbound| async move {
                Some((Ok::<_, BodyError>(Frame::data(outbound?.accept())), None))
            });
            return sized(StreamBody::new(stream), length);
        };
        let stream = unfold((Some(self), Vec::new()), move |(outbound, mut pieces)| async move {
            match outbound {
                Some(outbound) => {
                    pieces = pace.pieces(outbound.accept()).collect();
                    pieces.reverse();
                }
                None => tokio::time::sleep(pace.duration(pieces.last().map_or(0, Bytes::len))).await,
            }
            let piece = pieces.pop()?;
            Some((Ok::<_, BodyError>(Frame::data(piece)), (None, pieces)))
        });
        sized(StreamBody::new(stream), length)
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if let Some(receipt) = self.write.take().and_then(|write| write.receipt) {
            self.session.confirm(receipt, false);
        }
    }
}

fn sized<B>(body: B, length: usize) -> HttpBody
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
{
    Sized { body: Box::pin(body), length: length as u64 }.boxed_unsync()
}

/// A body whose length is known before.
struct Sized<B> {
    body: Pin<Box<B>>,
    length: u64,
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for Sized<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.length -= frame.data_ref().map_or(0, |data| data.len() as u64).min(self.length);
        }
        polled
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}

/// Creates a request body of everything that is queued in `queue`, beginning with `first`.
pub fn streamed(
    session: Arc<Session>,
    queue: Arc<WriterQueue<Receipt>>,
    first: QueuedWrite<Receipt>,
) -> HttpBody {
    let stream = unfold(Some(first), move |first| {
        let (session, queue) = (Arc::clone(&session), Arc::clone(&queue));
        async move {
            let write = match first {
                Some(first) => first,
                None => match queue.next().await {
                    Some(write) => write,
                    None if queue.is_cut() => return Some((Err("the request broke off".into()), None)),
                    None => return None,
                },
            };
            if let Some(receipt) = write.receipt {
                session.confirm(receipt, true);
            }
            Some((Ok::<_, BodyError>(Frame::data(write.bytes)), None))
        }
    });
    StreamBody::new(Box::pin(stream)).boxed_unsync()
}
