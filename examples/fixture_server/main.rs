//! Server with everything that the official conformance suite asks for, in both eras, on the Rust
//! SDK: `fixture_server http [ADDR:PORT]` or `fixture_server stdio`.
//!
//! The tests compare the results of the suite for this server with and without shadowcat in
//! between. The server is also useful to try shadowcat on.

#![expect(deprecated, reason = "sampling, roots and logging are on their way out, and still tested")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a fixture stops at the first surprise")]

mod handler;
mod input;
mod tasks;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{LoggingLevel, RequestStateCodec};
use rmcp::service::SubscriptionSink;
use rmcp::task_manager::TaskManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServiceExt};
use serde_json::{Value, json};

/// Handle to the server, which all connections share.
#[derive(Clone)]
struct Fixture(Arc<Shared>);

struct Shared {
    codec: RequestStateCodec,
    /// Open `subscriptions/listen` streams, by number.
    streams: Mutex<BTreeMap<u64, SubscriptionSink>>,
    next_stream: AtomicU64,
    watched: Mutex<HashSet<String>>,
    level: Mutex<LoggingLevel>,
    sessions: Arc<LocalSessionManager>,
    tasks: TaskManager,
}

/// Time after which a client reconnects to a stream that the server closed.
const RETRY: Duration = Duration::from_millis(200);

impl Fixture {
    fn new(sessions: Arc<LocalSessionManager>) -> Self {
        Self(Arc::new(Shared {
            codec: RequestStateCodec::new(b"a key for the tests, of thirty-two bytes or more"),
            streams: Mutex::default(),
            next_stream: AtomicU64::new(0),
            watched: Mutex::default(),
            level: Mutex::new(LoggingLevel::Debug),
            sessions,
            tasks: TaskManager::new(),
        }))
    }

    /// Returns the sinks of all open `subscriptions/listen` streams.
    fn listeners(&self) -> Vec<SubscriptionSink> {
        self.0.streams.lock().unwrap().values().cloned().collect()
    }

    fn seal(&self, round: u64) -> Result<String, ErrorData> {
        self.0
            .codec
            .seal_json(&json!({ "round": round }))
            .map_err(|e| ErrorData::internal_error(e.to_string(), None))
    }

    /// Returns the round that the state of a client names: 0 without state, an error if the state
    /// was tampered with.
    fn round(&self, state: Option<&str>) -> Result<u64, ErrorData> {
        let Some(state) = state else { return Ok(0) };
        let value: Value = self
            .0
            .codec
            .open_json(state)
            .map_err(|e| ErrorData::invalid_params(format!("bad requestState: {e}"), None))?;
        Ok(value["round"].as_u64().unwrap_or(0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("stdio") {
        let running = Fixture::new(Arc::default()).serve(rmcp::transport::stdio()).await?;
        running.waiting().await?;
        return Ok(());
    }
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.sse_retry = Some(RETRY);
    let sessions = Arc::new(sessions);
    let fixture = Fixture::new(Arc::clone(&sessions));
    let config = StreamableHttpServerConfig::default().with_sse_retry(Some(RETRY));
    let service = StreamableHttpService::new(move || Ok(fixture.clone()), sessions, config);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().route_service("/mcp", service)).await?;
    Ok(())
}
