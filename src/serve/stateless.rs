//! The stateless era: all requests go to one process, told apart by ids of ours.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use super::probe::{self, ProbeResult};
use super::reply::{Awaited, OpenRequests};
use super::{HttpAdapter, accepted, check, refused};
use crate::clock::Stamp;
use crate::http::body::Outbound;
use crate::http::{Answer, RequestContext};
use crate::log::record::Level;
use crate::mcp::compose::{self, meta};
use crate::mcp::{Kind, Message, json, remap};
use crate::stdio::process::ServerProcess;
use crate::stdio::router::Clients;
use crate::transport::http::Unanswered;

/// The process of the stateless era.
#[derive(Default)]
pub struct SharedProcess {
    process: Option<Arc<ServerProcess>>,
    started: Option<Stamp>,
}

/// The era that a probe found.
#[derive(Debug, Clone, Copy)]
pub struct Probed {
    stateless: bool,
    at: Stamp,
    /// Time for which the result is used; `None` for ever.
    ttl: Option<Duration>,
}

/// Minimum time between two starts of a server that ended.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Time for which a server is taken for one of the stateful era only: it may be upgraded meanwhile.
const STATEFUL_TTL: Duration = Duration::from_secs(10 * 60);
/// The same time for a server that did not answer the probe: it may have been slow.
const SILENT_TTL: Duration = Duration::from_secs(30);
/// Time for a new server to list its tools before it gets calls.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpAdapter {
    /// Answers a POST of this era.
    pub(super) async fn stateless(
        &self,
        head: &Parts,
        context: &RequestContext,
        message: Message,
        body: Outbound,
    ) -> Result<Answer, Unanswered> {
        check::ids(&message)?;
        match message.kind() {
            Kind::Request { .. } if remap::is_ambiguous(&message) => {
                return Err(check::invalid("a key occurs twice, and servers disagree on which one counts"));
            }
            Kind::Request { .. } => {}
            // This era defines no notification from client to server over HTTP, and none may affect a
            // request of another client.
            Kind::Notification { .. } => return Ok(accepted()),
            _ => return Err(check::invalid("a request or a notification is expected")),
        }
        if !self.is_stateless().await? {
            return Err(check::stateful_only());
        }
        let enveloped = message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some();
        if !enveloped {
            return Err(check::no_envelope());
        }
        let complete = message.param(&["_meta", meta::CLIENT_CAPABILITIES]).is_some();
        let process = self.shared().await?;
        check::mirrored(&process.router.annotations(), &message, &head.headers)?;
        // Reserve first, then ask and write in one step: the client may leave while it waits.
        let permit =
            process.reserve(message.body().len()).await.map_err(|why| self.unwritable(&process, why))?;
        let (mapped, replies) = process.router.ask(&[&message]).map_err(refused)?;
        let mut pending = OpenRequests { process: Arc::clone(&process), ids: Vec::new(), cancels: true };
        if let (Some(mapped), Some(own)) = (mapped.into_iter().next(), message.id()) {
            if let Some(words) = &mapped.words {
                context.remapped(words);
            }
            pending.ids.push((mapped.id, own.clone()));
            permit.write(&mapped.line);
            body.accept();
        }
        Awaited { replies, pending, streams: false }.respond(|code| status_of(code, complete)).await
    }

    /// Returns the process of this era, which is started if it does not run.
    async fn shared(&self) -> Result<Arc<ServerProcess>, Unanswered> {
        if let Ok(shared) = self.shared.try_lock()
            && let Some(process) = shared.running()
        {
            return Ok(process);
        }
        self.detached(|adapter| async move { adapter.find_shared().await }).await
    }

    async fn find_shared(&self) -> Result<Arc<ServerProcess>, Unanswered> {
        let mut shared = self.shared.lock().await;
        if let Some(process) = shared.running() {
            return Ok(process);
        }
        if self.supervisor.is_closed() {
            return Err(check::stopping());
        }
        let now = self.clock().now();
        if shared.started.is_some_and(|started| now.since(started) < RESTART_DELAY) {
            let why = shared.process.as_ref().and_then(|process| process.router.over()).unwrap_or_default();
            return Err(check::busy(
                format!("{why}; it was started a moment ago and will be restarted shortly"),
                1,
            ));
        }
        shared.started = Some(now);
        let process = self.start_shared().await?;
        self.list(&process).await;
        shared.process = Some(Arc::clone(&process));
        Ok(process)
    }

    async fn start_shared(&self) -> Result<Arc<ServerProcess>, Unanswered> {
        let started = self.start_apart("shared", Clients::Many, "the server ended").await;
        let (session, process) = self.started(started)?;
        let text = format!(
            "process {} serves all requests of 2026-07-28; its stderr and what belongs to no request is here",
            process.id()
        );
        session.note(None, Level::Info, text);
        Ok(process)
    }

    /// Lists the server's tools, whose schemas name the arguments that requests repeat in headers.
    async fn list(&self, process: &Arc<ServerProcess>) {
        /// Maximum number of pages; what follows is learnt from the lists that clients ask for.
        const MAX_PAGES: usize = 20;
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let request = probe::request("tools/list", cursor.take());
            let (Ok(permit), Ok((mapped, mut replies))) =
                (process.reserve(request.raw().len()).await, process.router.ask(&[&request]))
            else {
                return;
            };
            let Some(mapped) = mapped.into_iter().next() else { return };
            permit.write(&mapped.line);
            let Ok(Some(reply)) = tokio::time::timeout(LIST_TIMEOUT, replies.recv()).await else { return };
            let page = reply.message;
            cursor = page.outcome(&["nextCursor"]).and_then(json::unescape).map(|cursor| cursor.into_owned());
            if cursor.is_none() {
                return;
            }
        }
    }

    /// Returns `true` if the server speaks the stateless era, which a probe finds out.
    pub(super) async fn is_stateless(&self) -> Result<bool, Unanswered> {
        if let Ok(probed) = self.probed.try_lock()
            && let Some(stateless) = self.fresh(*probed)
        {
            return Ok(stateless);
        }
        self.detached(|adapter| async move { adapter.find_era().await }).await
    }

    async fn find_era(&self) -> Result<bool, Unanswered> {
        let mut probed = self.probed.lock().await;
        if let Some(stateless) = self.fresh(*probed) {
            return Ok(stateless);
        }
        if self.supervisor.is_closed() {
            return Err(check::stopping());
        }
        let (stateless, ttl) = match self.started(probe::probe(self).await)? {
            ProbeResult::Stateless => (true, None),
            ProbeResult::Stateful => (false, Some(STATEFUL_TTL)),
            ProbeResult::Silent => (false, Some(SILENT_TTL)),
            ProbeResult::Ended(why) => {
                *self.start_error.lock() = Some(why.clone());
                let text = format!("the server {} ended at once: {why}", self.name);
                return Err(Unanswered::bad_gateway(text));
            }
        };
        *probed = Some(Probed { stateless, at: self.clock().now(), ttl });
        Ok(stateless)
    }

    /// Returns the era that a probe found, unless the result is too old.
    fn fresh(&self, probed: Option<Probed>) -> Option<bool> {
        let Probed { stateless, at, ttl } = probed?;
        ttl.is_none_or(|ttl| self.clock().now().since(at) < ttl).then_some(stateless)
    }

    /// Runs work that concerns all clients: it goes on when the client that asked for it leaves.
    async fn detached<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> Result<T, Unanswered>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Unanswered>> + Send + 'static,
    {
        let adapter = self.me.upgrade().ok_or_else(|| Unanswered::bad_gateway("the gateway was stopped"))?;
        let done = tokio::spawn(work(adapter)).await;
        done.unwrap_or_else(|error| Err(Unanswered::bad_gateway(error.to_string())))
    }
}

impl SharedProcess {
    fn running(&self) -> Option<Arc<ServerProcess>> {
        self.process.as_ref().filter(|process| process.router.over().is_none()).map(Arc::clone)
    }
}

/// Returns the status of an answer whose error has this code (2026-07-28, basic/transports, status
/// codes). `complete` is `true` if the request had every required member.
pub fn status_of(code: i64, complete: bool) -> StatusCode {
    match code {
        compose::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        -32022..=-32020 => StatusCode::BAD_REQUEST,
        compose::INVALID_PARAMS if !complete => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}
