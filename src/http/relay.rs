//! What an upstream answers, on its way into the response lane.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;

use super::body::{Gathered, gather_reply};
use super::exchange::REWRITE;
use super::facts::{self, Facts, Headers};
use super::service::ProxyService;
use super::sessions::HttpSession;
use crate::log::http::Http;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, LaneId, Level, OpId};
use crate::mcp::sse::{BOM, Event, Piece, Splitter};
use crate::mcp::{Message, Opaque};
use crate::session::Receipt;
use crate::session::{Item, Scope};
use crate::transport::WriterQueue;
use crate::transport::http::coding::Decoder;
use crate::transport::http::upstream::chain;
use crate::transport::http::{Body, Rewrite};

/// A response on its way.
pub struct Relay {
    pub service: Arc<ProxyService>,
    pub http_session: Arc<HttpSession>,
    pub lane: LaneId,
    /// Where it goes.
    pub queue: Arc<WriterQueue<Receipt>>,
    pub facts: Facts,
    pub head: http::response::Parts,
    /// How our address and the upstream's stand for each other.
    pub rewrite: Option<Rewrite>,
    /// What was asked.
    pub op: Option<OpId>,
}

/// Bytes and time that a body of unknown length is gathered for.
const GATHERED_BYTES: usize = 64 << 10;
const GATHER_TIMEOUT: Duration = Duration::from_millis(200);

impl Relay {
    fn headers(&self) -> Headers {
        facts::recorded(&self.service.cleaner, &self.head.headers)
    }

    fn http(&self) -> Box<Http> {
        self.facts.of_response(self.head.status, self.headers())
    }

    fn limit(&self) -> usize {
        self.service.host.settings().inspect_limit
    }

    /// Records that a stream is open; nothing may come on it for long.
    pub fn opened(&self) {
        let http = self.facts.of_event(self.head.status, self.headers(), None);
        self.http_session.session.pass_item(self.lane, facts::of_http(Bytes::new(), Bytes::new(), http));
    }

    /// Takes in a body that is one message, or something of HTTP alone.
    ///
    /// # Errors
    /// Why it broke off, when it did.
    pub async fn whole(&self, body: Body) -> Result<(), String> {
        match gather_reply(body, self.limit()).await {
            Gathered::Whole(wire) => {
                let decoded = self.decoded(&wire).await;
                self.arrived(decoded, wire);
                Ok(())
            }
            Gathered::Long(begun, rest) => self.through(begun, rest).await,
            Gathered::Slow | Gathered::Broken => {
                self.queue.cut();
                Err("the upstream broke off its answer".into())
            }
        }
    }

    /// Takes in a body that is there whole, and ends its lane.
    fn arrived(&self, decoded: Bytes, wire: Bytes) {
        let session = &self.http_session.session;
        let item = facts::item(&self.service.cleaner, &self.head.headers, decoded.clone(), wire, self.http());
        self.service.annotations.lock().learn(&item.message);
        // A status without a message is all that its request will get, but for an answer that was
        // promised on another stream.
        if let (Channel::Http, Some(op)) = (item.channel, self.op)
            && self.head.status != StatusCode::ACCEPTED
        {
            session.give_up(op);
        }
        self.arrive(item, &decoded);
        session.end(self.lane);
    }

    /// Takes the response in, with our address in the place of the upstream's where that is asked.
    fn arrive(&self, item: Item, decoded: &Bytes) {
        let session = &self.http_session.session;
        let rewritten = self.rewrite.as_ref().filter(|_| item.channel == Channel::Http).and_then(|rewrite| {
            let said = String::from_utf8_lossy(decoded).into_owned();
            let mut headers = self.head.headers.clone();
            rewrite.headers(&mut headers);
            let text = rewrite.to_client(&said);
            (text != said || headers != self.head.headers).then_some((text, headers))
        });
        match rewritten {
            Some((text, headers)) => {
                let headers = facts::recorded(&self.service.cleaner, &headers);
                let http = self.facts.of_response(self.head.status, headers);
                let body = Bytes::from(text);
                let instead =
                    facts::item(&self.service.cleaner, &self.head.headers, body.clone(), body, http);
                session.receive_remapped(self.lane, item, REWRITE, instead);
            }
            None => {
                session.receive_item(self.lane, item);
            }
        }
    }

    /// Passes on a body that is not looked into.
    ///
    /// # Errors
    /// Why it broke off, when it did.
    pub async fn through(&self, mut begun: Bytes, mut rest: Body) -> Result<(), String> {
        let session = &self.http_session.session;
        // Many are short, and only do not say so before.
        let mut gathered = BytesMut::from(&begun[..]);
        let patience = tokio::time::sleep(GATHER_TIMEOUT);
        tokio::pin!(patience);
        while begun.is_empty() && gathered.len() < GATHERED_BYTES {
            let frame = tokio::select! {
                frame = rest.frame() => frame,
                () = &mut patience => break,
            };
            match frame {
                Some(Ok(frame)) => gathered.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    self.queue.cut();
                    return Err(format!("the upstream broke off its answer: {}", chain(&*error)));
                }
                None => {
                    let wire = gathered.freeze();
                    let decoded = self.decoded(&wire).await;
                    self.arrived(decoded, wire);
                    return Ok(());
                }
            }
        }
        begun = gathered.freeze();
        session.cleared(self.lane).await;
        let kept = facts::kept(&self.service.cleaner, &self.head.headers, &begun);
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

    /// Takes in a stream of events, each as it arrives.
    ///
    /// # Errors
    /// Why it broke off, when it did.
    pub async fn events(&self, mut body: Body) -> Result<(), String> {
        let session = &self.http_session.session;
        let mut decoder = match Decoder::of(&self.head.headers) {
            Ok(decoder) => decoder,
            Err(error) => {
                session.note(None, Level::Warning, format!("a stream passes unread: {error}"));
                return self.through(Bytes::new(), body).await;
            }
        };
        let encoded = decoder.is_some();
        let mut splitter = Splitter::new(self.limit());
        // Once for the stream; every event would be too often.
        let mut headers = Some(self.headers());
        let outcome = loop {
            match body.frame().await {
                None => break Ok(()),
                Some(Err(error)) => {
                    break Err(format!("the upstream broke off its stream: {}", chain(&*error)));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    match &mut decoder {
                        None => splitter.feed(&data),
                        Some(decoder) => {
                            // Events cannot be cut out of an encoded stream: it goes on as it
                            // came, and what is in it is only shown.
                            session.pass(self.lane, data.clone());
                            match decoder.feed(&data, self.limit()).await {
                                Ok(decoded) => splitter.feed(&decoded),
                                Err(error) => {
                                    session.note(
                                        None,
                                        Level::Warning,
                                        format!("a stream passes unread: {error}"),
                                    );
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
                // What came whole before it broke is delivered, held or not.
                session.cleared(self.lane).await;
                self.queue.cut();
            }
        }
        outcome
    }

    async fn piece(&self, piece: Piece, headers: &mut Option<Headers>, encoded: bool) {
        let session = &self.http_session.session;
        let mut http = |event| {
            let headers = headers.take().unwrap_or_else(|| Arc::from([]));
            self.facts.of_event(self.head.status, headers, event)
        };
        match piece {
            Piece::Event(event) => {
                let item = self.event(event, &mut http);
                if encoded {
                    session.pass_item(self.lane, Item { wire: Some(Bytes::new()), ..item });
                } else {
                    session.admitted(self.lane).await;
                    session.receive_item(self.lane, item);
                }
            }
            Piece::Idle(bytes) => {
                let wire = if encoded { Bytes::new() } else { bytes.clone() };
                // What is no comment is an event that was cut off, and nobody knows what it holds.
                let is_plain = bytes.starts_with(b":") || bytes.trim_ascii().is_empty() || bytes == BOM;
                let shown = if is_plain { bytes } else { Bytes::from_static(b"[an event that was cut off]") };
                session.pass_item(self.lane, facts::of_http(shown, wire, http(None)));
            }
            Piece::Start(bytes) if !encoded => {
                session.cleared(self.lane).await;
                let kept = Bytes::copy_from_slice(&bytes[..bytes.len().min(GATHERED_BYTES)]);
                session.receive_long(self.lane, bytes, kept, Some(http(None)));
            }
            Piece::More(bytes) if !encoded => session.receive_more(self.lane, bytes, false),
            Piece::End(bytes) if !encoded => session.receive_more(self.lane, bytes, true),
            Piece::Start(_) | Piece::More(_) | Piece::End(_) => {}
        }
    }

    fn event(&self, event: Event, http: &mut impl FnMut(Option<Event>) -> Box<Http>) -> Item {
        let wire = Some(event.raw.clone());
        let data = event.data.clone().unwrap_or_default();
        if event.is_message() {
            let message = Message::parse(data);
            self.service.annotations.lock().learn(&message);
            return Item { message, channel: Channel::Main, http: Some(http(Some(event))), wire };
        }
        let (message, event) = match event.name.as_deref() {
            // Its address is the key to the session (2024-11-05, HTTP with SSE).
            Some("endpoint") => {
                let endpoint = String::from_utf8_lossy(&data).into_owned();
                self.service.sessions.set_endpoint(&self.service, &self.http_session, &endpoint);
                // Everything that the server says comes on this stream.
                self.http_session.session.rescope(self.lane, Scope::Session, Correlation::Presumed);
                let clean = self.service.cleaner.endpoint(&endpoint);
                let raw = event.with_data(clean.as_bytes());
                (Message::opaque(clean.into(), Opaque::Text), Event::parse(raw))
            }
            _ => (Message::opaque(data, Opaque::Text), event),
        };
        Item { message, channel: Channel::Http, http: Some(http(Some(event))), wire }
    }

    /// A body as it is to be read.
    async fn decoded(&self, wire: &Bytes) -> Bytes {
        let note = |error: &dyn std::fmt::Display| {
            self.http_session.session.note(None, Level::Warning, format!("a body passes unread: {error}"));
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
