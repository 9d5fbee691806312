//! One exchange, from the request of a client to the end of its response.

mod reply;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::AbortHandle;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Response};

use super::context::RequestContext;
use super::facts::{self, Facts};
use super::fit::{fit, mirror};
use super::relay::Relay;
use super::sessions::HttpSession;
use super::{body, service::ProxyService};
use crate::log::Seq;
use crate::log::http::Http;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, LaneId, OpId};
use crate::mcp::{Direction, Id, Kind, Message};
use crate::session::{Arrived, Form, Item, Lane, Receipt, Scope, Session};
use crate::transport::QueuedWrite;
use crate::transport::WriterQueue;
use crate::transport::http::{Body, BodyError, Cut, Rewrite, headers};

/// An exchange under way. Dropped before it is finished, it tells the upstream at once: that is
/// how a client cancels (2026-07-28, basic/patterns/cancellation), and what a server would see of
/// a client that is gone in any era.
pub struct Exchange {
    service: Arc<ProxyService>,
    http_session: Option<Arc<HttpSession>>,
    parts: Parts,
    peer: SocketAddr,
    lane: LaneId,
    /// Where the ids of its answers are unique; what the server says of its session comes too late.
    scope: Scope,
    response: Option<LaneId>,
    /// What goes to the upstream.
    there: Arc<WriterQueue<Receipt>>,
    /// What goes to the client.
    reply: Arc<WriterQueue<Receipt>>,
    /// The write that the client is being given.
    unconfirmed: Option<Receipt>,
    relay: Option<AbortHandle>,
    /// Bytes of the response that are still to be given, where it says how many there are.
    left: Option<u64>,
    /// How our address and the upstream's stand for each other.
    rewrite: Option<Rewrite>,
    finished: bool,
}

/// Who rewrites addresses.
pub const REWRITE: &str = "rewrite-origin";

/// What is known of the request once it has arrived.
struct Asked {
    seq: Seq,
    op: Option<OpId>,
    id: Option<Id>,
    /// Whether its sender waits for an answer.
    awaits: bool,
    /// What it opens is a stream of its own, with no answer that is waited for.
    listens: bool,
    facts: Facts,
}

impl Exchange {
    pub fn open(service: &Arc<ProxyService>, parts: Parts, peer: SocketAddr) -> Self {
        let dialled = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let rewrite = dialled
            .filter(|_| service.rewrites)
            .map(|host| Rewrite::new(format!("http://{host}"), service.upstream.address().origin.clone()));
        Self {
            service: Arc::clone(service),
            http_session: None,
            parts,
            peer,
            lane: LaneId(0),
            scope: Scope::Session,
            response: None,
            there: Arc::new(WriterQueue::queue()),
            reply: Arc::new(WriterQueue::queue()),
            unconfirmed: None,
            relay: None,
            left: None,
            rewrite,
            finished: false,
        }
    }

    /// Takes the request through the pipeline and on to the upstream, and its response back.
    /// `rest` is what is still to come of a body that is too long to be looked into.
    ///
    /// # Errors
    /// [`Cut`] when the connection is to be closed.
    pub async fn run<B>(mut self, bytes: Bytes, rest: Option<B>) -> Result<Response<Body>, Cut>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let long = rest.is_some();
        let http_session = self.enter(&bytes, long);
        let asked = self.ask(&http_session, bytes, rest);
        let Some(first) = self.there.next().await else {
            return self.unsent(&asked).await;
        };
        let request = self.request(&http_session, &asked, first, long);
        match self.service.upstream.send(request).await {
            Ok(response) => self.respond(http_session, asked, response).await,
            Err(unanswered) => self.fail(&http_session, &asked, unanswered).await,
        }
    }

    /// Finds the http_session, and opens the lane of the request.
    fn enter(&mut self, bytes: &Bytes, long: bool) -> Arc<HttpSession> {
        let message = (!long && headers::is_json(&self.parts.headers)).then(|| Message::parse(bytes.clone()));
        let http_session =
            self.service.sessions.of(&self.service, &self.parts, message.as_ref(), self.peer.ip());
        self.lane = http_session.session.open_lane(Lane {
            direction: Direction::ToServer,
            channel: Channel::Main,
            forward: Arc::clone(&self.there),
            back: Some(Arc::clone(&self.reply)),
            scope: if http_session.is_named() { Scope::Session } else { Scope::Exchange },
            form: Form::Body,
            correlation: Correlation::None,
            open_to_us: false,
        });
        if !http_session.is_named() {
            self.scope = Scope::Of(self.lane);
        }
        self.http_session = Some(Arc::clone(&http_session));
        http_session
    }

    fn ask<B>(&mut self, http_session: &Arc<HttpSession>, bytes: Bytes, rest: Option<B>) -> Asked
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        let session = &http_session.session;
        let cleaner = &self.service.cleaner;
        let facts = Facts::new(cleaner, self.lane, &self.parts, http_session.has_secret_endpoint());
        let http = facts.of_request(facts::recorded(cleaner, &self.parts.headers));
        if let Some(mut rest) = rest {
            let kept = facts::kept(cleaner, &self.parts.headers, &bytes);
            let seq = session.receive_long(self.lane, bytes, kept, Some(http));
            let (session, queue, lane) = (Arc::clone(session), Arc::clone(&self.there), self.lane);
            tokio::spawn(async move {
                use http_body_util::BodyExt;
                while let Some(frame) = rest.frame().await {
                    let Ok(frame) = frame else {
                        // The server must not take what was cut off for the whole.
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
            return Asked { seq, op: None, id: None, awaits: true, listens: false, facts };
        }
        let item = match bytes.is_empty() {
            true => facts::of_http(Bytes::new(), Bytes::new(), http),
            false => facts::item(cleaner, &self.parts.headers, bytes.clone(), bytes, http),
        };
        let id = item.message.id().cloned();
        let listens = item.message.method() == Some("subscriptions/listen");
        let awaits = match item.message.kind() {
            Kind::Notification { .. } | Kind::Response { .. } | Kind::Failure { .. } => false,
            Kind::Batch(all) => all.iter().any(|each| matches!(each.kind(), Kind::Request { .. })),
            Kind::Request { .. } | Kind::Opaque(_) => true,
        };
        let Arrived { seq, op } = self.arrive(session, item);
        session.end(self.lane);
        Asked { seq, op, id, awaits, listens, facts }
    }

    /// Takes the request in, with the upstream's address in the place of ours where that is asked.
    fn arrive(&mut self, session: &Session, item: Item) -> Arrived {
        let rewritten = self.rewrite.as_ref().filter(|_| item.channel == Channel::Http).and_then(|rewrite| {
            let wire = item.wire.as_ref().map(|wire| String::from_utf8_lossy(wire).into_owned())?;
            let path = self.parts.uri.path_and_query()?.as_str();
            let (to_path, to_wire) = (rewrite.to_server(path), rewrite.to_server(&wire));
            (to_path != path || to_wire != wire).then_some((to_path, to_wire))
        });
        let Some((path, wire)) = rewritten else {
            return session.receive_item(self.lane, item).unwrap_or_default();
        };
        if let Ok(uri) = path.parse() {
            self.parts.uri = uri;
        }
        let cleaner = &self.service.cleaner;
        let http = item.http.clone().map(|http| Box::new(Http { path: cleaner.url(&path).into(), ..*http }));
        let instead = match http {
            Some(http) => facts::item(cleaner, &self.parts.headers, wire.clone().into(), wire.into(), http),
            None => return Arrived::default(),
        };
        let seq = session.receive_remapped(self.lane, item, REWRITE, instead);
        Arrived { seq, op: None }
    }

    /// The request as it goes on: as it came, or with the headers that fit what it became.
    fn request(
        &mut self,
        http_session: &Arc<HttpSession>,
        asked: &Asked,
        first: QueuedWrite<Receipt>,
        long: bool,
    ) -> Request<Body> {
        let frame = first.receipt.as_ref().map_or(asked.seq, |receipt| receipt.frame);
        let context = RequestContext::new(&self.service, http_session, frame);
        let mut headers = std::mem::take(&mut self.parts.headers);
        headers::leave_hop(&mut headers);
        if first.receipt.as_ref().is_some_and(|receipt| !receipt.as_it_came) {
            fit(&mut headers, &first.bytes);
            let keeps = first.receipt.as_ref().is_some_and(|receipt| receipt.keeps_headers);
            let message = Message::parse(first.bytes.clone());
            for mirrored in self.service.annotations.lock().headers(&message).iter().filter(|_| !keeps) {
                mirror(&mut headers, mirrored);
            }
        }
        let session = Arc::clone(&http_session.session);
        let body = match long {
            true => body::streamed(session, Arc::clone(&self.there), first),
            false => body::once(session, first),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.headers_mut() = headers;
        // The spelling of header names travels in here.
        *request.extensions_mut() = std::mem::take(&mut self.parts.extensions);
        request.extensions_mut().insert(context);
        request
    }

    async fn respond(
        mut self,
        http_session: Arc<HttpSession>,
        asked: Asked,
        response: Response<Body>,
    ) -> Result<Response<Body>, Cut> {
        let (mut head, incoming) = response.into_parts();
        let (told, id) = (Arc::clone(&http_session), asked.id.clone());
        if let Some(id) = head.headers.get("mcp-session-id").filter(|_| head.status.is_success()) {
            self.service.sessions.name(&self.service, &http_session, id);
        }
        self.service.warn_of_challenge(&http_session.session, head.status);
        self.lost(&http_session, head.status);
        if head.status.is_success() {
            http_session.recognise();
        }
        let is_stream =
            headers::is_type(&head.headers, "text/event-stream") && self.parts.method != Method::HEAD;
        let lane = http_session.session.open_lane(Lane {
            direction: Direction::ToClient,
            channel: Channel::Main,
            forward: Arc::clone(&self.reply),
            back: Some(Arc::clone(&http_session.own)),
            scope: self.scope,
            form: if is_stream { Form::Event } else { Form::Body },
            correlation: asked.op.map_or(Correlation::None, Correlation::Of),
            open_to_us: is_stream,
        });
        self.response = Some(lane);
        let opens = is_stream && self.parts.method == Method::GET;
        if opens || (is_stream && asked.listens) {
            http_session.hears(&self.reply);
        }
        let relay = Relay {
            service: Arc::clone(&self.service),
            http_session: Arc::clone(&http_session),
            lane,
            queue: Arc::clone(&self.reply),
            facts: asked.facts,
            head: head.clone(),
            rewrite: self.rewrite.clone(),
            op: asked.op,
        };
        if opens {
            relay.opened();
        }
        let chunked = head.headers.contains_key(TRANSFER_ENCODING);
        let known = headers::is_json(&head.headers)
            || head.headers.contains_key(CONTENT_LENGTH)
            || http_body::Body::is_end_stream(&incoming);
        let (task, handle) = futures_util::future::abortable(async move {
            if is_stream {
                relay.events(incoming).await
            } else if known {
                relay.whole(incoming).await
            } else {
                relay.through(Bytes::new(), incoming).await
            }
        });
        self.relay = Some(handle);
        let service = Arc::clone(&self.service);
        let deletes = self.parts.method == Method::DELETE && head.status.is_success();
        tokio::spawn(async move {
            if let Ok(Err(why)) = task.await {
                http_session.session.note(None, crate::log::record::Level::Warning, why);
            }
            if deletes {
                service.sessions.retire(&service, &http_session, "its client deleted it", None);
            }
        });
        if let Some(rewrite) = &self.rewrite {
            rewrite.headers(&mut head.headers);
        }
        headers::leave_hop(&mut head.headers);
        let mut first = None;
        if !is_stream {
            let write = match self.first_reply().await {
                // Nothing of it was passed on yet, so its client can be told.
                Err(Cut) if self.service.explains && !self.is_over() => {
                    return Ok(self.broken(&told, id.as_ref()));
                }
                first => first?,
            };
            if write.receipt.as_ref().is_some_and(|receipt| !receipt.as_it_came) {
                fit(&mut head.headers, &write.bytes);
            }
            first = Some(write);
        }
        self.left = headers::text(&head.headers, "content-length").and_then(|length| length.parse().ok());
        let mut response = Response::new(match first {
            Some(write) if write.bytes.is_empty() && write.receipt.is_some() => {
                self.unconfirmed = write.receipt;
                self.finish();
                match chunked {
                    true => crate::transport::http::nothing(),
                    false => crate::transport::http::full(Bytes::new()),
                }
            }
            first => body::reply(self, first),
        });
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        *response.extensions_mut() = head.extensions;
        Ok(response)
    }
}
