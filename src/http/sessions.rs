//! HTTP sessions: the session that an exchange belongs to.
//!
//! In the stateful era the server names a session (`Mcp-Session-Id`, or the endpoint of the HTTP+SSE
//! transport of 2024-11-05). Exchanges without such a name are grouped by who seems to send them, for
//! display only: nothing is routed by that.

use crate::transport::http::headers::is_of_the_body;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, USER_AGENT};
use parking_lot::Mutex;

use super::context::{EndSession, OfClient, RequestContext, ServiceContext};
use crate::clock::Stamp;
use crate::log::Seq;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, Exit, Opened};
use crate::mcp::compose::meta;
use crate::mcp::{Direction, Era, Message, json};
use crate::session::{Lane, LaneForm, Receipt, Scope, Session};
use crate::transport::WriterQueue;
use crate::transport::http::headers::text;
use crate::transport::http::secrets::Fingerprint;

/// A session over HTTP, and the means to send messages of our own in it.
pub struct HttpSession {
    /// The session.
    pub session: Arc<Session>,
    /// The name that the server gave it. Message ids are unique in a named session.
    name: Mutex<Option<Key>>,
    /// Set if its messages are posted to an endpoint whose address is a secret.
    secret_endpoint: AtomicBool,
    /// Set once the server has given a good answer in it.
    recognized: AtomicBool,
    /// Streams on which the server sends without being asked.
    streams: Mutex<Vec<Weak<WriterQueue<Receipt>>>>,
    /// The reason why it ends as soon as no exchange is under way.
    retired: Mutex<Option<(&'static str, Option<Exit>)>>,
    /// Number of exchanges under way.
    under_way: AtomicUsize,
    /// The end of the latest exchange.
    last: Mutex<Stamp>,
    /// The head of its latest request with a message, whose credentials injected requests borrow.
    head: Mutex<Option<Arc<Head>>>,
    /// The queue of injected requests.
    pub injected: Arc<WriterQueue<Receipt>>,
    /// The sessions of the service.
    sessions: Weak<HttpSessions>,
}

/// The parts of a request beside its body.
#[derive(Clone)]
pub struct Head {
    /// The URI.
    pub uri: http::Uri,
    /// The headers; their values are hidden when they are printed.
    pub headers: HeaderMap,
}

/// Open HTTP sessions of a proxy service.
pub struct HttpSessions {
    /// The context of the service.
    pub context: ServiceContext,
    by_key: Mutex<HashMap<Key, Arc<HttpSession>>>,
    me: Weak<Self>,
    /// Time after which a silent named session is ended; zero for never.
    idle: Duration,
}

/// The session of an exchange, which counts as under way from now on.
pub struct FoundSession {
    /// The session.
    pub http_session: Arc<HttpSession>,
    /// `true` if it was opened for this exchange.
    pub is_new: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// The id that the server gave it.
    Named(Fingerprint),
    /// The endpoint to which its messages are posted (2024-11-05, HTTP+SSE).
    Endpoint(Fingerprint),
    /// A client without a session at the server, or before it has one.
    Guest(Fingerprint),
}

/// Maximum number of sessions that are told apart at a time.
const MAX_SESSIONS: usize = 16_384;
/// Time after which a silent guest is forgotten.
const GUEST_IDLE: Duration = Duration::from_secs(15 * 60);
/// Time after which a silent named session is ended, if nothing else is asked for.
const NAMED_IDLE: Duration = Duration::from_secs(30 * 60);

/// The header that names a session (2025-03-26 to 2025-11-25, basic/transports).
const SESSION_ID: &str = "mcp-session-id";

// === impl HttpSessions ===

impl HttpSessions {
    /// Creates the sessions of a service, none so far.
    pub fn new(context: ServiceContext, idle: Option<Duration>) -> Arc<Self> {
        let idle = idle.unwrap_or(NAMED_IDLE);
        Arc::new_cyclic(|me| Self { context, by_key: Mutex::default(), me: me.clone(), idle })
    }

    /// Finds the session that a request belongs to, or opens one. [`HttpSessions::leave`] ends the
    /// exchange.
    pub fn find(
        &self,
        parts: &http::request::Parts,
        message: Option<&Message>,
        peer: IpAddr,
    ) -> FoundSession {
        let mut key = self.key(parts, message, peer);
        let client = parts.extensions.get::<OfClient>();
        let mut by_key = self.by_key.lock();
        // Concurrent `initialize` requests with one guest key come from two clients.
        let is_busy = |known: &Arc<HttpSession>| known.under_way.load(Ordering::Acquire) > 0;
        if matches!(key, Key::Guest(_)) && opens(parts, message) && by_key.get(&key).is_some_and(is_busy) {
            key = Key::Guest(self.context.cleaner.fingerprint(uuid::Uuid::new_v4().as_bytes()));
        }
        // A session that has ended is not continued.
        if by_key.get(&key).is_some_and(|known| known.session.is_closed()) {
            by_key.remove(&key);
        }
        let is_new = !by_key.contains_key(&key);
        let crowded = is_new && by_key.len() >= MAX_SESSIONS;
        let evicted = crowded.then(|| take_idlest(&mut by_key)).flatten();
        let http_session = Arc::clone(by_key.entry(key).or_insert_with(|| {
            let name = Some(key).filter(|key| matches!(key, Key::Named(_)));
            let opened = HttpSession::open(self, name, client.is_some());
            if let Some(OfClient(client)) = client {
                let client = Arc::clone(client);
                let set = |backend: &mut crate::host::Backend| backend.client = Some(client);
                self.context.host.update_backend(opened.session.id(), set);
            }
            opened
        }));
        http_session.under_way.fetch_add(1, Ordering::AcqRel);
        drop(by_key);
        if let Some(evicted) = evicted {
            evicted.close(&self.context, "evicted: too many sessions", None);
        }
        if message.is_some_and(Message::is_rpc) {
            http_session.remember(parts);
        }
        FoundSession { http_session, is_new }
    }

    /// Names a session with the id that the server gave it.
    pub fn name(&self, http_session: &Arc<HttpSession>, id: &http::HeaderValue) {
        let mut id = id.clone();
        id.set_sensitive(true);
        let key = Key::Named(self.context.cleaner.fingerprint(id.as_bytes()));
        let mut head = http_session.head.lock();
        if let Some(head) = head.as_mut().map(Arc::make_mut) {
            head.headers.insert(SESSION_ID, id);
        }
        drop(head);
        self.rename(http_session, key);
    }

    /// Names a session by the endpoint that the server gave it for its messages.
    pub fn set_endpoint(&self, http_session: &Arc<HttpSession>, endpoint: &str) {
        let path = match endpoint.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => endpoint,
        };
        http_session.secret_endpoint.store(true, Ordering::Release);
        if let Ok(uri) = path.parse() {
            let mut head = http_session.head.lock();
            let headers = head.take().map(|head| head.headers.clone()).unwrap_or_default();
            *head = Some(Arc::new(Head { uri, headers }));
        }
        self.rename(http_session, Key::Endpoint(self.context.cleaner.fingerprint(path.as_bytes())));
    }

    fn rename(&self, http_session: &Arc<HttpSession>, key: Key) {
        if *http_session.name.lock().get_or_insert(key) != key {
            return;
        }
        let mut by_key = self.by_key.lock();
        // A session that is to end must not be found again under its name.
        if http_session.retired.lock().is_some() {
            return;
        }
        // The next request without an id is of a new guest.
        by_key.retain(|key, known| !(matches!(key, Key::Guest(_)) && Arc::ptr_eq(known, http_session)));
        let before = by_key.insert(key, Arc::clone(http_session));
        drop(by_key);
        // A server that gives two sessions one name has given up the first.
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, http_session)) {
            before.retire(&self.context, "its id was assigned to another session", None);
        }
    }

    /// Ends a session as soon as no exchange of it is under way.
    pub fn retire(&self, http_session: &Arc<HttpSession>, reason: &'static str, exit: Option<Exit>) {
        self.by_key.lock().retain(|_, known| !Arc::ptr_eq(known, http_session));
        http_session.retire(&self.context, reason, exit);
    }

    /// Ends an exchange of a session.
    pub fn leave(&self, http_session: &Arc<HttpSession>) {
        let left = http_session.under_way.fetch_sub(1, Ordering::AcqRel) - 1;
        *http_session.last.lock() = self.context.host.log().clock().now();
        if left > 0 {
            return;
        }
        // An id that the server never recognized was invented by the client.
        if http_session.is_by_id() && !http_session.recognized.load(Ordering::Acquire) {
            self.retire(http_session, "unknown session id", None);
            return;
        }
        let reason = *http_session.retired.lock();
        if let Some((reason, exit)) = reason {
            http_session.close(&self.context, reason, exit);
        }
    }

    /// Ends the sessions that have been silent for too long.
    pub fn sweep(&self) {
        let now = self.context.host.log().clock().now();
        let mut silent = Vec::new();
        self.by_key.lock().retain(|_, known| {
            let bound = if known.is_named() { self.idle } else { GUEST_IDLE };
            let over = known.under_way.load(Ordering::Acquire) == 0
                && !bound.is_zero()
                && now.since(*known.last.lock()) > bound;
            if over {
                silent.push(Arc::clone(known));
            }
            !over
        });
        for http_session in silent {
            http_session.close(&self.context, "idle for too long", None);
        }
    }

    /// Ends the streams on which no answer is awaited.
    pub fn end_standing_streams(&self) {
        let all: Vec<_> = self.by_key.lock().values().cloned().collect();
        for queue in all.iter().flat_map(|known| std::mem::take(&mut *known.streams.lock())) {
            if let Some(queue) = queue.upgrade() {
                queue.end();
            }
        }
    }

    /// Ends all sessions.
    pub fn close_all(&self, reason: &str) {
        let all: Vec<_> = self.by_key.lock().drain().map(|(_, known)| known).collect();
        for http_session in all {
            http_session.close(&self.context, reason, None);
        }
    }

    fn key(&self, parts: &http::request::Parts, message: Option<&Message>, peer: IpAddr) -> Key {
        let finger = |bytes: &[u8]| self.context.cleaner.fingerprint(bytes);
        let version = message.and_then(|message| message.param(&["_meta", meta::PROTOCOL_VERSION]));
        let version = version.and_then(json::unescape);
        let stateless = version.is_some_and(|version| Era::of_version(&version) == Era::Stateless);
        if let Some(id) = parts.headers.get(SESSION_ID).filter(|_| !stateless) {
            return Key::Named(finger(id.as_bytes()));
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let endpoint = Key::Endpoint(finger(path.as_bytes()));
        if self.by_key.lock().contains_key(&endpoint) {
            return endpoint;
        }
        let info =
            message.and_then(|message| message.param(&["_meta", meta::CLIENT_INFO])).unwrap_or_default();
        let info_of =
            |key| json::member(info, 0..info.len(), key).map(|span| &info[span]).unwrap_or_default();
        let header = |name: http::HeaderName| {
            parts.headers.get(name).map(|value| value.as_bytes()).unwrap_or_default()
        };
        let peer = peer.to_string();
        // Requests of the built-in client are never taken for those of another.
        let own = parts.extensions.get::<OfClient>();
        let own = own.map(|client| Arc::as_ptr(&client.0).addr().to_ne_bytes());
        let who = match (&own, stateless) {
            (Some(own), _) => [&b"own"[..], own, b"", b"", b""],
            (None, true) => {
                [b"2026", header(AUTHORIZATION), info_of("name"), info_of("version"), peer.as_bytes()]
            }
            (None, false) => [b"2025", header(USER_AGENT), b"", b"", peer.as_bytes()],
        };
        Key::Guest(finger(&who.join(&0)))
    }
}

/// Takes out the session that has been idle for the longest time.
fn take_idlest(by_key: &mut HashMap<Key, Arc<HttpSession>>) -> Option<Arc<HttpSession>> {
    let idle = by_key.iter().filter(|(_, known)| known.under_way.load(Ordering::Acquire) == 0);
    let key = idle.min_by_key(|(_, known)| *known.last.lock()).map(|(key, _)| *key)?;
    by_key.remove(&key)
}

/// Returns `true` if a request may be the first of a session: `initialize`, or the stream of the
/// HTTP+SSE transport of 2024-11-05.
fn opens(parts: &http::request::Parts, message: Option<&Message>) -> bool {
    message.is_some_and(|message| message.method() == Some("initialize"))
        || (parts.method == http::Method::GET
            && text(&parts.headers, "accept").is_some_and(|accept| accept.contains("text/event-stream")))
}

/// Returns `true` if both maps have the same headers, apart from those that belong to one body.
fn same(a: &HeaderMap, b: &HeaderMap) -> bool {
    let of_client = |headers: &HeaderMap| headers.iter().filter(|(name, _)| !is_of_the_body(name)).count();
    let is_in = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        is_of_the_body(name) || b.get_all(name).iter().any(|other| other == value)
    };
    of_client(a) == of_client(b) && a.iter().all(is_in)
}

// === impl HttpSession ===

impl EndSession for HttpSession {
    fn end(self: Arc<Self>, reason: &'static str, exit: Option<Exit>) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.retire(&self, reason, exit);
        }
    }
}

impl HttpSession {
    fn open(sessions: &HttpSessions, name: Option<Key>, own_client: bool) -> Arc<Self> {
        let context = &sessions.context;
        let session = context.host.open(Opened {
            name: context.name.clone(),
            target: context.target.clone(),
            directory: None,
            pid: None,
            own_client,
        });
        let injected = Arc::new(WriterQueue::queue());
        session.open_lane(Lane {
            direction: Direction::ToServer,
            channel: Channel::Main,
            forward: Arc::clone(&injected),
            back: None,
            scope: Scope::Session,
            form: LaneForm::Body,
            correlation: Correlation::None,
            open_to_us: true,
        });
        Arc::new(Self {
            session,
            name: Mutex::new(name),
            secret_endpoint: AtomicBool::new(false),
            recognized: AtomicBool::new(false),
            streams: Mutex::default(),
            retired: Mutex::default(),
            under_way: AtomicUsize::new(0),
            last: Mutex::new(context.host.log().clock().now()),
            head: Mutex::default(),
            injected,
            sessions: Weak::clone(&sessions.me),
        })
    }

    /// Keeps the head of a request for injected ones, unless the kept head is the same.
    fn remember(&self, parts: &http::request::Parts) {
        let mut head = self.head.lock();
        if head.as_ref().is_some_and(|known| known.uri == parts.uri && same(&known.headers, &parts.headers)) {
            return;
        }
        let mut headers = parts.headers.clone();
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        *head = Some(Arc::new(Head { uri: parts.uri.clone(), headers }));
    }

    /// Returns the head that injected requests imitate, once there was a request.
    pub fn head(&self) -> Option<Arc<Head>> {
        self.head.lock().clone()
    }

    /// Returns `true` if message ids are unique in the session.
    pub fn is_named(&self) -> bool {
        self.name.lock().is_some()
    }

    /// Remembers that the server has given a good answer in the session.
    pub fn recognize(&self) {
        self.recognized.store(true, Ordering::Release);
    }

    /// Remembers a stream on which no answer is awaited.
    pub fn add_standing_stream(&self, queue: &Arc<WriterQueue<Receipt>>) {
        let mut streams = self.streams.lock();
        streams.retain(|queue| queue.strong_count() > 0);
        streams.push(Arc::downgrade(queue));
    }

    /// Returns `true` if the server has named the session with an id.
    pub fn is_by_id(&self) -> bool {
        matches!(*self.name.lock(), Some(Key::Named(_)))
    }

    /// Returns `true` if the address to which its messages are posted is a secret.
    pub fn has_secret_endpoint(&self) -> bool {
        self.secret_endpoint.load(Ordering::Acquire)
    }

    fn retire(&self, context: &ServiceContext, reason: &'static str, exit: Option<Exit>) {
        // The first reason counts; the exit of the process is known only later.
        let mut retired = self.retired.lock();
        let reason = retired.map_or(reason, |(reason, _)| reason);
        *retired = Some((reason, exit));
        drop(retired);
        if self.under_way.load(Ordering::Acquire) == 0 {
            self.close(context, reason, exit);
        }
    }

    /// Returns the context of a request of this session, recorded as `frame`.
    pub fn request_context(self: &Arc<Self>, frame: Seq) -> RequestContext {
        let owner: Weak<dyn EndSession> = Arc::downgrade(self) as _;
        RequestContext::new(Arc::clone(&self.session), frame, owner)
    }

    fn close(&self, context: &ServiceContext, reason: &str, exit: Option<Exit>) {
        self.session.close(reason, exit);
        context.host.remove_session(self.session.id());
    }
}
