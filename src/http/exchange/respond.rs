//! The response of an exchange: from the upstream into the pipeline, and on to the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, Method, Response, StatusCode};

use super::{Exchange, ReceivedRequest, reply};
use crate::http::call::{Answer, AnswerBody};
use crate::http::facts;
use crate::http::fit::{add, fit, fit_chunked};
use crate::http::relay::{BrokenOff, Relay};
use crate::log::operation::Correlation;
use crate::log::record::{Channel, LaneId, Level};
use crate::mcp::{Direction, Id};
use crate::session::{Lane, LaneForm, Receipt};
use crate::transport::QueuedWrite;
use crate::transport::http::coding::{self, Decoder};
use crate::transport::http::{Cut, HttpBody, full, headers, nothing};

impl Exchange {
    /// Takes an answer through the pipeline to the client.
    pub(super) async fn respond(
        mut self,
        asked: ReceivedRequest,
        answer: Answer,
    ) -> Result<Response<HttpBody>, Cut> {
        let Answer { mut head, body } = answer;
        let id = asked.id.clone();
        self.learn(&head);
        let recorded = facts::recorded(&self.shared.sessions.context.cleaner, &head.headers);
        let body = if self.decodes { decode(&mut head, body) } else { body };
        let is_stream = body.is_stream(&head.headers) && self.parts.method != Method::HEAD;
        let lane = self.open_response(&asked, is_stream);
        let opens = is_stream && self.parts.method == Method::GET;
        if opens || (is_stream && asked.listens) {
            self.http_session.add_standing_stream(&self.to_client);
        }
        let chunked = head.headers.contains_key(TRANSFER_ENCODING);
        let relay = Relay {
            sessions: Arc::clone(&self.shared.sessions),
            http_session: Arc::clone(&self.http_session),
            lane,
            queue: Arc::clone(&self.to_client),
            facts: asked.facts,
            head: head.clone(),
            recorded,
            rewrite: self.rewrite.clone(),
            op: asked.op,
        };
        if opens {
            relay.opened();
        }
        self.relay(relay, body, is_stream).await;
        if let Some(rewrite) = &self.rewrite {
            rewrite.headers(&mut head.headers);
        }
        headers::leave_hop(&mut head.headers);
        let first = match is_stream {
            true => None,
            false => match self.first_reply().await {
                // The client has no part of the response yet, so it can get an error in its place.
                Err(Cut) if self.shared.explains && !self.is_over() => {
                    return Ok(self.broken(id.as_ref()));
                }
                first => Some(first?),
            },
        };
        if let Some(first) = &first {
            fit_to(&mut head, first);
        }
        self.left = headers::text(&head.headers, "content-length").and_then(|length| length.parse().ok());
        let mut response = Response::new(match first {
            Some(write) if write.bytes.is_empty() && write.receipt.is_some() => {
                self.unconfirmed = write.receipt;
                self.finish();
                if chunked { nothing() } else { full(Bytes::new()) }
            }
            first => reply::body(self, first),
        });
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        *response.extensions_mut() = head.extensions;
        Ok(response)
    }

    /// Learns from the head of a response: the name of the session, whether the server knows it, and
    /// whether clients have to authorize.
    fn learn(&self, head: &Parts) {
        let sessions = &self.shared.sessions;
        if head.status.is_success() {
            if let Some(id) = head.headers.get("mcp-session-id") {
                sessions.name(&self.http_session, id);
            }
            self.http_session.recognize();
        }
        self.warn_of_challenge(head.status);
        self.check_session(head.status);
    }

    /// Tells the person once why a client that is challenged by this upstream will go no further: it asks
    /// for a token for the URL that it dialled, which is not the one that the upstream's documents name
    /// (RFC 9728, section 3.3).
    fn warn_of_challenge(&self, status: StatusCode) {
        let shared = &self.shared;
        if status != StatusCode::UNAUTHORIZED
            || shared.rewrites
            || shared.warned_of_challenge.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let text = format!(
            "clients will refuse to log in here, since the server's documents name {}; --login or --rewrite-origin \
             helps, or a token of their own",
            shared.upstream.address().origin
        );
        self.http_session.session.note(None, Level::Warning, text);
    }

    fn open_response(&mut self, asked: &ReceivedRequest, is_stream: bool) -> LaneId {
        let lane = self.http_session.session.open_lane(Lane {
            direction: Direction::ToClient,
            channel: Channel::Main,
            forward: Arc::clone(&self.to_client),
            back: Some(Arc::clone(&self.http_session.injected)),
            scope: self.scope,
            form: if is_stream { LaneForm::Event } else { LaneForm::Body },
            correlation: asked.op.map_or(Correlation::None, Correlation::Of),
            open_to_us: is_stream,
        });
        self.response = Some(lane);
        lane
    }

    /// Relays the body of a response into its lane: at once if it is whole, else in a task of its own.
    async fn relay(&mut self, relay: Relay, body: AnswerBody, is_stream: bool) {
        let relay = Arc::new(relay);
        let own = Arc::clone(&relay);
        match body {
            body @ AnswerBody::Stream(_) => self.spawn(relay, async move { own.all(body, true).await }),
            body @ AnswerBody::Http(_) if is_stream => {
                self.spawn(relay, async move { own.all(body, true).await });
            }
            AnswerBody::Message(message) => {
                relay.message(message);
                self.relayed(&relay, Ok(()));
            }
            AnswerBody::Empty => {
                relay.empty();
                self.relayed(&relay, Ok(()));
            }
            AnswerBody::Http(body) => {
                let is_known = headers::is_json(&relay.head.headers)
                    || relay.head.headers.contains_key(CONTENT_LENGTH)
                    || http_body::Body::is_end_stream(&body);
                if !is_known {
                    return self.spawn(relay, async move { own.through(Bytes::new(), body).await });
                }
                match relay.whole(body).await {
                    Ok(Some((begun, rest))) => {
                        self.spawn(relay, async move { own.through(begun, rest).await });
                    }
                    whole => self.relayed(&relay, whole.map(drop)),
                }
            }
        }
    }

    /// Relays a body in a task, which ends with the exchange.
    fn spawn(
        &mut self,
        relay: Arc<Relay>,
        work: impl Future<Output = Result<(), BrokenOff>> + Send + 'static,
    ) {
        let deletes = self.deletes(&relay);
        let (task, handle) = futures_util::future::abortable(async move {
            let outcome = work.await;
            conclude(&relay, outcome, deletes);
        });
        self.relay = Some(handle);
        tokio::spawn(task);
    }

    fn relayed(&self, relay: &Relay, outcome: Result<(), BrokenOff>) {
        conclude(relay, outcome, self.deletes(relay));
    }

    fn deletes(&self, relay: &Relay) -> bool {
        self.parts.method == Method::DELETE && relay.head.status.is_success()
    }

    /// Tells the client that the upstream broke off before anything could be passed on.
    fn broken(mut self, id: Option<&Id>) -> Response<HttpBody> {
        let why = "shadowcat: the upstream broke off its answer";
        self.http_session.session.note(None, Level::Warning, format!("answered 502: {why}"));
        let status = StatusCode::BAD_GATEWAY;
        let line = crate::mcp::compose::failure(id, i64::from(status.as_u16()), why);
        self.finish();
        reply::plain(status, line)
    }
}

/// Takes the content coding off an answer to our own client, which has asked for one. A coding that it did
/// not ask for stays.
fn decode(head: &mut Parts, body: AnswerBody) -> AnswerBody {
    match (body, Decoder::of(&head.headers)) {
        (AnswerBody::Http(body), Ok(Some(decoder))) => {
            head.headers.remove(CONTENT_ENCODING);
            head.headers.remove(CONTENT_LENGTH);
            AnswerBody::Http(coding::decoded(body, decoder))
        }
        (body, _) => body,
    }
}

/// Records the end of a relay, and ends a session that its client deleted.
fn conclude(relay: &Relay, outcome: Result<(), BrokenOff>, deletes: bool) {
    if let Err(why) = outcome {
        relay.http_session.session.note(None, Level::Warning, why);
    }
    if deletes {
        relay.sessions.retire(&relay.http_session, "its client deleted it", None);
    }
}

/// Fits the head of a response to its first write, where that was edited.
fn fit_to(head: &mut Parts, first: &QueuedWrite<Receipt>) {
    let Some(receipt) = first.receipt.as_ref().filter(|receipt| !receipt.as_it_came) else { return };
    let headers: &mut HeaderMap = &mut head.headers;
    match receipt.more {
        true => fit_chunked(headers),
        false => fit(headers, &first.bytes),
    }
    if let Some(given) = &receipt.head {
        head.status = StatusCode::from_u16(given.status).unwrap_or(head.status);
        add(&mut head.headers, given);
    }
}
