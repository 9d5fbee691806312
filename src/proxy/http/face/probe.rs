//! Finding out which era a stdio server speaks, on a process that is thrown away: servers exist
//! that die of what they do not know.

use std::sync::Arc;

use serde_json::json;

use super::child::{Headcount, Worker};
use super::desk::{Clients, Desk};
use crate::log::record::{Level, Opened};
use crate::mcp::{Direction, Era, Eras, Id, Message, compose};
use crate::proxy::client::PROBE_PATIENCE;
use crate::proxy::host::Host;
use crate::transport::child::{SpawnError, Spec};

/// Asks `server/discover`, and returns whether the answer is one of the stateless era. Silence for long means the stateful era (2026-07-28, basic/transports/stdio).
///
/// # Errors
/// When the server cannot be started.
pub async fn probe(
    host: &Arc<Host>,
    name: &str,
    spec: &Spec,
    count: &Arc<Headcount>,
) -> Result<bool, SpawnError> {
    let session = host.open(Opened {
        name: format!("{name} (probe)"),
        target: spec.command.clone(),
        directory: None,
        pid: None,
        own_client: true,
    });
    let (ending_host, own) = (Arc::clone(host), Arc::clone(&session));
    let ended = move |how: crate::transport::child::Ended| {
        own.close("the probe is over", Some(how.into()));
        ending_host.release(own.id());
    };
    let desk = Desk::new(Clients::One, Arc::clone(&session));
    let limit = host.settings().inspect_limit;
    let started = Worker::start(spec, desk, Arc::clone(&session), limit, count, ended).await;
    let (worker, _) = started.inspect_err(|_| {
        session.close("the server could not be started", None);
        host.release(session.id());
    })?;
    let discover = request("server/discover");
    let (mail, mut awaited) = Desk::mail();
    let mut answer = None;
    if let Ok(asking) = worker.desk.ask(&discover, mail)
        && worker.say(&asking.line).await.is_ok()
    {
        let answered = async {
            while let Some(said) = awaited.recv().await {
                if said.answer.is_some() {
                    return Some(Message::parse(said.line));
                }
            }
            None
        };
        answer = tokio::time::timeout(PROBE_PATIENCE, answered).await.ok().flatten();
    }
    let stateless = answer.is_some_and(|answer| {
        let mut eras = Eras::default();
        eras.observe(Direction::ToClient, &answer, Some("server/discover"));
        eras.server.era == Some(Era::Stateless)
    });
    let speaks =
        if stateless { "2026-07-28, and perhaps older revisions" } else { "revisions up to 2025-11-25" };
    session.note(None, Level::Info, format!("asked server/discover: the server speaks {speaks}"));
    Ok(stateless)
}

/// A request of our own in the stateless era.
pub fn request(method: &str) -> Message {
    let info = json!({ "name": "shadowcat", "version": env!("CARGO_PKG_VERSION") });
    let params = compose::enveloped(None, &info, &json!({}));
    Message::parse(compose::request(&Id::text("sc-gateway"), method, Some(&params)))
}
