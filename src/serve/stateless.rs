//! The stateless era: all requests go to one process, told apart by ids of ours.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};

use super::probe::{self, ProbeResult};
use super::reply::{Awaited, Pending};
use super::{HttpAdapter, accepted, check, refused};
use crate::clock::Stamp;
use crate::http::context::RequestContext;
use crate::log::record::Level;
use crate::mcp::compose::{self, meta};
use crate::mcp::{Kind, Message, json, remap};
use crate::stdio::process::ServerProcess;
use crate::stdio::router::Clients;
use crate::transport::http::{Body, Unanswered};

/// The child of the stateless era.
#[derive(Default)]
pub struct SharedProcess {
    pub process: Option<Arc<ServerProcess>>,
    started: Option<Stamp>,
}

/// What was found of a server.
#[derive(Debug, Clone, Copy)]
pub struct Probed {
    stateless: bool,
    at: Stamp,
    /// How long that is believed; none for ever.
    believed: Option<Duration>,
}

/// A server that ended is not started again sooner than this after its last start.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long it is believed that a server speaks the stateful era only: it may be another one by then.
const STATEFUL_TTL: Duration = Duration::from_secs(10 * 60);
/// The same of one that only did not answer: it may have been slow.
const SILENT_TTL: Duration = Duration::from_secs(30);
/// How long a new server may take to list its tools before others are let in.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpAdapter {
    pub(super) async fn stateless(
        &self,
        parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Unanswered> {
        match message.kind() {
            Kind::Request { id, .. } if !id.is_legal() => {
                return Err(check::invalid("an id must be a string or an integer"));
            }
            Kind::Request { .. } if remap::is_ambiguous(&message) => {
                return Err(check::invalid("a key is there twice, and servers disagree on which one counts"));
            }
            Kind::Request { .. } => {}
            // There is none that a client would send over HTTP, and none may touch what is another's.
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
        process.router.check(&message, &parts.headers).map_err(check::mismatch)?;
        // With room for it, it is taken in and said in one step: a client may leave while it waits.
        let room = process.room(message.body().len()).await.map_err(|why| self.unheard(&process, why))?;
        let (asking, replies) = process.router.ask(&[&message]).map_err(refused)?;
        let mut pending = Pending { process: Arc::clone(&process), ids: Vec::new(), tells: true };
        if let (Some(asking), Some(own)) = (asking.into_iter().next(), message.id()) {
            if let (Some(context), Some(how)) = (parts.extensions.get::<RequestContext>(), &asking.remapped) {
                context.remapped(how);
            }
            pending.ids.push((asking.id, own.clone()));
            room.say(&asking.line);
        }
        Awaited { replies, pending, streams: false }.respond(|code| status_of(code, complete)).await
    }

    /// The one child of this era, started if it does not run.
    async fn shared(&self) -> Result<Arc<ServerProcess>, Unanswered> {
        if let Ok(shared) = self.shared.try_lock()
            && let Some(process) = shared.running()
        {
            return Ok(process);
        }
        self.outlived(|adapter| async move { adapter.find_shared().await }).await
    }

    async fn find_shared(&self) -> Result<Arc<ServerProcess>, Unanswered> {
        let mut shared = self.shared.lock().await;
        if let Some(process) = shared.running() {
            return Ok(process);
        }
        if self.supervisor.is_closed() {
            return Err(check::busy("the gateway is being stopped", 1));
        }
        let now = self.clock().now();
        if shared.started.is_some_and(|started| now.since(started) < RESTART_DELAY) {
            let why = shared.process.as_ref().and_then(|process| process.router.over()).unwrap_or_default();
            return Err(check::busy(format!("{why}; it was started a moment ago, and is again shortly"), 1));
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

    /// Lists the server's tools: which arguments are repeated in headers is known from there alone.
    async fn list(&self, process: &Arc<ServerProcess>) {
        /// Pages that are read; a server with more is checked by what its clients list.
        const MAX_PAGES: usize = 20;
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let request = probe::request("tools/list", cursor.take());
            let (Ok(room), Ok((asking, mut replies))) =
                (process.room(request.raw().len()).await, process.router.ask(&[&request]))
            else {
                return;
            };
            let Some(asking) = asking.into_iter().next() else { return };
            room.say(&asking.line);
            let Ok(Some(said)) = tokio::time::timeout(LIST_TIMEOUT, replies.recv()).await else { return };
            let page = Message::parse(said.line);
            cursor = page.outcome(&["nextCursor"]).and_then(json::unescape).map(|cursor| cursor.into_owned());
            if cursor.is_none() {
                return;
            }
        }
    }

    /// Whether the server speaks the stateless era, found out on a process that is thrown away.
    pub(super) async fn is_stateless(&self) -> Result<bool, Unanswered> {
        if let Ok(probed) = self.probed.try_lock()
            && let Some(stateless) = self.believed(*probed)
        {
            return Ok(stateless);
        }
        self.outlived(|adapter| async move { adapter.find_era().await }).await
    }

    async fn find_era(&self) -> Result<bool, Unanswered> {
        let mut probed = self.probed.lock().await;
        if let Some(stateless) = self.believed(*probed) {
            return Ok(stateless);
        }
        if self.supervisor.is_closed() {
            return Err(check::busy("the gateway is being stopped", 1));
        }
        let verdict = match self.started(probe::probe(self).await)? {
            ProbeResult::Dead(why) => {
                *self.trouble.lock() = Some(why.clone());
                return Err(Unanswered::bad_gateway(format!(
                    "the server {} ended at once: {why}",
                    self.name
                )));
            }
            verdict => verdict,
        };
        let (stateless, believed) = match verdict {
            ProbeResult::Stateless => (true, None),
            ProbeResult::Silent => (false, Some(SILENT_TTL)),
            ProbeResult::Stateful | ProbeResult::Dead(_) => (false, Some(STATEFUL_TTL)),
        };
        *probed = Some(Probed { stateless, at: self.clock().now(), believed });
        Ok(stateless)
    }

    fn believed(&self, probed: Option<Probed>) -> Option<bool> {
        let Probed { stateless, at, believed } = probed?;
        let fresh = believed.is_none_or(|believed| self.clock().now().since(at) < believed);
        fresh.then_some(stateless)
    }

    /// Does what is not one client's alone: it goes on when the one that asked for it leaves.
    async fn outlived<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> Result<T, Unanswered>
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

/// The status that goes with the code of an error (2026-07-28, basic/transports, status codes);
/// `complete` where the request had all that it must have.
pub fn status_of(code: i64, complete: bool) -> StatusCode {
    match code {
        compose::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        -32022..=-32020 => StatusCode::BAD_REQUEST,
        compose::INVALID_PARAMS if !complete => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}
