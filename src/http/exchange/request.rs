//! The request of an exchange: from the client into the pipeline, and on to the upstream.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::{Exchange, ReceivedRequest};
use crate::http::body::{self, Outbound};
use crate::http::call::{Call, CallBody};
use crate::http::facts::{self, ExchangeFacts};
use crate::http::fit::{fit, mirror};
use crate::http::injected;
use crate::log::http::Http;
use crate::log::record::Channel;
use crate::mcp::{Kind, Message};
use crate::session::{Arrived, LaneItem, Receipt};
use crate::transport::QueuedWrite;
use crate::transport::http::{Rewrite, headers};

impl Exchange {
    fn request_facts(&self) -> (ExchangeFacts, Box<Http>) {
        let cleaner = &self.shared.sessions.context.cleaner;
        let secret = self.http_session.has_secret_endpoint();
        let facts = ExchangeFacts::new(cleaner, self.lane, &self.parts, secret);
        let http = facts.of_request(facts::recorded(cleaner, &self.parts.headers));
        (facts, http)
    }

    /// Receives a request whose body is over the inspect limit.
    pub(super) fn receive_long<B>(&mut self, begun: Bytes, mut rest: B) -> ReceivedRequest
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        let (facts, http) = self.request_facts();
        let session = Arc::clone(&self.http_session.session);
        let kept = facts::kept(&self.shared.sessions.context.cleaner, &self.parts.headers, &begun);
        let seq = session.receive_long(self.lane, begun, kept, Some(http));
        let (queue, lane) = (Arc::clone(&self.to_upstream), self.lane);
        tokio::spawn(async move {
            while let Some(frame) = rest.frame().await {
                let Ok(frame) = frame else {
                    // The server must not take the part that arrived for the whole.
                    queue.cut();
                    break;
                };
                if let Ok(data) = frame.into_data() {
                    session.receive_more(lane, data, false);
                    queue.room().await;
                }
            }
            session.receive_more(lane, Bytes::new(), true);
            session.end(lane);
        });
        ReceivedRequest { seq, op: None, id: None, awaits: true, listens: false, facts }
    }

    /// Receives a request with a whole body.
    pub(super) fn receive(&mut self, body: Bytes) -> ReceivedRequest {
        let (facts, http) = self.request_facts();
        let cleaner = &self.shared.sessions.context.cleaner;
        let item = match body.is_empty() {
            true => facts::of_http(Bytes::new(), Bytes::new(), http),
            false => {
                let message = self.message.clone();
                facts::item(cleaner, &self.parts.headers, message, &body, body.clone(), http)
            }
        };
        let id = item.message.id().cloned();
        let listens = item.message.method() == Some("subscriptions/listen");
        let is_request = |message: &Message| matches!(message.kind(), Kind::Request { .. });
        let awaits = match item.message.kind() {
            Kind::Notification { .. } | Kind::Response { .. } | Kind::Failure { .. } => false,
            Kind::Request { .. } | Kind::Batch(_) => item.message.elements().iter().any(is_request),
            Kind::Opaque(_) => true,
        };
        let Arrived { seq, op } = self.record(item);
        self.http_session.session.end(self.lane);
        ReceivedRequest { seq, op, id, awaits, listens, facts }
    }

    /// Records the request, with the upstream's address in the place of ours where that is asked for.
    fn record(&mut self, item: LaneItem) -> Arrived {
        let session = Arc::clone(&self.http_session.session);
        let rewritten = self.rewrite.as_ref().filter(|_| item.channel == Channel::Http).and_then(|rewrite| {
            let wire = item.wire.as_ref()?;
            let path = self.parts.uri.path_and_query()?.as_str();
            let to_path = rewrite.to_server(path);
            // A body that is no text, or is encoded, names no address.
            let to_wire = std::str::from_utf8(wire).map_or_else(
                |_| wire.clone(),
                |text| match rewrite.to_server(text) {
                    new if new == text => wire.clone(),
                    new => Bytes::from(new),
                },
            );
            (to_path != path || to_wire != *wire).then_some((to_path, to_wire))
        });
        let (Some((path, wire)), Some(http)) = (rewritten, item.http.clone()) else {
            return session.receive_item(self.lane, item).unwrap_or_default();
        };
        if let Ok(uri) = path.parse() {
            self.parts.uri = uri;
        }
        let cleaner = &self.shared.sessions.context.cleaner;
        let http = Box::new(Http { path: cleaner.url(&path).into(), ..*http });
        let message = facts::message(&self.parts.headers, &wire);
        let instead = facts::item(cleaner, &self.parts.headers, message, &wire, wire.clone(), http);
        session.receive_remapped(self.lane, item, Rewrite::AUTHOR, instead)
    }

    /// Makes the call: the request as it came, or with headers that fit the body that replaced it.
    pub(super) fn call(
        &mut self,
        asked: &ReceivedRequest,
        first: QueuedWrite<Receipt>,
        is_long: bool,
    ) -> Call {
        let receipt = first.receipt.as_ref();
        let context = self.http_session.request_context(receipt.map_or(asked.seq, |receipt| receipt.frame));
        let is_edited = receipt.is_some_and(|receipt| !receipt.as_it_came);
        let keeps_headers = receipt.is_some_and(|receipt| receipt.keeps_headers);
        let mut head = std::mem::replace(&mut self.parts, http::Request::new(()).into_parts().0);
        // The method and the URI of the request are needed again for its response.
        self.parts.method = head.method.clone();
        self.parts.uri = head.uri.clone();
        headers::leave_hop(&mut head.headers);
        if is_edited {
            fit(&mut head.headers, &first.bytes);
            let message = Message::parse(first.bytes.clone());
            if !keeps_headers {
                for mirrored in self.shared.sessions.context.annotations.lock().headers(&message).iter() {
                    mirror(&mut head.headers, mirrored);
                }
            }
            self.message = Some(message);
        }
        let session = Arc::clone(&self.http_session.session);
        let body = match is_long {
            true => CallBody::Stream(body::streamed(session, Arc::clone(&self.to_upstream), first)),
            false => CallBody::Whole(Outbound::new(session, first)),
        };
        Call { head, message: self.message.take(), body, context }
    }

    /// Sends the other messages of a verdict that delivers several in the place of the request: each in
    /// an exchange of our own, since one exchange has one request.
    pub(super) fn send_others(&self) {
        let queue = Arc::clone(&self.to_upstream);
        let (shared, http_session) = (Arc::clone(&self.shared), Arc::clone(&self.http_session));
        tokio::spawn(async move {
            while let Some(write) = queue.next().await {
                let (sessions, upstream) = (Arc::clone(&shared.sessions), Arc::clone(&shared.upstream));
                injected::send(sessions, upstream, Arc::clone(&http_session), write).await;
            }
        });
    }
}
