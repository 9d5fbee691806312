//! The stateless era: all requests go to one process, told apart by ids of ours.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};

use super::child::Worker;
use super::desk::{Clients, Desk};
use super::reply::{Awaited, Pending};
use super::{Face, accepted, check, not_started, probe, refused};
use crate::clock::Stamp;
use crate::log::record::{Level, Opened};
use crate::mcp::compose::{self, meta};
use crate::mcp::{Kind, Message, Quirks};
use crate::proxy::http::spoken::Spoken;
use crate::transport::child::Ended;
use crate::transport::http::{Body, Unanswered};

/// The child of the stateless era.
#[derive(Default)]
pub struct Shared {
    pub worker: Option<Arc<Worker>>,
    started: Option<Stamp>,
}

/// A server that ended is not started again sooner than this after its last start.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it is believed that a server speaks the stateful era only: it may only have been slow.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// How long a new server may take to list its tools before others are let in.
const LISTING: Duration = Duration::from_secs(5);

impl Face {
    pub(super) async fn stateless(
        &self,
        parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Unanswered> {
        match message.kind() {
            Kind::Request { id, .. } if !id.is_legal() => {
                return Err(check::invalid("an id must be a string or an integer"));
            }
            // What a parser reads in two ways could be one client's request and another's answer.
            Kind::Request { .. } if message.quirks().has(Quirks::DUPLICATE_KEY) => {
                return Err(check::invalid("a key is there twice"));
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
        let worker = self.shared().await?;
        worker.desk.check(&message, &parts.headers).map_err(check::mismatch)?;
        let (mail, awaited) = Desk::mail();
        let asking = worker.desk.ask(&message, mail).map_err(refused)?;
        if let (Some(spoken), Some(how)) = (parts.extensions.get::<Spoken>(), &asking.remapped) {
            spoken.remapped(how);
        }
        let own = message.id().map(|id| (asking.id.clone(), id.clone()));
        let pending = Pending { worker: Arc::clone(&worker), ids: own.into_iter().collect(), tells: true };
        worker.say(&asking.line).await.map_err(|_| self.gone(&worker))?;
        Awaited { mail: awaited, pending, streams: false }.respond(|code| status_of(code, complete)).await
    }

    /// The one child of this era, started if it does not run.
    async fn shared(&self) -> Result<Arc<Worker>, Unanswered> {
        let mut shared = self.shared.lock().await;
        if let Some(worker) = shared.worker.as_ref().filter(|worker| worker.desk.over().is_none()) {
            return Ok(Arc::clone(worker));
        }
        let now = self.now();
        if shared.started.is_some_and(|started| now.since(started) < AGAIN) {
            return Err(check::busy(
                "the server ended as soon as it was started; it is started again shortly",
                1,
            ));
        }
        shared.started = Some(now);
        let session = self.host.open(Opened {
            name: format!("{} (shared)", self.name),
            target: self.spec.command.clone(),
            directory: self.spec.directory.as_ref().map(|directory| directory.display().to_string()),
            pid: None,
            own_client: false,
        });
        let (host, own) = (Arc::clone(&self.host), Arc::clone(&session));
        let ended = move |how: Ended| {
            own.close("the server ended", Some(how.into()));
            host.release(own.id());
        };
        let desk = Desk::new(Clients::Many, Arc::clone(&session));
        let limit = self.host.settings().inspect_limit;
        let started = Worker::start(&self.spec, desk, Arc::clone(&session), limit, &self.count, ended).await;
        let (worker, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                session.close("the server could not be started", None);
                self.host.release(session.id());
                return Err(not_started(error));
            }
        };
        let text = format!(
            "process {pid} serves all requests of 2026-07-28; its stderr and what belongs to no request is here"
        );
        session.note(None, Level::Info, text);
        // Which arguments are repeated in headers is known from the list of tools alone.
        let list = probe::request("tools/list");
        let (mail, mut listed) = Desk::mail();
        if let Ok(asking) = worker.desk.ask(&list, mail)
            && worker.say(&asking.line).await.is_ok()
        {
            let _ = tokio::time::timeout(LISTING, listed.recv()).await;
        }
        shared.worker = Some(Arc::clone(&worker));
        Ok(worker)
    }

    /// Whether the server speaks the stateless era, found out on a process that is thrown away.
    pub(super) async fn is_stateless(&self) -> Result<bool, Unanswered> {
        let mut probed = self.probed.lock().await;
        if let Some((at, stateless)) = *probed
            && (stateless || self.now().since(at) < BELIEVED)
        {
            return Ok(stateless);
        }
        let stateless = probe::probe(&self.host, &self.name, &self.spec, &self.count).await;
        let stateless = stateless.map_err(not_started)?;
        *probed = Some((self.now(), stateless));
        Ok(stateless)
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
