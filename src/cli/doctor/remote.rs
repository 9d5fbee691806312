//! Examination of an HTTP server with the built-in client.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Arguments, EVIDENCE_BYTES, Examination, INSPECTED_BYTES, calls, folded};
use crate::cli::failure::Failure;
use crate::cli::http::{service, target};
use crate::client::Attendance;
use crate::clock::Clock;
use crate::host::{Host, Settings};
use crate::http::{BuiltInClient, ConnectedClient, ProxyOptions};
use crate::intercept::Chain;
use crate::log::Log;
use crate::log::record::{FrameKind, Origin};
use crate::stdio::lifecycle;
use crate::transport::http::Guard;

/// Calls an HTTP server with the built-in client.
pub(super) async fn called(url: &str, arguments: &Arguments) -> Result<Examination, Failure> {
    let log = Log::new(Clock::system(), EVIDENCE_BYTES);
    let (host, _engine) = Host::start(
        Arc::clone(&log),
        Settings { inspect_limit: INSPECTED_BYTES, ..Settings::default() },
        Chain::new(),
    );
    let (server, _) = arguments.way.connect(url, false, &host).await?;
    let nobody = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
    let service =
        service(&host, server, nobody, None, ProxyOptions { explains: true, ..ProxyOptions::default() });
    let (tell, told) = tokio::sync::oneshot::channel();
    let client = BuiltInClient {
        headers: arguments.way.headers()?,
        era: arguments.era.era(),
        attendance: Attendance::Nobody,
    };
    let deadline = Instant::now() + arguments.timeout;
    let connected = service.connect(client, move |client| {
        // The receiver may have given up waiting; ignore the error.
        let _ = tell.send(client);
    });
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    // A failed handshake or a time-out is not an error here: the checks find it in the log.
    let examined = async {
        match told.await {
            Ok(Ok(client)) => {
                calls::settle(&client, deadline).await;
                calls::make(arguments, &client, &log, deadline).await;
            }
            Ok(Err(_)) => look_around(&connected, &log).await,
            Err(_) => {}
        }
    };
    let mut is_interrupted = false;
    tokio::select! {
        () = examined => {}
        () = tokio::time::sleep_until(deadline) => {}
        () = lifecycle::stopped(&mut signals) => is_interrupted = true,
    }
    connected.leave().await;
    service.close("all requests were sent");
    Ok(Examination { title: target(url), world: folded(&log), log, outside: Vec::new(), is_interrupted })
}

/// Asks with GET, which changes nothing, whether there is an MCP endpoint at the usual paths, if the server has
/// responded with a status that says that there is none here.
async fn look_around(connected: &ConnectedClient, log: &Log) {
    const PATHS: [&str; 4] = ["/mcp", "/mcp/", "/sse", "/"];
    let world = folded(log);
    let is_elsewhere = world.rows.iter().any(|row| {
        let is_page = row.status() == Some(200) && row.kind == FrameKind::Http;
        row.origin() == Origin::Wire && (is_page || matches!(row.status(), Some(300..=399 | 404 | 405)))
    });
    if !is_elsewhere {
        return;
    }
    let own = connected.path();
    let others = PATHS.into_iter().map(str::to_owned).filter(|path| *path != own);
    for path in std::iter::once(own.clone()).chain(others) {
        connected.look(&path).await;
    }
}
