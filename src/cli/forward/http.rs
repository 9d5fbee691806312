//! `shadowcat forward http`: an HTTP server, and its clients on a listener of ours.

use std::process::ExitCode;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::http::{HttpEndpoint, ListenArguments, UpstreamArguments, target};
use crate::cli::{output, record, socket};
use crate::host::Host;
use crate::stdio::lifecycle;

/// Arguments of `forward http`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The server's URL.
    #[arg(long, value_name = "URL")]
    upstream: String,
    #[command(flatten)]
    way: UpstreamArguments,
    #[command(flatten)]
    listen: ListenArguments,
    #[command(flatten)]
    record: record::Recording,
}

/// Forwards until a signal comes.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { upstream, way, listen, record } = arguments;
    // From the clients to the server and back, outermost first:
    // the log, that everything is recorded in before anyone rules on it …
    let log = record.log();
    // … the engine, which holds what breakpoints match while somebody is there to decide …
    let (host, engine) = Host::start(log, record.settings());
    record.arm(&host);
    // … the listener that clients connect to, and the service between it and the server …
    let HttpEndpoint { listener, service, url, .. } =
        listen.open(&host, &way, &upstream, record.name.as_deref()).await?;
    // … and the tape, which follows the log at its own pace.
    let mut recorder = record.record(host.log(), &[target(&upstream)]);
    // Whoever wants to look or decide comes by the control socket.
    let control =
        socket::serve(&engine, &record, recorder.as_ref(), "forward http", &[target(&upstream)], None);
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let stop = lifecycle::stopped(&mut signals);
    output::say(&format!("listening on {url}"));
    let serving = std::sync::Arc::clone(&service);
    listener.serve(move |request, peer| std::sync::Arc::clone(&serving).handle(request, peer), stop).await;
    service.close("shadowcat was stopped");
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    Ok(ExitCode::SUCCESS)
}
