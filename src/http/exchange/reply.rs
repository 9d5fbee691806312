//! What the client of an exchange is given: answers of ours, and the response as it leaves.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::{Asked, Exchange};
use crate::http::sessions::HttpSession;
use crate::http::{facts, service::plain};
use crate::log::record::{Channel, Level};
use crate::mcp::{Id, Message, compose};
use crate::session::{Item, Receipt};
use crate::transport::QueuedWrite;
use crate::transport::http::{Body, Cut, Unanswered};

impl Exchange {
    /// Nothing goes to the upstream: the request was answered, dropped, or an answer to us.
    pub(super) async fn unsent(mut self, asked: &Asked) -> Result<Response<Body>, Cut> {
        if self.there.is_cut() {
            return Err(Cut);
        }
        if !asked.awaits {
            self.finish();
            let mut response = Response::new(crate::transport::http::full(Bytes::new()));
            *response.status_mut() = StatusCode::ACCEPTED;
            return Ok(response);
        }
        let answer = self.first_reply().await?;
        Ok(self.answer(StatusCode::OK, answer))
    }

    /// An answer of ours.
    pub(super) fn answer(mut self, status: StatusCode, write: QueuedWrite<Receipt>) -> Response<Body> {
        let response = plain(status, write.bytes);
        self.unconfirmed = write.receipt;
        self.finish();
        response
    }

    /// Tells the client why the upstream gave no answer.
    pub(super) async fn fail(
        mut self,
        http_session: &Arc<HttpSession>,
        asked: &Asked,
        unanswered: Unanswered,
    ) -> Result<Response<Body>, Cut> {
        let Unanswered { status, code, why, data, header } = unanswered;
        let headers = HeaderMap::from_iter(header);
        self.lost(http_session, status);
        let why = format!("shadowcat: {why}");
        let line = compose::failure_with(asked.id.as_ref(), code, &why, data.as_deref());
        let http = asked.facts.of_response(status, facts::recorded(&self.service.cleaner, &headers));
        let message = Message::parse(line);
        let item = Item { message, channel: Channel::Main, http: Some(http), wire: None };
        http_session.session.answer(self.lane, asked.seq, item);
        let answer = self.first_reply().await?;
        let mut response = self.answer(status, answer);
        response.headers_mut().extend(headers);
        Ok(response)
    }

    /// Tells the client that the upstream broke off before it had said anything that could be passed on.
    pub(super) fn broken(mut self, http_session: &HttpSession, id: Option<&Id>) -> Response<Body> {
        let why = "shadowcat: the upstream broke off its answer";
        http_session.session.note(None, Level::Warning, format!("answered 502: {why}"));
        let status = StatusCode::BAD_GATEWAY;
        let response = plain(status, compose::failure(id, i64::from(status.as_u16()), why));
        self.finish();
        response
    }

    /// A server that has ended a session answers 404 to whoever names it (2025-03-26 to 2025-11-25,
    /// basic/transports, session management): this one is over, or never was.
    pub(super) fn lost(&self, http_session: &Arc<HttpSession>, status: StatusCode) {
        if status == StatusCode::NOT_FOUND && http_session.is_by_id() {
            self.service.sessions.retire(
                &self.service,
                http_session,
                "the server knows no such session",
                None,
            );
        }
    }

    /// What the client is answered. Where that was dropped in silence, the client waits until it
    /// has had enough, which ends this.
    pub(super) async fn first_reply(&mut self) -> Result<QueuedWrite<Receipt>, Cut> {
        match self.next_reply().await {
            Some(write) => Ok(write),
            None if self.is_cut() || self.is_over() => Err(Cut),
            None => std::future::pending().await,
        }
    }

    /// The next piece for the client.
    pub async fn next_reply(&mut self) -> Option<QueuedWrite<Receipt>> {
        self.reply.next().await
    }

    /// Remembers what the client is being given now. With the last of it the exchange is finished:
    /// who has been given as much as was promised asks for no more.
    pub fn giving(&mut self, receipt: Option<Receipt>, length: usize) {
        self.unconfirmed = receipt;
        self.left = self.left.map(|left| left.saturating_sub(length as u64));
        if self.left == Some(0) || (self.reply.is_over() && !self.is_cut()) {
            self.finish();
        }
    }

    /// What the client was given last has been taken, or not.
    pub fn confirm_last(&mut self, taken: bool) {
        if let (Some(receipt), Some(http_session)) = (self.unconfirmed.take(), &self.http_session) {
            http_session.session.confirm(receipt, taken);
        }
    }

    /// Whether the session has ended, and nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.http_session.as_ref().is_none_or(|http_session| http_session.session.is_closed())
    }

    /// Whether the response is to end as a connection that breaks.
    pub fn is_cut(&self) -> bool {
        self.reply.is_cut()
    }

    /// The client has everything.
    pub fn finish(&mut self) {
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
        let broken = self.reply.is_cut();
        let Some(http_session) = self.http_session.take() else { return };
        for write in self.there.abandon().into_iter().chain(self.reply.abandon()) {
            if let Some(receipt) = write.receipt {
                http_session.session.confirm(receipt, false);
            }
        }
        let why = (!self.finished).then_some(if broken { "it broke off" } else { "the client left" });
        if let Some(lane) = self.response {
            http_session.session.close_lane(lane, why);
        }
        http_session.session.close_lane(self.lane, why);
        self.service.sessions.leave(&self.service, &http_session);
    }
}
