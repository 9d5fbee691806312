//! Finding out which era a stdio server speaks, on a process that is thrown away: servers exist
//! that die of what they do not know.

use serde_json::json;

use super::HttpAdapter;
use crate::client::PROBE_PATIENCE;
use crate::log::record::Level;
use crate::mcp::{Direction, Era, Eras, Id, Message, compose};
use crate::stdio::process::ServerProcess;
use crate::stdio::router::Clients;
use crate::transport::child::SpawnError;

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    Stateless,
    Stateful,
    /// No answer: a server of the stateful era, or a slow one.
    Silent,
    /// It ended, and said why.
    Dead(String),
}

/// Asks `server/discover` (2026-07-28, basic/transports/stdio, backward compatibility).
///
/// # Errors
/// When the server cannot be started.
pub async fn probe(adapter: &HttpAdapter) -> Result<ProbeResult, SpawnError> {
    let (session, process) = adapter.start_apart("probe", Clients::One, "the probe is over").await?;
    let verdict = tokio::time::timeout(PROBE_PATIENCE, ask(&process)).await.unwrap_or(ProbeResult::Silent);
    let found = match &verdict {
        ProbeResult::Stateless => "the server speaks 2026-07-28, and perhaps older revisions",
        ProbeResult::Stateful => "the server speaks revisions up to 2025-11-25",
        ProbeResult::Silent => {
            "the server does not answer it, so it is taken for one of revisions up to 2025-11-25"
        }
        ProbeResult::Dead(_) => "the server ended",
    };
    session.note(None, Level::Info, format!("asked server/discover: {found}"));
    Ok(verdict)
}

async fn ask(process: &ServerProcess) -> ProbeResult {
    let dead = || ProbeResult::Dead(process.router.over().unwrap_or_else(|| "it takes nothing".into()));
    let discover = request("server/discover", None);
    let (Ok(room), Ok((_, mut replies))) =
        (process.room(discover.raw().len()).await, process.router.ask(&[&discover]))
    else {
        return dead();
    };
    room.say(discover.raw());
    while let Some(said) = replies.recv().await {
        if said.answer.is_some() {
            let mut eras = Eras::default();
            eras.observe(Direction::ToClient, &Message::parse(said.line), Some("server/discover"));
            return match eras.server.era {
                Some(Era::Stateless) => ProbeResult::Stateless,
                _ => ProbeResult::Stateful,
            };
        }
    }
    dead()
}

/// A request of our own in the stateless era.
pub fn request(method: &str, cursor: Option<String>) -> Message {
    let info = json!({ "name": "shadowcat", "version": env!("CARGO_PKG_VERSION") });
    let params = cursor.map(|cursor| json!({ "cursor": cursor }));
    let params = compose::enveloped(params, &info, &json!({}));
    Message::parse(compose::request(&Id::text("sc-gateway"), method, Some(&params)))
}
