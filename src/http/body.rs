//! Reading bodies whole where they are to be looked into, and sending what leaves a queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::exchange::Exchange;
use crate::session::{Receipt, Session};
use crate::transport::QueuedWrite;
use crate::transport::WriterQueue;
use crate::transport::http::{Body, BodyError};

/// What came of reading a body.
pub enum Gathered<B> {
    Whole(Bytes),
    /// It is longer than the limit: its beginning, and what is still to come.
    Long(Bytes, B),
    /// Nothing came for too long.
    Slow,
    /// Its sender broke off.
    Broken,
}

/// How long a client may let us wait for more of a body.
const CLIENT_BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a body of a client of up to `limit` bytes.
pub async fn gather<B>(body: B, limit: usize) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    collect(body, limit, Some(CLIENT_BODY_TIMEOUT)).await
}

/// Reads a body of an upstream of up to `limit` bytes; it may take its time.
pub async fn gather_reply<B>(body: B, limit: usize) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    collect(body, limit, None).await
}

/// Bodies shorter than this are copied out of the buffer that they were read into.
const COPIED_BELOW: usize = 32 * 1024;

async fn collect<B>(mut body: B, limit: usize, patience: Option<Duration>) -> Gathered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let next = match patience {
            Some(patience) => match tokio::time::timeout(patience, body.frame()).await {
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
                // Most bodies are one piece, which need not be copied.
                if first.is_empty() && whole.is_empty() {
                    // A record keeps it for long; a slice would keep the whole read buffer.
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

/// A request body of one write, confirmed when it is taken.
pub fn once(session: Arc<Session>, write: QueuedWrite<Receipt>) -> Body {
    if write.bytes.is_empty() {
        if let Some(receipt) = write.receipt {
            session.confirm(receipt, true);
        }
        return crate::transport::http::full(Bytes::new());
    }
    let length = write.bytes.len();
    let stream = unfold(Some(Taken { session, write: Some(write) }), |taken| async move {
        let mut taken = taken?;
        let write = taken.write.take()?;
        if let Some(receipt) = write.receipt {
            taken.session.confirm(receipt, true);
        }
        Some((Ok::<_, BodyError>(Frame::data(write.bytes)), None))
    });
    Sized { body: Box::pin(StreamBody::new(stream)), length: length as u64 }.boxed_unsync()
}

/// A write that is confirmed as unwritten where nobody takes it.
struct Taken {
    session: Arc<Session>,
    write: Option<QueuedWrite<Receipt>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(receipt) = self.write.take().and_then(|write| write.receipt) {
            self.session.confirm(receipt, false);
        }
    }
}

/// A body whose length is known before.
struct Sized<B> {
    body: std::pin::Pin<Box<B>>,
    length: u64,
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for Sized<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        if let std::task::Poll::Ready(Some(Ok(frame))) = &polled {
            self.length -= frame.data_ref().map_or(0, |data| data.len() as u64).min(self.length);
        }
        polled
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}

/// A request body of everything that leaves a queue.
pub fn streamed(
    session: Arc<Session>,
    queue: Arc<WriterQueue<Receipt>>,
    first: QueuedWrite<Receipt>,
) -> Body {
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

/// A response body of everything that leaves the reply queue of an exchange, which lives as long
/// as its client reads.
pub fn reply(exchange: Exchange, first: Option<QueuedWrite<Receipt>>) -> Body {
    let stream = unfold((exchange, first), |(mut exchange, first)| async move {
        exchange.confirm_last(true);
        let write = match first {
            Some(first) => Some(first),
            None => exchange.next_reply().await,
        };
        match write {
            Some(write) => {
                exchange.giving(write.receipt, write.bytes.len());
                Some((Ok(Frame::data(write.bytes)), (exchange, None)))
            }
            None if exchange.is_cut() => {
                // What was given so far is written while this waits, and would be lost otherwise.
                tokio::task::yield_now().await;
                let broken: BodyError = "the response broke off".into();
                Some((Err(broken), (exchange, None)))
            }
            None => {
                exchange.finish();
                None
            }
        }
    });
    StreamBody::new(Box::pin(stream)).boxed_unsync()
}
