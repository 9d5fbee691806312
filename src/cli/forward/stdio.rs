//! `shadowcat forward stdio`: a stdio server, and its client on our own standard streams.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::http::{UpstreamArguments, service, target};
use crate::cli::{record, socket};
use crate::host::Host;
use crate::http::{Bridge, ProxyOptions};
use crate::stdio::lifecycle;
use crate::stdio::link::End;
use crate::stdio::restart::RestartableServer;
use crate::transport::child::{Ended, Spec};
use crate::transport::http::Guard;
use crate::transport::{memory, stdio};

/// Arguments of `forward stdio`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    record: record::Recording,
    /// The URL of an HTTP server: its client here speaks stdio all the same.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    #[command(flatten)]
    way: UpstreamArguments,
    /// When the server ends, stay: what its client asks is answered with an error until the server is
    /// started again (`Space s r` in the screen, `shadowcat ctl restart`).
    #[arg(long, conflicts_with = "upstream")]
    stay: bool,
    /// The server's command line.
    #[arg(last = true, required_unless_present = "upstream", value_name = "CMD")]
    command: Vec<String>,
}

/// How long closing the streams may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Forwards until the server has ended, and exits as it did.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { record, upstream, way, stay, command } = arguments;
    if let Some(upstream) = upstream {
        return bridge(&upstream, &way, &record).await;
    }
    // From the client's bytes to the server and back, outermost first:
    // the log, that everything is recorded in before anyone rules on it …
    let log = record.log();
    // … the tape, which follows it at its own pace …
    let mut recorder = record.record(&log, &command);
    // … the engine, which holds what breakpoints match while somebody is there to decide …
    let (host, engine) = Host::start(log, record.settings());
    record.arm(&host);
    // … the server, in a process group of its own …
    let target = host.cleaner().command(&command);
    let spec = Spec { command, directory: None };
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let (server, streams) = RestartableServer::start(&spec, stay).map_err(|error| {
        Failure::peer(error).hint("the command after -- is started as it stands, without a shell")
    })?;
    // … and the client, on our own standard streams.
    let (input, output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let watched = lifecycle::ClientWatch { input: input.watch(), output: output.watch() };
    let stderr: Box<dyn io::Write + Send> = Box::new(stdio::stderr().map_err(Failure::peer)?);
    let client = End { source: Box::new(input), sink: Box::new(output) };
    // Whoever wants to look or decide comes by the control socket.
    let control = socket::serve(&engine, &record, recorder.as_ref(), "forward stdio", &target, None);
    let name = record.name_for(&spec.command);
    let (session, threads) =
        host.open_stdio(&name, &spec, streams, client, stderr, false).map_err(Failure::peer)?;
    server.bind(&session);

    let ended = host.run_restartable(&server, &session, &threads, Some(&watched), &mut signals).await;
    let stop = async {
        // Whoever asks a second time does not want to wait for the client.
        signals.recv().await;
    };
    lifecycle::wind_down(&session, &threads, || watched.output.is_hung_up(), stop).await;
    session.close("the server ended", Some(ended.into()));
    threads.closed(CLOSE).await;
    // Before those who follow are let go: what they were not told they read from the tape.
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    exit_as(ended)
}

/// Bridges our standard streams to an HTTP server until the client has closed them.
async fn bridge(url: &str, way: &UpstreamArguments, record: &record::Recording) -> Result<ExitCode, Failure> {
    /// Chunks in flight between our streams and the bridge.
    const PIPE_CHUNKS: usize = 64;
    let log = record.log();
    let mut recorder = record.record(&log, &[target(url)]);
    let (host, engine) = Host::start(log, record.settings());
    record.arm(&host);
    let control = socket::serve(&engine, record, recorder.as_ref(), "forward stdio", &[target(url)], None);
    let (upstream, _) = way.connect(url, false, &host).await?;
    let nobody = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
    let service = service(&host, upstream, nobody, record.name.as_deref(), ProxyOptions::default());
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let (mut input, mut output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let (mut to_bridge, from_client) = memory::pipe(PIPE_CHUNKS);
    let (to_client, mut from_bridge) = memory::pipe(PIPE_CHUNKS);
    let watched = output.watch();
    // Blocking copies: both streams may be of any kind.
    let reading = move || io::copy(&mut input, &mut to_bridge);
    std::thread::Builder::new().name("stdin".into()).spawn(reading).map_err(Failure::peer)?;
    let writing = move || io::copy(&mut from_bridge, &mut output);
    let written = std::thread::Builder::new().name("stdout".into()).spawn(writing).map_err(Failure::peer)?;
    let bridge = Bridge::new(Arc::clone(&service), to_client, way.headers()?);
    let interrupted = tokio::select! {
        () = Arc::clone(&bridge).run(from_client, record.bounds.inspect_limit) => None,
        // A client that is gone cannot be told from one that is silent until something is written.
        () = hung_up(&watched) => Some(None),
        signal = signals.recv() => Some(signal),
    };
    if interrupted.is_some() {
        bridge.leave().await;
    }
    drop(bridge);
    service.close("the client ended");
    if interrupted.is_none() {
        // A writer that fails has lost its client.
        let _ = tokio::task::spawn_blocking(move || written.join()).await;
    }
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    match interrupted {
        // The thread that reads may be blocked in its read, which only the end of the process ends.
        None | Some(None) => std::process::exit(0),
        Some(Some(signal)) => exit_as(Ended::Signal(signal as i32)),
    }
}

/// Ready when nobody reads our standard output any more.
async fn hung_up(output: &stdio::Watch) {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    while !output.is_hung_up() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Ends this process the way the server ended. The lane that reads the client may be blocked in
/// its read, which only the end of the process ends.
fn exit_as(ended: Ended) -> Result<ExitCode, Failure> {
    match ended {
        Ended::Code(code) => std::process::exit(code),
        Ended::Signal(signal) => {
            // Dies of the same signal where that is possible; else says it as shells do.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal)
        }
    }
}
