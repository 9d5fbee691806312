//! The built-in client of an HTTP server: a client of lines on a bridge.

use std::sync::Arc;
use std::time::Duration;

use super::bridge::Bridge;
use super::service::ProxyService;
use crate::client::{Attendance, Client, ClientError};
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

/// A built-in client that is connected to an HTTP server.
pub struct ConnectedClient {
    /// The client.
    pub client: Arc<Client>,
    bridge: Arc<Bridge>,
}

/// Time limit for telling the server that the session is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

impl ConnectedClient {
    /// Returns the path that requests go to.
    pub fn path(&self) -> String {
        self.bridge.path()
    }

    /// Sends a GET without a message to another path of the server, and reads the head of the response and what
    /// comes of a stream at once; it is recorded as all others are.
    pub async fn look(&self, path: &str) {
        /// Time limit for the response.
        const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
        // Whatever comes, or does not come, is in the log.
        let _ = tokio::time::timeout(LOOK_TIMEOUT, self.bridge.look(path)).await;
    }

    /// Ends the streams of the client, and deletes its session at the server.
    pub async fn leave(&self) {
        self.bridge.close(LEAVE_TIMEOUT).await;
    }
}

impl ProxyService {
    /// Connects a built-in client to the server, through this service as any other client. After the
    /// handshake `then` is called with the client, or with the reason why there is none.
    pub fn connect(
        self: &Arc<Self>,
        client: BuiltInClient,
        then: impl FnOnce(Result<Arc<Client>, ClientError>) + Send + 'static,
    ) -> ConnectedClient {
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
        tokio::spawn(Arc::clone(&bridge).run(from_client));
        let greeting = Arc::clone(&client);
        tokio::spawn(async move {
            match greet(&greeting, era).await {
                Ok(()) => {
                    greeting.list_all().await;
                    then(Ok(greeting));
                }
                Err(error) => {
                    let text = format!("our own client found no server: {error}");
                    host.note(SessionId(0), Level::Error, text);
                    then(Err(error));
                }
            }
        });
        ConnectedClient { client, bridge }
    }
}
