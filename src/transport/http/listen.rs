//! The listener that clients connect to: HTTP/1.1 and HTTP/2 on one port.

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

use super::Body;

/// A socket that listens.
pub struct Listener {
    socket: TcpListener,
    grace: Duration,
}

/// The connection is closed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("closed on purpose")]
pub struct Cut;

/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// How long a client may acknowledge nothing of what it is sent.
#[cfg(target_os = "linux")]
const VANISHED: Duration = Duration::from_secs(120);
/// How often a client is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Bytes of headers that are read.
const HEADER_BYTES: usize = 64 << 10;
/// How long running exchanges may go on once we are to stop.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Ready when a connection has not said anything for too long.
async fn silent(spoke: &Notify) {
    if tokio::time::timeout(HEADERS, spoke.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Sees to it that a client that vanished without a word is noticed: it neither answers nor takes
/// what it is sent.
fn watch_over(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let probing = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    // Without it such a client costs memory for longer.
    let _ = socket.set_tcp_keepalive(&probing);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(VANISHED));
}

impl Listener {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, grace: STOP_GRACE })
    }

    /// Gives what is under way this long to end once the listener is to stop.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers requests with `handler` until `stop` is ready, then gives what is under way a
    /// moment to end.
    pub async fn serve<H, F>(self, handler: H, stop: impl Future<Output = ()>)
    where
        H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Cut>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .preserve_header_case(true)
            // The upstream's date is the one that counts.
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
                // Out of descriptors, most likely: others have to be closed first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Small events must not wait for each other; without it they are only slower.
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
                    // A client that breaks off is seen by its exchanges.
                    _ = connection => {}
                    () = silent(&spoke) => {}
                }
            });
        }
        drop(self.socket);
        let _ = tokio::time::timeout(self.grace, graceful.shutdown()).await;
    }
}
