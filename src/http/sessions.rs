//! Which session an exchange belongs to.
//!
//! In the stateful era a session is what the server says it is (`Mcp-Session-Id`, or the endpoint
//! of the old HTTP+SSE transport). Where there is none, exchanges are grouped by who seems to
//! speak, for display only: nothing is routed by it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, USER_AGENT};
use parking_lot::Mutex;

use super::{bridge::OfClient, injected, service::ProxyService};
use crate::clock::Stamp;
use crate::log::record::{Channel, Exit, Opened};
use crate::mcp::compose::meta;
use crate::mcp::{Era, Message, json};
use crate::session::Receipt;
use crate::session::{Form, Lane, Scope, Session};
use crate::transport::WriterQueue;
use crate::transport::http::headers::text;
use crate::transport::http::secrets::Fingerprint;

/// A session over HTTP, and what it takes to speak in it ourselves.
pub struct HttpSession {
    pub session: Arc<Session>,
    /// What the server named it; then its ids are unique in it.
    name: Mutex<Option<Key>>,
    /// Its messages are posted to an endpoint whose address is a secret.
    endpoint_is_secret: AtomicBool,
    /// The server has given a good answer in it.
    is_known: AtomicBool,
    /// Streams on which the server speaks when it likes.
    streams: Mutex<Vec<Weak<WriterQueue<Receipt>>>>,
    /// Why it is to end once nothing is under way any more.
    retired: Mutex<Option<(&'static str, Option<Exit>)>>,
    /// Exchanges under way.
    under_way: AtomicUsize,
    last: Mutex<Stamp>,
    /// The head of its latest request with a message: requests of our own borrow its credentials.
    pub head: Mutex<Option<Head>>,
    /// Where requests of our own go.
    pub own: Arc<WriterQueue<Receipt>>,
}

/// What a request needs beside its body.
#[derive(Clone)]
pub struct Head {
    pub uri: http::Uri,
    pub headers: HeaderMap,
}

/// All sessions that are open.
#[derive(Default)]
pub struct HttpSessions {
    by_key: Mutex<HashMap<Key, Arc<HttpSession>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// The server gave it this id.
    Named(Fingerprint),
    /// Its messages are posted to this endpoint (2024-11-05, HTTP+SSE).
    Endpoint(Fingerprint),
    /// Someone who has no session with the server, or none yet.
    Guest(Fingerprint),
}

/// Sessions that are told apart at a time.
const MAX_SESSIONS: usize = 16_384;
/// How long a guest may be silent.
const GUEST_IDLE: Duration = Duration::from_secs(15 * 60);
/// How long a session may be silent.
const NAMED_IDLE: Duration = Duration::from_secs(30 * 60);

/// The header that names a session (2025-03-26 to 2025-11-25).
const SESSION_ID: &str = "mcp-session-id";

// === impl HttpSessions ===

impl HttpSessions {
    /// The http_session that a request belongs to; a new one where it is the first of it.
    pub fn of(
        &self,
        service: &Arc<ProxyService>,
        parts: &http::request::Parts,
        message: Option<&Message>,
        peer: IpAddr,
    ) -> Arc<HttpSession> {
        let mut key = key(service, parts, message, peer);
        let client = parts.extensions.get::<OfClient>();
        let mut by_key = self.by_key.lock();
        // Who opens a session while another who looks alike does the same is someone else.
        let taken = |http_session: &Arc<HttpSession>| http_session.under_way.load(Ordering::Acquire) > 0;
        if matches!(key, Key::Guest(_)) && opens(parts, message) && by_key.get(&key).is_some_and(taken) {
            key = Key::Guest(service.cleaner.fingerprint(uuid::Uuid::new_v4().as_bytes()));
        }
        // A session that is over is not gone on with.
        if by_key.get(&key).is_some_and(|http_session| http_session.session.is_closed()) {
            by_key.remove(&key);
        }
        let crowded = by_key.len() >= MAX_SESSIONS && !by_key.contains_key(&key);
        let idlest = crowded.then(|| idlest(&mut by_key)).flatten();
        let http_session = by_key.entry(key).or_insert_with(|| {
            let http_session = HttpSession::open(
                service,
                Some(key).filter(|key| matches!(key, Key::Named(_))),
                client.is_some(),
            );
            if let Some(OfClient(client)) = client {
                let client = Arc::clone(client);
                service
                    .host
                    .update_backend(http_session.session.id(), |backend| backend.client = Some(client));
            }
            injected::serve(Arc::clone(service), Arc::clone(&http_session));
            http_session
        });
        let http_session = Arc::clone(http_session);
        http_session.under_way.fetch_add(1, Ordering::AcqRel);
        drop(by_key);
        if let Some(idlest) = idlest {
            idlest.close(service, "others needed its place", None);
        }
        if message.is_some_and(Message::is_rpc) {
            *http_session.head.lock() =
                Some(Head { uri: parts.uri.clone(), headers: sensitive(&parts.headers) });
        }
        http_session
    }

    /// The server has given a session its id.
    pub fn name(&self, service: &ProxyService, http_session: &Arc<HttpSession>, id: &http::HeaderValue) {
        let mut id = id.clone();
        id.set_sensitive(true);
        let key = Key::Named(service.cleaner.fingerprint(id.as_bytes()));
        if let Some(head) = &mut *http_session.head.lock() {
            head.headers.insert(SESSION_ID, id);
        }
        self.rename(service, http_session, key);
    }

    /// The server has named the endpoint that a session's messages are posted to.
    pub fn set_endpoint(&self, service: &ProxyService, http_session: &Arc<HttpSession>, endpoint: &str) {
        let path = match endpoint.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => endpoint,
        };
        http_session.endpoint_is_secret.store(true, Ordering::Release);
        if let Ok(uri) = path.parse() {
            let headers = http_session.head.lock().take().map(|head| head.headers).unwrap_or_default();
            *http_session.head.lock() = Some(Head { uri, headers });
        }
        self.rename(service, http_session, Key::Endpoint(service.cleaner.fingerprint(path.as_bytes())));
    }

    fn rename(&self, service: &ProxyService, http_session: &Arc<HttpSession>, key: Key) {
        if *http_session.name.lock().get_or_insert(key) != key {
            return;
        }
        let mut by_key = self.by_key.lock();
        // What is over is not found again under its name.
        if http_session.retired.lock().is_some() {
            return;
        }
        // Whoever knocks next without an id is a new guest.
        by_key.retain(|key, known| !(matches!(key, Key::Guest(_)) && Arc::ptr_eq(known, http_session)));
        let before = by_key.insert(key, Arc::clone(http_session));
        drop(by_key);
        // A server that names two sessions alike has given up the first.
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, http_session)) {
            before.retire(service, "another session has its name", None);
        }
    }

    /// Ends a session, once what is under way in it has ended.
    pub fn retire(
        &self,
        service: &ProxyService,
        http_session: &Arc<HttpSession>,
        reason: &'static str,
        exit: Option<Exit>,
    ) {
        self.by_key.lock().retain(|_, known| !Arc::ptr_eq(known, http_session));
        http_session.retire(service, reason, exit);
    }

    /// An exchange has ended.
    pub fn leave(&self, service: &ProxyService, http_session: &Arc<HttpSession>) {
        let left = http_session.under_way.fetch_sub(1, Ordering::AcqRel) - 1;
        *http_session.last.lock() = service.host.log().clock().now();
        if left > 0 {
            return;
        }
        // A name that the server has never known is anybody's invention.
        if http_session.is_by_id() && !http_session.is_known.load(Ordering::Acquire) {
            self.retire(service, http_session, "the server knows no such session", None);
            return;
        }
        let reason = *http_session.retired.lock();
        if let Some((reason, exit)) = reason {
            http_session.close(service, reason, exit);
        }
    }

    /// Ends the sessions in which nothing was said for long.
    pub fn sweep(&self, service: &ProxyService) {
        let now = service.host.log().clock().now();
        let mut silent = Vec::new();
        self.by_key.lock().retain(|_, http_session| {
            let bound = if http_session.is_named() { NAMED_IDLE } else { GUEST_IDLE };
            let over = http_session.under_way.load(Ordering::Acquire) == 0
                && now.since(*http_session.last.lock()) > bound;
            if over {
                silent.push(Arc::clone(http_session));
            }
            !over
        });
        for http_session in silent {
            http_session.close(service, "nothing was said for long", None);
        }
    }

    /// Ends the streams on which nobody waits for an answer.
    pub fn hush(&self) {
        let all: Vec<_> = self.by_key.lock().values().cloned().collect();
        for queue in all.iter().flat_map(|http_session| std::mem::take(&mut *http_session.streams.lock())) {
            if let Some(queue) = queue.upgrade() {
                queue.end();
            }
        }
    }

    /// Ends all sessions.
    pub fn close_all(&self, service: &ProxyService, reason: &str) {
        let all: Vec<_> = self.by_key.lock().drain().map(|(_, http_session)| http_session).collect();
        for http_session in all {
            http_session.close(service, reason, None);
        }
    }
}

/// Takes out the session in which nothing was said for the longest time.
fn idlest(by_key: &mut HashMap<Key, Arc<HttpSession>>) -> Option<Arc<HttpSession>> {
    let idle = by_key.iter().filter(|(_, http_session)| http_session.under_way.load(Ordering::Acquire) == 0);
    let key = idle.min_by_key(|(_, http_session)| *http_session.last.lock()).map(|(key, _)| *key)?;
    by_key.remove(&key)
}

/// Headers that do not show their values when they are printed.
fn sensitive(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    headers
}

/// Whether a request may be the first of a session: `initialize`, or the stream of the old
/// transport.
fn opens(parts: &http::request::Parts, message: Option<&Message>) -> bool {
    message.is_some_and(|message| message.method() == Some("initialize"))
        || (parts.method == http::Method::GET
            && text(&parts.headers, "accept").is_some_and(|accept| accept.contains("text/event-stream")))
}

fn key(service: &ProxyService, parts: &http::request::Parts, message: Option<&Message>, peer: IpAddr) -> Key {
    let finger = |bytes: &[u8]| service.cleaner.fingerprint(bytes);
    let version = message.and_then(|message| message.param(&["_meta", meta::PROTOCOL_VERSION]));
    let version = version.and_then(json::unescape);
    let stateless = version.is_some_and(|version| Era::of_version(&version) == Era::Stateless);
    if let Some(id) = parts.headers.get(SESSION_ID).filter(|_| !stateless) {
        return Key::Named(finger(id.as_bytes()));
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Some(known) = Some(Key::Endpoint(finger(path.as_bytes())))
        .filter(|key| service.sessions.by_key.lock().contains_key(key))
    {
        return known;
    }
    let info = message.and_then(|message| message.param(&["_meta", meta::CLIENT_INFO])).unwrap_or_default();
    let info_of = |key| json::member(info, 0..info.len(), key).map(|span| &info[span]).unwrap_or_default();
    let header =
        |name: http::HeaderName| parts.headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    let peer = peer.to_string();
    // Our own client is never taken for another's.
    let own = parts.extensions.get::<OfClient>().map(|client| Arc::as_ptr(&client.0).addr().to_ne_bytes());
    let who = match (&own, stateless) {
        (Some(own), _) => [&b"own"[..], own, b"", b"", b""],
        (None, true) => {
            [b"2026", header(AUTHORIZATION), info_of("name"), info_of("version"), peer.as_bytes()]
        }
        (None, false) => [b"2025", header(USER_AGENT), b"", b"", peer.as_bytes()],
    };
    Key::Guest(finger(&who.join(&0)))
}

// === impl HttpSession ===

impl HttpSession {
    fn open(service: &ProxyService, name: Option<Key>, own_client: bool) -> Arc<Self> {
        let session = service.host.open(Opened {
            name: service.name.clone(),
            target: service.target.clone(),
            directory: None,
            pid: None,
            own_client,
        });
        let own = Arc::new(WriterQueue::queue());
        session.open_lane(Lane {
            direction: crate::mcp::Direction::ToServer,
            channel: Channel::Main,
            forward: Arc::clone(&own),
            back: None,
            scope: Scope::Session,
            form: Form::Body,
            correlation: crate::log::operation::Correlation::None,
            open_to_us: true,
        });
        Arc::new(Self {
            session,
            name: Mutex::new(name),
            endpoint_is_secret: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            streams: Mutex::default(),
            retired: Mutex::default(),
            under_way: AtomicUsize::new(0),
            last: Mutex::new(service.host.log().clock().now()),
            head: Mutex::default(),
            own,
        })
    }

    /// Whether ids are unique in it.
    pub fn is_named(&self) -> bool {
        self.name.lock().is_some()
    }

    /// The server has given a good answer in it.
    pub fn recognise(&self) {
        self.is_known.store(true, Ordering::Release);
    }

    /// A stream was opened on which nobody waits for an answer.
    pub fn hears(&self, queue: &Arc<WriterQueue<Receipt>>) {
        let mut streams = self.streams.lock();
        streams.retain(|queue| queue.strong_count() > 0);
        streams.push(Arc::downgrade(queue));
    }

    /// Whether the server has named it with an id of its own.
    pub fn is_by_id(&self) -> bool {
        matches!(*self.name.lock(), Some(Key::Named(_)))
    }

    /// Whether the address that its messages are posted to is a secret.
    pub fn has_secret_endpoint(&self) -> bool {
        self.endpoint_is_secret.load(Ordering::Acquire)
    }

    fn retire(&self, service: &ProxyService, reason: &'static str, exit: Option<Exit>) {
        // The first reason is the one that counts; how a process ended is known only later.
        let mut retired = self.retired.lock();
        let reason = retired.map_or(reason, |(reason, _)| reason);
        *retired = Some((reason, exit));
        drop(retired);
        if self.under_way.load(Ordering::Acquire) == 0 {
            self.close(service, reason, exit);
        }
    }

    fn close(&self, service: &ProxyService, reason: &str, exit: Option<Exit>) {
        self.session.close(reason, exit);
        service.host.remove_session(self.session.id());
    }
}
