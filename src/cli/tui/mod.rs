//! `shadowcat tui`: a screen for a server, a recording, or all running sessions.

mod home;
mod remote;
mod tape;

use crate::cli::values::EraChoice;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::appearance::AppearanceArguments;
use super::attach;
use super::failure::Failure;
use super::http::{HttpEndpoint, ListenArguments, UpstreamArguments, target};
use super::output::Color;
use super::record;
use super::screens::{Showing, TerminalSession, attached};
use super::socket;
use crate::client::Attendance;
use crate::host::Host;
use crate::host::launch::{Launch, launch};
use crate::http::BuiltInClient;
use crate::intercept::Chain;
use crate::log::SessionId;
use crate::log::record::Level;
use crate::mcp::Era;
use crate::transport::child::Spec;
use crate::tui::Appearance;

/// Arguments of `tui`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Protocol era to speak with the server.
    #[arg(long, value_enum, default_value_t)]
    era: EraChoice,
    #[command(flatten)]
    record: record::Recording,
    #[command(flatten)]
    appearance: AppearanceArguments,
    /// Debug the HTTP server at this URL; clients connect to --listen.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    /// With --upstream, do not connect the built-in client.
    #[arg(long, requires = "upstream")]
    no_client: bool,
    #[command(flatten)]
    way: UpstreamArguments,
    #[command(flatten)]
    listen: ListenArguments,
    /// Recording to show: a file, or the beginning of a name or id in the library.
    #[arg(value_name = "TAPE", conflicts_with_all = ["upstream", "command"])]
    recording: Option<String>,
    /// Show what runs on another machine, by running `shadowcat ctl` there.
    #[arg(long, value_name = "ssh://HOST", conflicts_with_all = ["upstream", "command", "recording"])]
    via: Option<String>,
    /// Command line of the server.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Shows the screen that the arguments ask for, until the user leaves.
///
/// # Errors
/// Fails if an argument is invalid, a server cannot be started or reached, or there is no terminal.
pub async fn run(arguments: Arguments, color: Color) -> Result<ExitCode, Failure> {
    let Arguments { era, record, appearance, upstream, no_client, way, listen, recording, via, command } =
        arguments;
    let appearance = appearance.resolve(color)?;
    if let Some(name) = recording {
        return tape::run(&name, appearance).await;
    }
    if command.is_empty() && upstream.is_none() {
        return home::run(via.as_deref(), appearance).await;
    }
    let era = era.era();
    if let Some(upstream) = upstream {
        let stand = Stand { upstream, way, listen, record, client: (!no_client).then_some(era) };
        return stand_before(stand, appearance).await;
    }
    let spec = found(&record, command)?;
    TerminalSession::alone(async |terminal| run_server(terminal, spec, era, &record, appearance, false).await)
        .await
}

/// Returns the spec of a command line whose program exists.
fn found(record: &record::Recording, command: Vec<String>) -> Result<Spec, Failure> {
    let spec = record.spec(command);
    spec.find()?;
    Ok(spec)
}

/// Runs a server under the debugger until the user leaves, and returns a summary line. `returns_home`
/// is `true` if another screen follows.
async fn run_server(
    terminal: &mut TerminalSession,
    spec: Spec,
    era: Option<Era>,
    record: &record::Recording,
    appearance: Appearance,
    returns_home: bool,
) -> Result<String, Failure> {
    let command = spec.command.clone();
    // The log, and the tape that follows it …
    let log = record.log();
    let recorder = record.record(&log, &command);
    // … the engine, with a controller at the screen …
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    let engine = attached(&host, &engine);
    // … the control socket, for other screens and for clients that attach …
    let target = host.cleaner().command(&command);
    let attach = attach::with_server(&host, record.name_for(&command), command.clone());
    let control = socket::serve(&engine, record, recorder.as_ref(), "tui", &target, Some(attach));
    // … the server, and the built-in client …
    let server = Launch { name: record.name_for(&command), spec, era, attendance: Attendance::Person };
    launch(&host, server, |_| ())?;
    // … and the screen on top.
    let showing = Showing { host: &host, engine, recorder, appearance, returns_home };
    showing.until_left(terminal, || socket::close(control)).await
}

/// Parameters of a screen in front of an HTTP server.
struct Stand {
    upstream: String,
    way: UpstreamArguments,
    listen: ListenArguments,
    record: record::Recording,
    /// Era of the built-in client, `Some(None)` to find it out; `None` if that client does not connect.
    client: Option<Option<Era>>,
}

/// Runs the screen in front of an HTTP server until the user leaves.
async fn stand_before(stand: Stand, appearance: Appearance) -> Result<ExitCode, Failure> {
    let Stand { upstream, way, listen, record, client } = stand;
    // The log, and the engine with a controller at the screen …
    let log = record.log();
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    let engine = attached(&host, &engine);
    // … the listener that clients connect to, and the proxy service between it and the server …
    let HttpEndpoint { listener, service, url, tokens } =
        listen.open(&host, &way, &upstream, record.name.as_deref()).await?;
    host.note(SessionId(0), Level::Info, format!("clients connect to {}", target(&url)));
    // … the tape …
    let recorder = record.record(host.log(), &[target(&upstream)]);
    let control = socket::serve(&engine, &record, recorder.as_ref(), "tui", &[target(&upstream)], None);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = Arc::clone(&service);
    let served = tokio::spawn(listener.serve(
        move |request, peer| Arc::clone(&serving).handle(request, peer),
        async {
            // `Err` means that the sender was dropped: stop too.
            let _ = stopped.await;
        },
    ));
    // … the built-in client, beside those that connect …
    let headers = way.headers()?;
    let client = client
        .map(|era| service.connect(BuiltInClient { headers, era, attendance: Attendance::Person }, |_| ()));
    // … and the screen on top.
    if let Some(tokens) = &tokens {
        tokens.leave_terminal();
    }
    let appearance = Appearance { waiting: Some(format!("clients connect to {url}")), ..appearance };
    let showing = Showing { host: &host, engine, recorder, appearance, returns_home: false };
    let then = async || {
        if let Some(client) = &client {
            client.leave().await;
        }
        service.close("the screen was closed");
        drop(stop);
        // No time-out is needed: the listener bounds its shutdown itself.
        let _ = served.await;
        socket::close(control).await;
    };
    TerminalSession::alone(async |terminal| showing.until_left(terminal, then).await).await
}
