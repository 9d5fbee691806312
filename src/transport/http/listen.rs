//! The listener that clients connect to, with HTTP/1.1 and HTTP/2 on one port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::HttpBody;

/// A listening socket.
pub struct Listener {
    socket: TcpListener,
    grace: Duration,
}

/// The order to close a connection without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection closed without a response")]
pub struct Cut;

/// Time limit for a client to send its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// Time after which a client that acknowledges no data is disconnected.
#[cfg(target_os = "linux")]
const VANISHED: Duration = Duration::from_secs(120);
/// Interval between keep-alive probes of an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Maximum number of bytes of a request's headers.
const HEADER_BYTES: usize = 64 << 10;
/// Default time for running exchanges to end once the listener stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Completes if a connection has sent no request within the time limit.
async fn silent(spoke: &Notify) {
    if tokio::time::timeout(HEADERS, spoke.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Enables the detection of a client that has vanished without closing its connection, by keep-alive
/// probes and by a limit on unacknowledged data.
fn watch_over(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let probing = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    // Without these options such a client only costs memory for longer; ignore errors.
    let _ = socket.set_tcp_keepalive(&probing);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(VANISHED));
}

impl Listener {
    /// Listens on `address`; port 0 selects a free port.
    ///
    /// # Errors
    /// Fails if the address is in use or does not belong to this machine.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, grace: STOP_GRACE })
    }

    /// Sets the time for running exchanges to end once the listener stops.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Returns the address that the listener is bound to.
    ///
    /// # Errors
    /// Fails if the operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers requests with `handler` until `stop` completes, then gives running exchanges the grace
    /// time to end. A connection is closed without a response if `handler` returns [`Cut`].
    pub async fn serve<H, F>(self, handler: H, stop: impl Future<Output = ()>)
    where
        H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<HttpBody>, Cut>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .preserve_header_case(true)
            // The upstream's `Date` is the one that counts.
            .auto_date_header(false);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES as u32)
            .max_concurrent_streams(1000)
            .keep_alive_interval(KEEP_ALIVE)
            .auto_date_header(false);
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = &mut stop => break,
            };
            let Ok((stream, peer)) = accepted else {
                // File descriptors have most likely run out: wait until others are closed.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Small events must not wait for each other. A failure only delays them; ignore it.
            let _ = stream.set_nodelay(true);
            watch_over(&stream);
            let handler = Arc::clone(&handler);
            let spoke = Arc::new(Notify::new());
            let speaking = Arc::clone(&spoke);
            let service = service_fn(move |request| {
                speaking.notify_one();
                handler(request, peer)
            });
            let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    // An exchange notices by itself that its client has gone; ignore the error.
                    _ = connection => {}
                    () = silent(&spoke) => {}
                }
            });
        }
        drop(self.socket);
        let _ = tokio::time::timeout(self.grace, graceful.shutdown()).await;
    }
}
