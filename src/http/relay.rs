//! The response of an upstream, on its way into the response lane.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::BodyExt;

use super::body::{Gathered, gather_reply};
use super::call::{AnswerBody, AnswerStream, StreamItem, body_of};
use super::facts::{self, ExchangeFacts, Headers};
use super::sessions::{HttpSession, HttpSessions};
use crate::log::http::{BROKEN_BODY, Http};
use crate::log::operation::Correlation;
use crate::log::record::{Channel, LaneId, Level, OpId};
use crate::mcp::sse::{BOM, Event, EventPart, EventSplitter};
use crate::mcp::{Message, Opaque};
use crate::session::{LaneItem, Receipt, Scope};
use crate::transport::WriterQueue;
use crate::transport::http::coding::Decoder;
use crate::transport::http::upstream::chain;
use crate::transport::http::{HttpBody, Rewrite};

/// A response on its way.
pub struct Relay {
    /// The sessions of the service.
    pub sessions: Arc<HttpSessions>,
    /// The session of the exchange.
    pub http_session: Arc<HttpSession>,
    /// The response lane.
    pub lane: LaneId,
    /// The queue of the client.
    pub queue: Arc<WriterQueue<Receipt>>,
    /// The facts of the exchange.
    pub facts: ExchangeFacts,
    /// The head of the response.
    pub head: http::response::Parts,
    /// The headers as they are recorded.
    pub recorded: Headers,
    /// The rewrite of the upstream's address into ours, where that is asked for.
    pub rewrite: Option<Rewrite>,
    /// The operation of the request.
    pub op: Option<OpId>,
}

/// Number of bytes, and time, for which a body of unknown length is gathered.
const GATHERED_BYTES: usize = 64 << 10;
const GATHER_TIMEOUT: Duration = Duration::from_millis(200);

/// Time without an event after which the opening of a stream is recorded by itself.
const SILENT: Duration = Duration::from_secs(1);

/// The reason why a response broke off.
pub type BrokenOff = String;

impl Relay {
    fn headers(&self) -> Headers {
        Arc::clone(&self.recorded)
    }

    fn http(&self) -> Box<Http> {
        self.facts.of_response(self.head.status, self.headers())
    }

    /// Records the head of a response whose body broke off before any of it was recorded.
    fn broke_off(&self) {
        let text = Bytes::from_static(BROKEN_BODY.as_bytes());
        self.http_session.session.observe(self.lane, facts::of_http(text, Bytes::new(), self.http()));
    }

    fn limit(&self) -> usize {
        self.sessions.context.host.settings().inspect_limit
    }

    /// Records that a stream is open, since the first event may come late.
    pub fn opened(&self) {
        let http = self.facts.of_event(self.head.status, self.headers(), None);
        let item = facts::of_http(Bytes::new(), Bytes::new(), http);
        self.http_session.session.pass_item(self.lane, item);
    }

    /// Receives a whole answer, whatever form its body has.
    ///
    /// # Errors
    /// The reason why it broke off.
    pub async fn all(&self, body: AnswerBody, is_stream: bool) -> Result<(), BrokenOff> {
        match body {
            AnswerBody::Http(body) if is_stream => return self.events(body).await,
            AnswerBody::Http(body) => {
                if let Some((begun, rest)) = self.whole(body).await? {
                    return self.through(begun, rest).await;
                }
            }
            AnswerBody::Empty => self.empty(),
            AnswerBody::Message(message) => self.message(message),
            AnswerBody::Stream(items) => self.messages(items).await,
        }
        Ok(())
    }

    // --- answers of servers of ours

    /// Receives the only message of a response, and ends the lane.
    pub fn message(&self, message: Message) {
        self.sessions.context.annotations.lock().learn(&message);
        let wire = Some(body_of(&message));
        let item = LaneItem { message, channel: Channel::Main, http: Some(self.http()), wire };
        self.http_session.session.receive_item(self.lane, item);
        self.http_session.session.end(self.lane);
    }

    /// Records a response without a body, and ends the lane.
    pub fn empty(&self) {
        self.arrived(&Bytes::new(), Bytes::new());
    }

    /// Receives messages as they come, each as an event.
    pub async fn messages(&self, mut items: AnswerStream) {
        let session = &self.http_session.session;
        let mut headers = Some(self.headers());
        let mut http = |event| {
            let headers = headers.take().unwrap_or_else(|| Arc::from([]));
            self.facts.of_event(self.head.status, headers, event)
        };
        while let Some(item) = items.next().await {
            match item {
                StreamItem::Message(message) => {
                    self.sessions.context.annotations.lock().learn(&message);
                    let event = Event::composed(body_of(&message));
                    let wire = Some(event.raw.clone());
                    let http = Some(http(Some(event)));
                    session.admitted(self.lane).await;
                    session.receive_item(self.lane, LaneItem { message, channel: Channel::Main, http, wire });
                }
                StreamItem::KeepAlive => {
                    let comment = Bytes::from_static(b":\n\n");
                    session.pass_item(self.lane, facts::of_http(comment.clone(), comment, http(None)));
                }
            }
            self.queue.room().await;
        }
        session.end(self.lane);
    }

    // --- bodies of HTTP upstreams

    /// Receives a body that is one message, or text of HTTP alone. Returns the beginning and the rest of
    /// a body over the inspect limit, for [`Relay::through`].
    ///
    /// # Errors
    /// The reason why it broke off.
    pub async fn whole(&self, body: HttpBody) -> Result<Option<(Bytes, HttpBody)>, BrokenOff> {
        match gather_reply(body, self.limit()).await {
            Gathered::Whole(wire) => {
                let decoded = self.decoded(&wire).await;
                self.arrived(&decoded, wire);
                Ok(None)
            }
            Gathered::Long(begun, rest) => Ok(Some((begun, rest))),
            Gathered::Slow | Gathered::Broken => {
                self.broke_off();
                self.queue.cut();
                Err("the upstream broke off its answer".into())
            }
        }
    }

    /// Receives a whole body, and ends the lane.
    fn arrived(&self, decoded: &Bytes, wire: Bytes) {
        let session = &self.http_session.session;
        let context = &self.sessions.context;
        let message = facts::message(&self.head.headers, decoded);
        let item = facts::item(&context.cleaner, &self.head.headers, message, decoded, wire, self.http());
        context.annotations.lock().learn(&item.message);
        // A status without a message is all that the request will get, except for 202, which promises an
        // answer on another stream.
        if let (Channel::Http, Some(op)) = (item.channel, self.op)
            && self.head.status != StatusCode::ACCEPTED
        {
            session.give_up(op);
        }
        self.receive(item, decoded);
        session.end(self.lane);
    }

    /// Receives an item, with our address in the place of the upstream's where that is asked for.
    fn receive(&self, item: LaneItem, decoded: &Bytes) {
        let session = &self.http_session.session;
        let cleaner = &self.sessions.context.cleaner;
        let rewritten = self.rewrite.as_ref().filter(|_| item.channel == Channel::Http).and_then(|rewrite| {
            let mut headers = self.head.headers.clone();
            rewrite.headers(&mut headers);
            // A body that is no text names no address.
            let text = std::str::from_utf8(decoded).ok();
            let body = text.map(|text| (rewrite.to_client(text), text)).filter(|(new, text)| new != text);
            let is_changed = body.is_some() || headers != self.head.headers;
            let body =
                body.map_or_else(|| item.wire.clone().unwrap_or_default(), |(new, _)| Bytes::from(new));
            is_changed.then_some((body, headers))
        });
        match rewritten {
            Some((body, headers)) => {
                let http = self.facts.of_response(self.head.status, facts::recorded(cleaner, &headers));
                let message = facts::message(&self.head.headers, &body);
                let instead = facts::item(cleaner, &self.head.headers, message, &body, body.clone(), http);
                session.receive_remapped(self.lane, item, Rewrite::AUTHOR, instead);
            }
            None => {
                session.receive_item(self.lane, item);
            }
        }
    }

    /// Passes on a body that is not inspected.
    ///
    /// # Errors
    /// The reason why it broke off.
    pub async fn through(&self, mut begun: Bytes, mut rest: HttpBody) -> Result<(), BrokenOff> {
        let session = &self.http_session.session;
        // Most bodies without Content-Length are short: buffer 64 KiB or 200 ms first.
        let mut gathered = BytesMut::from(&begun[..]);
        let timeout = tokio::time::sleep(GATHER_TIMEOUT);
        tokio::pin!(timeout);
        while begun.is_empty() && gathered.len() < GATHERED_BYTES {
            let frame = tokio::select! {
                frame = rest.frame() => frame,
                () = &mut timeout => break,
            };
            match frame {
                Some(Ok(frame)) => gathered.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    self.broke_off();
                    self.queue.cut();
                    return Err(format!("the upstream broke off its answer: {}", chain(&*error)));
                }
                None => {
                    let wire = gathered.freeze();
                    let decoded = self.decoded(&wire).await;
                    self.arrived(&decoded, wire);
                    return Ok(());
                }
            }
        }
        begun = gathered.freeze();
        session.cleared(self.lane).await;
        let kept = facts::kept(&self.sessions.context.cleaner, &self.head.headers, &begun);
        session.receive_long(self.lane, begun, kept, Some(self.http()));
        loop {
            match rest.frame().await {
                None => break,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    session.receive_more(self.lane, data, false);
                    self.queue.room().await;
                }
                Some(Err(error)) => {
                    session.receive_more(self.lane, Bytes::new(), true);
                    self.queue.cut();
                    return Err(format!("the upstream broke off its answer: {}", chain(&*error)));
                }
            }
        }
        session.receive_more(self.lane, Bytes::new(), true);
        session.end(self.lane);
        Ok(())
    }

    /// Receives a stream of events, each as it arrives.
    ///
    /// # Errors
    /// The reason why it broke off.
    pub async fn events(&self, mut body: HttpBody) -> Result<(), BrokenOff> {
        let session = &self.http_session.session;
        let unread = |error: &dyn std::fmt::Display| {
            session.note(None, Level::Warning, format!("a stream passes unread: {error}"));
        };
        let mut decoder = match Decoder::of(&self.head.headers) {
            Ok(decoder) => decoder,
            Err(error) => {
                unread(&error);
                return self.through(Bytes::new(), body).await;
            }
        };
        let encoded = decoder.is_some();
        let mut splitter = EventSplitter::new(self.limit());
        // Only the first event of a stream records the headers.
        let mut headers = Some(self.headers());
        // The opening of a stream that was asked for with GET is recorded at once, others only if they are silent.
        let mut is_silent = !self.facts.is_get();
        let outcome = loop {
            let frame = match is_silent {
                true => tokio::time::timeout(SILENT, body.frame()).await,
                false => Ok(body.frame().await),
            };
            is_silent = false;
            let Ok(frame) = frame else {
                self.opened();
                continue;
            };
            match frame {
                None => break Ok(()),
                Some(Err(error)) => {
                    break Err(format!("the upstream broke off its stream: {}", chain(&*error)));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    match &mut decoder {
                        None => splitter.feed(&data),
                        Some(decoder) => {
                            // Events cannot be cut out of an encoded stream: the stream is passed on as it
                            // came, and its events are only recorded.
                            session.pass(self.lane, data.clone());
                            match decoder.feed(&data, self.limit()).await {
                                Ok(decoded) => splitter.feed(&decoded),
                                Err(error) => {
                                    unread(&error);
                                    return self.through(Bytes::new(), body).await;
                                }
                            }
                        }
                    }
                    while let Some(piece) = splitter.next_piece() {
                        self.piece(piece, &mut headers, encoded).await;
                    }
                    self.queue.room().await;
                }
            }
        };
        if let Some(piece) = splitter.finish() {
            self.piece(piece, &mut headers, encoded).await;
        }
        match &outcome {
            Ok(()) => session.end(self.lane),
            Err(_) => {
                // Events that came whole before the break are delivered, held or not.
                session.cleared(self.lane).await;
                self.queue.cut();
            }
        }
        outcome
    }

    async fn piece(&self, piece: EventPart, headers: &mut Option<Headers>, encoded: bool) {
        let session = &self.http_session.session;
        let mut http = |event| {
            let headers = headers.take().unwrap_or_else(|| Arc::from([]));
            self.facts.of_event(self.head.status, headers, event)
        };
        match piece {
            EventPart::Event(event) => {
                let item = self.event(event, &mut http);
                if encoded {
                    session.pass_item(self.lane, LaneItem { wire: Some(Bytes::new()), ..item });
                } else {
                    session.admitted(self.lane).await;
                    session.receive_item(self.lane, item);
                }
            }
            EventPart::Idle(bytes) => {
                let wire = if encoded { Bytes::new() } else { bytes.clone() };
                // A block that is no comment is an event that was cut off, and may hold a part of a secret.
                let is_plain = bytes.starts_with(b":") || bytes.trim_ascii().is_empty() || bytes == BOM;
                let shown = if is_plain { bytes } else { Bytes::from_static(b"[an event that was cut off]") };
                session.pass_item(self.lane, facts::of_http(shown, wire, http(None)));
            }
            EventPart::Start(bytes) if !encoded => {
                session.cleared(self.lane).await;
                let kept = Bytes::copy_from_slice(&bytes[..bytes.len().min(GATHERED_BYTES)]);
                session.receive_long(self.lane, bytes, kept, Some(http(None)));
            }
            EventPart::More(bytes) if !encoded => session.receive_more(self.lane, bytes, false),
            EventPart::End(bytes) if !encoded => session.receive_more(self.lane, bytes, true),
            EventPart::Start(_) | EventPart::More(_) | EventPart::End(_) => {}
        }
    }

    fn event(&self, event: Event, http: &mut impl FnMut(Option<Event>) -> Box<Http>) -> LaneItem {
        let wire = Some(event.raw.clone());
        let data = event.data.clone().unwrap_or_default();
        let context = &self.sessions.context;
        if event.is_message() {
            let message = Message::parse(data);
            context.annotations.lock().learn(&message);
            return LaneItem { message, channel: Channel::Main, http: Some(http(Some(event))), wire };
        }
        let (message, event) = match event.name.as_deref() {
            // The address in the endpoint event is the key to the session (2024-11-05, HTTP with SSE).
            Some("endpoint") => {
                let endpoint = String::from_utf8_lossy(&data).into_owned();
                self.sessions.set_endpoint(&self.http_session, &endpoint);
                // This transport answers every request on this stream.
                self.http_session.session.rescope(self.lane, Scope::Session, Correlation::Presumed);
                let clean = context.cleaner.endpoint(&endpoint);
                let raw = event.with_data(clean.as_bytes());
                (Message::opaque(clean.into(), Opaque::Text), Event::parse(raw))
            }
            _ => (Message::opaque(data, Opaque::Text), event),
        };
        LaneItem { message, channel: Channel::Http, http: Some(http(Some(event))), wire }
    }

    /// Returns a body without its content coding.
    async fn decoded(&self, wire: &Bytes) -> Bytes {
        let note = |error: &dyn std::fmt::Display| {
            let text = format!("a body passes unread: {error}");
            self.http_session.session.note(None, Level::Warning, text);
        };
        match Decoder::of(&self.head.headers) {
            Ok(None) => wire.clone(),
            Ok(Some(mut decoder)) => match decoder.feed(wire, self.limit()).await {
                Ok(decoded) => decoded.into(),
                Err(error) => {
                    note(&error);
                    wire.clone()
                }
            },
            Err(error) => {
                note(&error);
                wire.clone()
            }
        }
    }
}
