//! Bridge between a client that speaks lines and an HTTP server: messages of the client are posted, and
//! those of the server are written to the client, one message a line. The bridge is only the client's
//! transport: ids, envelopes and eras are the client's own.
//!
//! Every request that the client does not give up gets exactly one answer. An exchange is a correlation of its
//! own: the body of a response answers the request of its exchange, whatever its id says. A session that the server has lost
//! is replaced by a new one with the handshake of the client, and what the server refused for that reason is
//! sent again ([`session`]).

mod error;
mod exchange;
mod input;
mod refusal;
mod request;
mod requests;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use self::error::ExchangeError;
use self::requests::Requests;
use self::session::{Replacement, Upstream};
use super::service::ProxyService;
use crate::client::Client;
use crate::mcp::handshake::Handshake;
use crate::mcp::remap::token;
use crate::mcp::{Id, Kind, Message, compose, layout};
use crate::transport::memory::{PipeReader, PipeWriter};

/// A bridge between a client that speaks lines and an HTTP server.
pub struct Bridge {
    service: Arc<ProxyService>,
    to_client: PipeWriter,
    /// Headers that are added to every request, such as credentials from the command line.
    given: HeaderMap,
    client: Mutex<Option<Arc<Client>>>,
    /// The session at the server, and what is needed to open another.
    upstream: Mutex<Upstream>,
    replacement: Replacement,
    requests: Mutex<Requests>,
    /// Notified whenever a request is answered or given up.
    settled: Notify,
    /// Number of notifications and answers that the server has not accepted within [`ORDER_PATIENCE`].
    late: AtomicUsize,
    /// Number of messages that the client was given.
    said: AtomicU64,
    /// Tasks of the bridge; none outlives [`Bridge::close`].
    tasks: Mutex<JoinSet<()>>,
}

/// Time for which a message without an answer of its own holds up the next one, so that both arrive in
/// their order.
const ORDER_PATIENCE: Duration = Duration::from_secs(1);
/// Time without a word of the server after which the requests that it owes an answer get an error, once the
/// client sends no more. The official SDKs wait for an answer as long.
const OWED_PATIENCE: Duration = Duration::from_secs(60);
/// Maximum length in bytes of a message in either direction.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The progress of an exchange that the client's next message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The exchange has begun: requests arrive in any order.
    Begun,
    /// The head of the response has come: notifications and answers keep their order.
    Accepted,
    /// The answer has come: nothing may overtake `initialize`, which gives the session its name.
    Answered,
}

/// The sender of the news that an exchange has reached its step. A dropped one means that it never will.
struct Turn {
    wanted: Step,
    sender: Option<oneshot::Sender<()>>,
}

impl Turn {
    fn new(wanted: Step) -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self { wanted, sender: Some(sender) }, receiver)
    }

    fn reached(&mut self, step: Step) {
        if self.wanted == step
            && let Some(sender) = self.sender.take()
        {
            // The receiver may have given up waiting; ignore the error.
            let _ = sender.send(());
        }
    }
}

impl Step {
    fn before_next(message: &Message) -> Self {
        match message.kind() {
            Kind::Request { .. } if message.method() == Some("initialize") => Self::Answered,
            _ if message.elements().iter().any(|each| matches!(each.kind(), Kind::Request { .. })) => {
                Self::Begun
            }
            _ => Self::Accepted,
        }
    }
}

impl Bridge {
    /// Creates a bridge through `service` that writes to `to_client` and adds the headers `given` to every
    /// request.
    pub fn new(service: Arc<ProxyService>, to_client: PipeWriter, given: HeaderMap) -> Arc<Self> {
        let path = service.exchanges().upstream.address().path.clone();
        Arc::new(Self {
            service,
            to_client,
            given,
            client: Mutex::default(),
            upstream: Mutex::new(Upstream::at(path)),
            replacement: Replacement::default(),
            requests: Mutex::default(),
            settled: Notify::new(),
            late: AtomicUsize::new(0),
            said: AtomicU64::new(0),
            tasks: Mutex::default(),
        })
    }

    /// Marks later requests as those of the built-in client.
    pub fn speaks_for(&self, client: Arc<Client>) {
        *self.client.lock() = Some(client);
    }

    /// Carries the client's messages until its stream ends or nobody reads the answers, waits for the answers
    /// that are owed, then ends the session and every stream.
    pub async fn run(self: Arc<Self>, from_client: PipeReader) {
        const DELETE_TIMEOUT: Duration = Duration::from_secs(2);
        let served = async {
            self.read(from_client).await;
            self.all_answered().await;
        };
        tokio::select! {
            () = served => {}
            () = self.to_client.closed() => {}
        }
        self.close(DELETE_TIMEOUT).await;
    }

    /// Ends every exchange and stream, and deletes the session at the server within `patience`.
    pub async fn close(&self, patience: Duration) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        self.delete_session(patience).await;
    }

    async fn refuse_long(&self, id: Option<&Id>) {
        let why = "shadowcat: the message is longer than 256 MiB";
        self.say(&compose::failure(id, 413, why)).await;
    }

    /// Sends a message to the server. Returns the news of the answer that the next message waits for, if there is
    /// one.
    async fn message(self: &Arc<Self>, message: Message) -> Option<oneshot::Receiver<()>> {
        if message.method() == Some("notifications/cancelled")
            && let Some(id) = message.param(&["requestId"]).map(token)
        {
            let is_stateless = self.upstream.lock().is_stateless();
            let task = self.requests.lock().give_up(&id, is_stateless);
            self.settled.notify_waiters();
            if is_stateless {
                // In the stateless era a request is cancelled by closing its stream (2026-07-28,
                // basic/patterns/cancellation).
                task.inspect(AbortHandle::abort);
                return None;
            }
        }
        let is_initialized = message.method() == Some("notifications/initialized");
        if message.method() == Some("initialize") {
            self.upstream.lock().handshake = Handshake::default();
            // A client that greets has given up its probe, which the server may never answer.
            self.requests.lock().give_up_all("server/discover").iter().for_each(AbortHandle::abort);
        }
        self.upstream.lock().handshake.learn(&message);
        let step = Step::before_next(&message);
        let (turn, reached) = Turn::new(step);
        let (bridge, asked) = (Arc::clone(self), message.clone());
        {
            // The lock is held since before the task begins, so that it finds its entry.
            let mut requests = self.requests.lock();
            let number = requests.next();
            let task = self.spawn(async move { bridge.exchange(number, asked, turn).await });
            requests.insert(number, &message, task);
        }
        match step {
            Step::Begun => {}
            Step::Answered => return Some(reached),
            Step::Accepted => self.wait_in_order(reached).await,
        }
        if is_initialized {
            self.listen();
        }
        None
    }

    /// Waits for a server to accept a message, unless it left an earlier one without a response: a server
    /// that does not respond must not slow down everything behind.
    async fn wait_in_order(self: &Arc<Self>, mut reached: oneshot::Receiver<()>) {
        if self.late.load(Ordering::Relaxed) > 0 {
            return;
        }
        if tokio::time::timeout(ORDER_PATIENCE, &mut reached).await.is_ok() {
            return;
        }
        self.late.fetch_add(1, Ordering::Relaxed);
        self.note("the server leaves a notification or an answer without a response; later messages go on");
        let bridge = Arc::clone(self);
        self.spawn(async move {
            // Either outcome means that the exchange is over.
            let _ = reached.await;
            bridge.late.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Waits until every request is answered, except those that get no answer while their stream is open. The others
    /// get an error when the server says nothing for [`OWED_PATIENCE`].
    async fn all_answered(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.requests.lock().owes() {
                return;
            }
            let said = self.said.load(Ordering::Relaxed);
            if tokio::time::timeout(OWED_PATIENCE, settled).await.is_err()
                && said == self.said.load(Ordering::Relaxed)
            {
                break;
            }
        }
        let owed = self.requests.lock().end_owed();
        for id in &owed {
            let why = format!("shadowcat: {}", ExchangeError::Silent(OWED_PATIENCE));
            self.say(&compose::failure(Some(id), compose::INTERNAL_ERROR, &why)).await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    async fn say(&self, body: &[u8]) {
        self.said.fetch_add(1, Ordering::Relaxed);
        // A client that is gone needs no message; ignore the error.
        let _ = self.to_client.send(layout::as_line(body)).await;
    }
}
