//! The built-in client of an HTTP server: a client of lines on a bridge.

use std::sync::Arc;

use super::bridge::Bridge;
use super::service::ProxyService;
use crate::client::{Attendance, Client};
use crate::host::launch::greet;
use crate::log::record::{Level, SessionId};
use crate::mcp::Era;
use crate::transport::memory;

/// The settings of a built-in client that calls an HTTP server.
pub struct BuiltInClient {
    /// Headers of every request, such as credentials that a person gave.
    pub headers: http::HeaderMap,
    /// The era to speak; found out by a probe if `None`.
    pub era: Option<Era>,
    /// Answers what the server asks.
    pub attendance: Attendance,
}

impl ProxyService {
    /// Connects a built-in client to the server, through this service as any other client. After the
    /// handshake `then` is called with the client.
    pub fn connect(
        self: &Arc<Self>,
        client: BuiltInClient,
        then: impl FnOnce(Arc<Client>) + Send + 'static,
    ) -> Arc<Client> {
        /// Capacity of each pipe between the client and its bridge, in chunks.
        const PIPE_CHUNKS: usize = 64;
        let BuiltInClient { headers, era, attendance } = client;
        let host = Arc::clone(&self.exchanges().sessions.context.host);
        let (to_bridge, from_client) = memory::pipe(PIPE_CHUNKS);
        let (to_client, from_bridge) = memory::pipe(PIPE_CHUNKS);
        let limit = host.settings().inspect_limit;
        let bridge = Bridge::new(Arc::clone(self), to_client, headers);
        let root = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let client = Client::start(to_bridge, from_bridge, root, attendance, limit);
        bridge.speaks_for(Arc::clone(&client));
        tokio::spawn(bridge.run(from_client, limit));
        let greeting = Arc::clone(&client);
        tokio::spawn(async move {
            match greet(&greeting, era).await {
                Ok(()) => {
                    greeting.list_all().await;
                    then(greeting);
                }
                Err(error) => {
                    let text = format!("our own client found no server: {error}");
                    host.note(SessionId(0), Level::Error, text);
                }
            }
        });
        client
    }
}
