//! Finding out which era a stdio server speaks, on a process that is discarded: servers exist that end
//! at an unknown method.

use serde_json::json;

use super::HttpAdapter;
use crate::client::PROBE_PATIENCE;
use crate::log::record::Level;
use crate::mcp::{Direction, Era, Eras, Id, Message, compose};
use crate::stdio::process::ServerProcess;
use crate::stdio::router::Clients;
use crate::transport::child::SpawnError;

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The server speaks the stateless era, and perhaps the stateful one.
    Stateless,
    /// The server speaks the stateful era only.
    Stateful,
    /// The server did not answer: it speaks the stateful era, or is slow.
    Silent,
    /// The server ended, for this reason.
    Ended(String),
}

/// Sends `server/discover` (2026-07-28, basic/transports/stdio, backward compatibility).
///
/// # Errors
/// If the server cannot be started.
pub async fn probe(adapter: &HttpAdapter) -> Result<ProbeResult, SpawnError> {
    let (session, process) = adapter.start_apart("probe", Clients::One, "the probe is over").await?;
    let result = tokio::time::timeout(PROBE_PATIENCE, ask(&process)).await.unwrap_or(ProbeResult::Silent);
    let found = match &result {
        ProbeResult::Stateless => "the server speaks 2026-07-28, and perhaps older revisions",
        ProbeResult::Stateful => "the server speaks revisions up to 2025-11-25",
        ProbeResult::Silent => "no answer, so the server is treated as one of revisions up to 2025-11-25",
        ProbeResult::Ended(_) => "the server ended",
    };
    session.note(None, Level::Info, format!("asked server/discover: {found}"));
    Ok(result)
}

async fn ask(process: &ServerProcess) -> ProbeResult {
    let ended = || ProbeResult::Ended(process.router.over().unwrap_or_else(|| "its stdin is closed".into()));
    let discover = request("server/discover", None);
    let (Ok(permit), Ok((_, mut replies))) =
        (process.reserve(discover.raw().len()).await, process.router.ask(&[&discover]))
    else {
        return ended();
    };
    permit.write(discover.raw());
    while let Some(reply) = replies.recv().await {
        if reply.answers.is_some() {
            let mut eras = Eras::default();
            eras.observe(Direction::ToClient, &reply.message, Some("server/discover"));
            return match eras.server.era {
                Some(Era::Stateless) => ProbeResult::Stateless,
                _ => ProbeResult::Stateful,
            };
        }
    }
    ended()
}

/// Composes a request of our own in the stateless era.
pub fn request(method: &str, cursor: Option<String>) -> Message {
    let info = json!({ "name": "shadowcat", "version": env!("CARGO_PKG_VERSION") });
    let params = cursor.map(|cursor| json!({ "cursor": cursor }));
    let params = compose::enveloped(params, &info, &json!({}));
    Message::parse(compose::request(&Id::text("sc-gateway"), method, Some(&params)))
}
