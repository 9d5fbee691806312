//! `shadowcat forward stdio`: a stdio server, and its client on the standard streams of this process.

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
use crate::intercept::Chain;
use crate::stdio::lifecycle;
use crate::stdio::link::LinkEnd;
use crate::stdio::restart::RestartableServer;
use crate::transport::child::ProcessExit;
use crate::transport::http::Guard;
use crate::transport::{memory, stdio};

/// Arguments of `forward stdio`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    record: record::Recording,
    /// URL of an HTTP server; its client here speaks stdio all the same.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    #[command(flatten)]
    way: UpstreamArguments,
    /// Stay when the server ends: requests of the client are answered with an error until the server
    /// is started again (`Space s r` in the screen, `shadowcat ctl restart`).
    #[arg(long, conflicts_with = "upstream")]
    stay: bool,
    /// Command line of the server.
    #[arg(last = true, required_unless_present = "upstream", value_name = "CMD")]
    command: Vec<String>,
}

/// Time limit for closing the streams.
const CLOSE: Duration = Duration::from_secs(1);

/// Forwards until the server has ended, then exits the process with the server's exit status.
///
/// # Errors
/// Fails if the server cannot be started or reached, or an argument is invalid.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { record, upstream, way, stay, command } = arguments;
    if let Some(upstream) = upstream {
        return bridge(&upstream, &way, &record).await;
    }
    // Layers from the client's bytes to the server and back, outermost first:
    // the log, which records every message before an interceptor rules on it …
    let log = record.log();
    // … the tape, which follows the log at its own pace …
    let mut recorder = record.record(&log, &command);
    // … the chain, whose only stage so far holds what breakpoints match while a controller is there …
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    // … the engine, which opens sessions and carries out commands …
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    // … the server, in a process group of its own …
    let target = host.cleaner().command(&command);
    let spec = record.spec(command);
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let (server, streams) = RestartableServer::start(&spec, stay)?;
    // … and the client, on the standard streams of this process.
    let (input, output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let watched = lifecycle::ClientWatch { input: input.watch(), output: output.watch() };
    let stderr: Box<dyn io::Write + Send> = Box::new(stdio::stderr().map_err(Failure::peer)?);
    let client = LinkEnd { source: Box::new(input), sink: Box::new(output) };
    // Screens and scripts attach by the control socket.
    let control = socket::serve(&engine, &record, recorder.as_ref(), "forward stdio", &target, None);
    let name = record.name_for(&spec.command);
    let (session, threads) =
        host.open_stdio(&name, &spec, streams, client, stderr, false).map_err(Failure::peer)?;
    server.bind(&session);

    let ended = host.run_restartable(&server, &session, &threads, Some(&watched), &mut signals).await;
    let stop = async {
        // A signal after the server's end means: do not wait for the client.
        signals.recv().await;
    };
    lifecycle::wind_down(&session, &threads, || watched.output.is_hung_up(), stop).await;
    session.close("the server ended", Some(ended.into()));
    threads.closed(CLOSE).await;
    // Finish the tape before followers of the control socket are disconnected: they read the records
    // that they missed from the tape.
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    exit_as(ended)
}

/// Bridges the standard streams to an HTTP server until the client has closed them, then exits the
/// process.
async fn bridge(url: &str, way: &UpstreamArguments, record: &record::Recording) -> Result<ExitCode, Failure> {
    /// Capacity of each pipe between the standard streams and the bridge, in chunks.
    const PIPE_CHUNKS: usize = 64;
    /// Time limit for telling the server that the session is over.
    const DELETE_TIMEOUT: Duration = Duration::from_secs(2);
    let log = record.log();
    let mut recorder = record.record(&log, &[target(url)]);
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    let control = socket::serve(&engine, record, recorder.as_ref(), "forward stdio", &[target(url)], None);
    let (upstream, _) = way.connect(url, false, &host).await?;
    let nobody = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
    let options = ProxyOptions { explains: true, ..ProxyOptions::default() };
    let service = service(&host, upstream, nobody, record.name.as_deref(), options);
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let (mut input, mut output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let (mut to_bridge, from_client) = memory::pipe(PIPE_CHUNKS);
    let (to_client, mut from_bridge) = memory::pipe(PIPE_CHUNKS);
    let watched = output.watch();
    // Blocking copies work on streams of any kind.
    let reading = move || io::copy(&mut input, &mut to_bridge);
    std::thread::Builder::new().name("stdin".into()).spawn(reading).map_err(Failure::peer)?;
    let writing = move || io::copy(&mut from_bridge, &mut output);
    let written = std::thread::Builder::new().name("stdout".into()).spawn(writing).map_err(Failure::peer)?;
    let bridge = Bridge::new(Arc::clone(&service), to_client, way.headers()?);
    // A strong reference would keep the writer of stdout from its end.
    let ending = Arc::downgrade(&bridge);
    let ended = async |patience: Duration| {
        if let Some(bridge) = ending.upgrade() {
            bridge.close(patience).await;
        }
    };
    let work = async {
        // Reading does not tell a client that is gone from a silent one: poll for the hang-up of stdout.
        tokio::select! {
            () = bridge.run(from_client) => {}
            () = hung_up(&watched) => {}
        }
        ended(DELETE_TIMEOUT).await;
        service.close("the client ended");
        // The writer ends with the last task of the bridge; one that fails has lost its client.
        tokio::select! {
            _ = tokio::task::spawn_blocking(move || written.join()) => {}
            () = hung_up(&watched) => {}
        }
    };
    let signal = tokio::select! {
        () = work => None,
        signal = signals.recv() => signal,
    };
    if signal.is_some() {
        // The official SDKs kill two seconds after their signal, and a second signal does not wait.
        tokio::select! {
            () = ended(DELETE_TIMEOUT / 2) => {}
            _ = signals.recv() => {}
        }
        service.close("stopped by a signal");
    }
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    socket::close(control).await;
    match signal {
        // The thread that reads may be blocked in its read; only the end of the process ends it.
        None => std::process::exit(0),
        Some(signal) => exit_as(ProcessExit::Signal(signal as i32)),
    }
}

/// Completes when nothing reads standard output any more.
async fn hung_up(output: &stdio::Watch) {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    while !output.is_hung_up() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Ends this process the way the server ended. The thread that reads the client may be blocked in its
/// read, which only the end of the process ends.
fn exit_as(ended: ProcessExit) -> Result<ExitCode, Failure> {
    match ended {
        ProcessExit::Code(code) => std::process::exit(code),
        ProcessExit::Signal(signal) => {
            // Die of the same signal if possible; otherwise exit with 128 plus its number, as shells
            // do.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal)
        }
    }
}
