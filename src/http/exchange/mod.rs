//! One exchange, from the request of a client to the end of its response.

mod reply;
mod request;
mod respond;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::AbortHandle;
use http::Response;
use http::header::HOST;
use http::request::Parts;

use super::call::CallService;
use super::context::{OwnRequest, PeerAddress};
use super::facts::{self, ExchangeFacts};
use super::injected;
use super::sessions::{FoundSession, HttpSession, HttpSessions};
use crate::log::Seq;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, LaneId, OpId};
use crate::mcp::{Direction, Id, Message};
use crate::session::{Lane, LaneForm, Receipt, Scope};
use crate::transport::WriterQueue;
use crate::transport::http::{BodyError, Cut, HttpBody, Rewrite};

pub use reply::plain;

/// The parts of a proxy service that its exchanges use.
pub struct Exchanges {
    /// The sessions.
    pub sessions: Arc<HttpSessions>,
    /// The server.
    pub upstream: Arc<dyn CallService>,
    /// Set to answer 502 where the upstream breaks off before its answer began, instead of breaking off
    /// as well.
    pub explains: bool,
    /// Set to put our address in the place of the upstream's where OAuth names it.
    pub rewrites: bool,
    /// Set once the person was told why clients will refuse to authorize.
    pub warned_of_challenge: std::sync::atomic::AtomicBool,
}

/// An exchange under way. If it is dropped before it has finished, the upstream is notified at once: so a
/// client cancels (2026-07-28, basic/patterns/cancellation), and so a server sees a client that is gone
/// in any era.
pub struct Exchange {
    shared: Arc<Exchanges>,
    http_session: Arc<HttpSession>,
    parts: Parts,
    /// The message of the request, as the client sent it.
    message: Option<Message>,
    /// The request lane.
    lane: LaneId,
    /// The scope of the ids in the answer. The name that the server gives the session comes too late to
    /// change it.
    scope: Scope,
    /// The response lane.
    response: Option<LaneId>,
    /// The queue towards the upstream.
    to_upstream: Arc<WriterQueue<Receipt>>,
    /// The queue towards the client.
    to_client: Arc<WriterQueue<Receipt>>,
    /// The receipt of the write that the client is being given.
    unconfirmed: Option<Receipt>,
    /// The task that relays the response.
    relay: Option<AbortHandle>,
    /// Bytes of the response that are still to be given, where its length is known.
    left: Option<u64>,
    /// The rewrite between our address and the upstream's.
    rewrite: Option<Rewrite>,
    /// Set to take the content coding off the answer, for our own client.
    decodes: bool,
    finished: bool,
}

/// The facts of a request after it was received.
struct ReceivedRequest {
    seq: Seq,
    op: Option<OpId>,
    id: Option<Id>,
    /// `true` if the client waits for an answer.
    awaits: bool,
    /// `true` if the answer is a stream that no other answer is awaited on.
    listens: bool,
    facts: ExchangeFacts,
}

impl Exchange {
    /// Opens the exchange of a request with this body, in its session. `is_long` marks a body over the
    /// inspect limit, of which `body` is the beginning.
    pub fn open(
        shared: &Arc<Exchanges>,
        mut parts: Parts,
        body: &Bytes,
        is_long: bool,
        peer: SocketAddr,
    ) -> Self {
        parts.extensions.insert(PeerAddress(peer.ip()));
        let message = (!is_long).then(|| facts::message(&parts.headers, body)).flatten();
        let FoundSession { http_session, is_new } = shared.sessions.find(&parts, message.as_ref(), peer.ip());
        if is_new {
            injected::serve(&shared.sessions, &shared.upstream, &http_session);
        }
        let (to_upstream, to_client) = (Arc::new(WriterQueue::queue()), Arc::new(WriterQueue::queue()));
        let is_named = http_session.is_named();
        let lane = http_session.session.open_lane(Lane {
            direction: Direction::ToServer,
            channel: Channel::Main,
            forward: Arc::clone(&to_upstream),
            back: Some(Arc::clone(&to_client)),
            scope: if is_named { Scope::Session } else { Scope::Exchange },
            form: LaneForm::Body,
            correlation: Correlation::None,
            open_to_us: false,
        });
        let dialled = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let rewrite = dialled
            .filter(|_| shared.rewrites)
            .map(|host| Rewrite::new(format!("http://{host}"), shared.upstream.address().origin.clone()));
        let decodes = parts.extensions.get::<OwnRequest>().is_some();
        Self {
            decodes,
            shared: Arc::clone(shared),
            http_session,
            parts,
            message,
            lane,
            scope: if is_named { Scope::Session } else { Scope::Of(lane) },
            response: None,
            to_upstream,
            to_client,
            unconfirmed: None,
            relay: None,
            left: None,
            rewrite,
            finished: false,
        }
    }

    /// Takes the request through the pipeline and on to the upstream, and the response back. `rest` is
    /// the rest of a body over the inspect limit.
    ///
    /// # Errors
    /// [`Cut`] if the connection is to be closed.
    pub async fn run<B>(mut self, body: Bytes, rest: Option<B>) -> Result<Response<HttpBody>, Cut>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let is_long = rest.is_some();
        let asked = match rest {
            Some(rest) => self.receive_long(body, rest),
            None => self.receive(body),
        };
        let Some(first) = self.to_upstream.next().await else {
            return self.unsent(&asked).await;
        };
        if first.receipt.as_ref().is_some_and(|receipt| receipt.more) {
            self.send_others();
        }
        let call = self.call(&asked, first, is_long);
        let upstream = Arc::clone(&self.shared.upstream);
        match upstream.call(call).await {
            Ok(answer) => self.respond(asked, answer).await,
            Err(unanswered) => self.fail(&asked, unanswered).await,
        }
    }
}
