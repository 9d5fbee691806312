//! The replies that the client of an exchange gets: answers of ours, and the response as it leaves the
//! pipeline.

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{Exchange, ReceivedRequest};
use crate::http::facts;
use crate::http::fit::{add, fit, fit_chunked};
use crate::log::record::Channel;
use crate::mcp::{Message, compose};
use crate::session::{LaneItem, Receipt};
use crate::transport::http::{BodyError, Cut, HttpBody, Unanswered, full};
use crate::transport::{Pace, QueuedWrite};

impl Exchange {
    /// Responds to a request of which nothing goes to the upstream: it was answered, dropped, or is an
    /// answer to us.
    pub(super) async fn unsent(mut self, asked: &ReceivedRequest) -> Result<Response<HttpBody>, Cut> {
        if self.to_upstream.is_cut() {
            return Err(Cut);
        }
        if !asked.awaits {
            self.finish();
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::ACCEPTED;
            return Ok(response);
        }
        let first = self.first_reply().await?;
        Ok(self.answer(StatusCode::OK, first, HeaderMap::new()))
    }

    /// Responds with an answer of ours, which may be several writes.
    fn answer(
        mut self,
        status: StatusCode,
        first: QueuedWrite<Receipt>,
        headers: HeaderMap,
    ) -> Response<HttpBody> {
        let mut response = plain(status, Bytes::new());
        let (more, given) = match &first.receipt {
            Some(receipt) => (receipt.more, receipt.head.clone()),
            None => (false, None),
        };
        match more {
            true => fit_chunked(response.headers_mut()),
            false => fit(response.headers_mut(), &first.bytes),
        }
        response.headers_mut().extend(headers);
        if let Some(given) = given {
            *response.status_mut() = StatusCode::from_u16(given.status).unwrap_or(status);
            add(response.headers_mut(), &given);
        }
        let is_whole = !more && first.pace.is_none();
        *response.body_mut() = match is_whole {
            true => {
                let QueuedWrite { bytes, receipt, .. } = first;
                self.unconfirmed = receipt;
                self.finish();
                full(bytes)
            }
            // The queue of an answer of ours does not end: its last write says that none follows.
            false => body_until_last(self, first),
        };
        response
    }

    /// Tells the client why the upstream gave no answer.
    pub(super) async fn fail(
        mut self,
        asked: &ReceivedRequest,
        unanswered: Unanswered,
    ) -> Result<Response<HttpBody>, Cut> {
        let Unanswered { status, code, why, data, header } = unanswered;
        let headers = HeaderMap::from_iter(header);
        self.check_session(status);
        let why = format!("shadowcat: {why}");
        let line = compose::failure_with(asked.id.as_ref(), code, &why, data.as_deref());
        let cleaner = &self.shared.sessions.context.cleaner;
        let http = asked.facts.of_response(status, facts::recorded(cleaner, &headers));
        let message = Message::parse(line);
        let item = LaneItem { message, channel: Channel::Main, http: Some(http), wire: None };
        self.http_session.session.answer(self.lane, asked.seq, item);
        let first = self.first_reply().await?;
        Ok(self.answer(status, first, headers))
    }

    /// Ends a session that the server does not know any more: it answers 404 to its name (2025-03-26 to
    /// 2025-11-25, basic/transports, session management).
    pub(super) fn check_session(&self, status: StatusCode) {
        if status == StatusCode::NOT_FOUND && self.http_session.is_by_id() {
            self.shared.sessions.retire(&self.http_session, "the server knows no such session", None);
        }
    }

    /// Waits for the first write to the client. If the request was dropped in silence, this waits until
    /// the client leaves.
    pub(super) async fn first_reply(&mut self) -> Result<QueuedWrite<Receipt>, Cut> {
        match self.to_client.next().await {
            Some(write) => Ok(write),
            None if self.is_cut() || self.is_over() => Err(Cut),
            None => std::future::pending().await,
        }
    }

    /// Remembers the write that the client is given now. With the last one the exchange is finished: a
    /// client that was given as much as was promised asks for no more.
    fn give(&mut self, receipt: Option<Receipt>, length: usize) {
        self.unconfirmed = receipt;
        self.left = self.left.map(|left| left.saturating_sub(length as u64));
        if self.left == Some(0) || (self.to_client.is_over() && !self.is_cut()) {
            self.finish();
        }
    }

    /// Confirms the write that the client was given last.
    fn confirm_last(&mut self, taken: bool) {
        if let Some(receipt) = self.unconfirmed.take() {
            self.http_session.session.confirm(receipt, taken);
        }
    }

    /// Returns `true` if the session has ended, so that no reply can come.
    pub(super) fn is_over(&self) -> bool {
        self.http_session.session.is_closed()
    }

    /// Returns `true` if the response is to end as a connection that breaks.
    fn is_cut(&self) -> bool {
        self.to_client.is_cut()
    }

    /// Ends the exchange: the client has everything.
    pub(super) fn finish(&mut self) {
        self.confirm_last(true);
        self.finished = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take().filter(|_| !self.finished) {
            relay.abort();
        }
        self.confirm_last(false);
        let broken = self.to_client.is_cut();
        let session = &self.http_session.session;
        // The last write of a long body is empty, and a peer that has all promised bytes asks for no more.
        let is_whole = self.finished && !self.to_upstream.is_cut();
        for write in self.to_upstream.abandon().into_iter().chain(self.to_client.abandon()) {
            if let Some(receipt) = write.receipt {
                session.confirm(receipt, is_whole && write.bytes.is_empty());
            }
        }
        let why = (!self.finished).then_some(if broken { "it broke off" } else { "the client left" });
        if let Some(lane) = self.response {
            session.close_lane(lane, why);
        }
        session.close_lane(self.lane, why);
        self.shared.sessions.leave(&self.http_session);
    }
}

/// A write that is being given to the client piece by piece, at its pace.
struct Paced {
    pace: Pace,
    /// The pieces that are still to be given, the next one last.
    pieces: Vec<Bytes>,
    /// The receipt, which goes with the last piece.
    receipt: Option<Receipt>,
    /// Length of the write.
    length: usize,
}

impl Paced {
    fn new(pace: Pace, bytes: Bytes, receipt: Option<Receipt>) -> Self {
        let length = bytes.len();
        let mut pieces: Vec<Bytes> = pace.pieces(bytes).collect();
        pieces.reverse();
        Self { pace, pieces, receipt, length }
    }
}

/// The state of a response body that is streamed from the queue of its exchange.
struct Streamed {
    exchange: Exchange,
    first: Option<QueuedWrite<Receipt>>,
    paced: Option<Paced>,
    /// Set to end after the last write of an answer of ours instead of with the queue.
    until_last: bool,
    ended: bool,
}

/// Creates a response body of everything that is queued for the client of an exchange, beginning with
/// `first`. The exchange lives as long as its client reads.
pub(super) fn body(exchange: Exchange, first: Option<QueuedWrite<Receipt>>) -> HttpBody {
    streamed(Streamed { exchange, first, paced: None, until_last: false, ended: false })
}

fn body_until_last(exchange: Exchange, first: QueuedWrite<Receipt>) -> HttpBody {
    streamed(Streamed { exchange, first: Some(first), paced: None, until_last: true, ended: false })
}

fn streamed(state: Streamed) -> HttpBody {
    let stream = unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((piece.map(Frame::data), state))
    });
    StreamBody::new(Box::pin(stream)).boxed_unsync()
}

impl Streamed {
    /// Returns the next piece of the body; `None` at its end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.exchange.confirm_last(true);
        if let Some(piece) = self.next_paced().await {
            return Some(Ok(piece));
        }
        if self.ended {
            return None;
        }
        let write = match self.first.take() {
            Some(first) => Some(first),
            None => self.exchange.to_client.next().await,
        };
        match write {
            Some(QueuedWrite { bytes, receipt, pace, .. }) => {
                self.ended = self.until_last && receipt.as_ref().is_none_or(|receipt| !receipt.more);
                if let Some(pace) = pace.filter(|_| !bytes.is_empty()) {
                    self.paced = Some(Paced::new(pace, bytes, receipt));
                    return self.next_paced().await.map(Ok);
                }
                self.give(receipt, bytes.len());
                Some(Ok(bytes))
            }
            None if self.exchange.is_cut() => {
                // The last bytes are written while this yields, and would be lost otherwise.
                tokio::task::yield_now().await;
                Some(Err("the response broke off".into()))
            }
            None => {
                self.exchange.finish();
                None
            }
        }
    }

    /// Returns the next piece of the write that is given at a pace, once it is due.
    async fn next_paced(&mut self) -> Option<Bytes> {
        let paced = self.paced.as_mut()?;
        let piece = paced.pieces.pop()?;
        tokio::time::sleep(paced.pace.duration(piece.len())).await;
        if paced.pieces.is_empty() {
            let (receipt, length) = (paced.receipt.take(), paced.length);
            self.paced = None;
            self.give(receipt, length);
        }
        Some(piece)
    }

    /// Gives the client a write. After the last one nothing may poll the body again, so the exchange is
    /// finished at once.
    fn give(&mut self, receipt: Option<Receipt>, length: usize) {
        self.exchange.give(receipt, length);
        if self.ended {
            self.exchange.finish();
        }
    }
}

/// Creates a response of ours with a JSON body.
pub fn plain(status: StatusCode, body: Bytes) -> Response<HttpBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
