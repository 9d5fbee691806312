//! `shadowcat forward http`: an HTTP server, and its clients on a listener of shadowcat.

use std::process::ExitCode;

use clap::Args;
use http::Request;
use hyper::body::Incoming;
use tracing::Instrument;

use crate::cli::failure::Failure;
use crate::cli::http::{HttpEndpoint, ListenArguments, UpstreamArguments, target};
use crate::cli::{output, record, socket};
use crate::host::Host;
use crate::intercept::Chain;
use crate::stdio::lifecycle;

/// Arguments of `forward http`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// URL of the server.
    #[arg(long, value_name = "URL")]
    upstream: String,
    #[command(flatten)]
    way: UpstreamArguments,
    #[command(flatten)]
    listen: ListenArguments,
    #[command(flatten)]
    record: record::Recording,
}

/// Forwards until a signal asks to stop.
///
/// # Errors
/// Fails if an argument is invalid, the login fails, or the address is in use.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { upstream, way, listen, record } = arguments;
    // Layers from the clients to the server and back, outermost first:
    // the log, which records every message before an interceptor rules on it …
    let log = record.log();
    // … the chain, whose only stage so far holds what breakpoints match while a controller is there …
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    // … the engine, which opens sessions and carries out commands …
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    // … the listener that clients connect to, and the proxy service between it and the server …
    let HttpEndpoint { listener, service, url, .. } =
        listen.open(&host, &way, &upstream, record.name.as_deref()).await?;
    // … and the tape, which follows the log at its own pace.
    let mut recorder = record.record(host.log(), &[target(&upstream)]);
    // Screens and scripts attach by the control socket.
    let control =
        socket::serve(&engine, &record, recorder.as_ref(), "forward http", &[target(&upstream)], None);
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let stop = lifecycle::stopped(&mut signals);
    output::say(&format!("listening on {url}"));
    let serving = std::sync::Arc::clone(&service);
    // The path is left out: it can contain the secret name of a session.
    let handle = move |request: Request<Incoming>, peer| {
        let span = tracing::debug_span!("exchange", method = %request.method(), %peer);
        std::sync::Arc::clone(&serving).handle(request, peer).instrument(span)
    };
    listener.serve(handle, stop).await;
    service.close("shadowcat was stopped");
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    Ok(ExitCode::SUCCESS)
}
