//! `shadowcat demo`: a tour of the screen, with nothing to install.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::HeaderMap;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::output::Color;
use super::{appearance, record, screens, socket};
use crate::client::{Attendance, Client};
use crate::demo::{script, server};
use crate::host::launch::{Launch, launch};
use crate::host::{Host, Settings};
use crate::http::{BuiltInClient, HttpUpstream, ProxyOptions, ProxyService};
use crate::intercept::Chain;
use crate::log::Log;
use crate::mcp::Era;
use crate::serve::{HttpAdapter, SessionLimits};
use crate::transport::child::Spec;
use crate::transport::http::{Guard, Listener, Upstream, UpstreamOptions};
use crate::tui::Appearance;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Speak HTTP with the server.
    #[arg(long)]
    http: bool,
    #[command(flatten)]
    record: record::Recording,
    #[command(flatten)]
    appearance: appearance::AppearanceArguments,
}

/// Arguments of the demo's server.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// Duration of one step of a slow call, in milliseconds.
    #[arg(long, default_value_t = 400)]
    pace: u64,
}

/// Returns name, era and attendance of the two sessions of the demo: a script answers the first, the
/// user may answer the second.
fn sessions() -> [(&'static str, Era, Attendance); 2] {
    [
        ("demo-2026", Era::Stateless, Attendance::Script(script::answer())),
        ("demo-2025", Era::Stateful, Attendance::Person),
    ]
}

/// Opens the screen on the built-in server, in both eras, with clients that make the calls of a
/// script.
///
/// # Errors
/// Fails if the theme is unknown, there is no terminal, or the server or the listener cannot be
/// started.
pub async fn run(arguments: Arguments, color: Color) -> Result<ExitCode, Failure> {
    let Arguments { http, record, appearance } = arguments;
    let appearance = appearance.resolve(color)?;
    screens::TerminalSession::alone(async |terminal| match http {
        true => over_http(terminal, &record, appearance).await,
        false => show(terminal, &record, appearance, false).await,
    })
    .await
}

/// Returns the command line that starts the demo's server.
fn spec() -> Result<Spec, Failure> {
    let program = std::env::current_exe().map_err(Failure::usage)?;
    Ok(Spec::new(vec![program.display().to_string(), "demo-server".to_owned()]))
}

/// Shows the demo until the user leaves it, and returns a summary line.
///
/// # Errors
/// Fails if the server cannot be started or the terminal has gone.
pub async fn show(
    terminal: &mut screens::TerminalSession,
    record: &record::Recording,
    appearance: Appearance,
    returns_home: bool,
) -> Result<String, Failure> {
    let spec = spec()?;
    let log = record.log();
    let recorder = record.record(&log, &["demo".to_owned()]);
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    let engine = screens::attached(&host, &engine);
    let control = socket::serve(&engine, record, recorder.as_ref(), "demo", &["demo".to_owned()], None);
    for (name, era, attendance) in sessions() {
        let server = Launch { name: name.to_owned(), spec: spec.clone(), era: Some(era), attendance };
        launch(&host, server, move |client| play(client, era)).map_err(Failure::peer)?;
    }
    let showing = screens::Showing { host: &host, engine, recorder, appearance, returns_home };
    showing.until_left(terminal, || socket::close(control)).await
}

/// Shows the demo over HTTP, between real sockets on this machine.
async fn over_http(
    terminal: &mut screens::TerminalSession,
    record: &record::Recording,
    appearance: Appearance,
) -> Result<String, Failure> {
    let (stop, stopped) = oneshot::channel();
    let (url, served) = serve_http(spec()?, record, stopped).await?;
    // Parts as in front of any server: the log and its tape, the engine, the proxy service, and both
    // clients.
    let log = record.log();
    let recorder = record.record(&log, &["demo".to_owned()]);
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    let (host, engine) = Host::start(log, record.settings(&breakpoints), chain);
    let engine = screens::attached(&host, &engine);
    let control = socket::serve(&engine, record, recorder.as_ref(), "demo", &["demo".to_owned()], None);
    let upstream = Upstream::new(&url, &UpstreamOptions::default()).map_err(Failure::usage)?;
    let service = ProxyService::new(
        Arc::clone(&host),
        HttpUpstream::new(upstream),
        nobody(),
        "demo-http".into(),
        ProxyOptions::default(),
    );
    let clients = sessions().map(|(_, era, attendance)| {
        let client = BuiltInClient { headers: HeaderMap::new(), era: Some(era), attendance };
        service.connect(client, move |client| {
            if let Ok(client) = client {
                play(client, era);
            }
        })
    });
    let showing = screens::Showing { host: &host, engine, recorder, appearance, returns_home: false };
    let outcome = showing.until_left(terminal, || async {
        for client in &clients {
            client.leave().await;
        }
        service.close("the screen was closed");
        drop(stop);
        // No time-out is needed: the listener bounds its shutdown itself.
        let _ = served.await;
        socket::close(control).await;
    });
    outcome.await
}

/// Serves the demo's server over HTTP, as the gateway would, until `stopped` completes. Returns its
/// URL and the serving task. Its sessions have a log of their own, which is not shown.
async fn serve_http(
    spec: Spec,
    record: &record::Recording,
    stopped: oneshot::Receiver<()>,
) -> Result<(String, tokio::task::JoinHandle<()>), Failure> {
    /// Maximum number of sessions at a time: those of the demo, and some that a user opens to try.
    const MAX_SESSIONS: usize = 16;
    let log = Log::new(record.log().clock().clone(), 1 << 20);
    // The chain is empty: messages of this demo server pass unchanged, and the other engine holds them.
    let (host, _) = Host::start(log, Settings::default(), Chain::new());
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.map_err(Failure::usage)?;
    let address = listener.address().map_err(Failure::usage)?;
    let limits = SessionLimits { count: MAX_SESSIONS, idle: Duration::ZERO };
    let adapter = HttpAdapter::new(Arc::clone(&host), "demo".into(), spec, limits);
    let service =
        ProxyService::new(host, Arc::clone(&adapter) as _, nobody(), "demo".into(), ProxyOptions::default());
    let served = tokio::spawn(async move {
        let serving = Arc::clone(&service);
        let stopped = async {
            // `Err` means that the sender was dropped: stop too.
            let _ = stopped.await;
        };
        listener.serve(move |request, peer| Arc::clone(&serving).handle(request, peer), stopped).await;
        service.close("the demo is over");
        adapter.close().await;
    });
    Ok((format!("http://{address}/mcp"), served))
}

fn nobody() -> Guard {
    Guard::new(Ipv4Addr::LOCALHOST.into(), &[])
}

/// Makes the calls of the script, each after its pause, and goes on with some of them until the server ends.
fn play(client: Arc<Client>, era: Era) {
    tokio::spawn(async move {
        let repeated = std::iter::repeat_with(|| script::repeated(era)).flatten();
        for step in script::steps(era).into_iter().chain(repeated) {
            tokio::time::sleep(step.after).await;
            if client.call(step.method, Some(step.params)).await.is_err() {
                // The server has ended, and the screen shows it.
                return;
            }
        }
    });
}

/// Runs the demo's server on standard input and output.
///
/// # Errors
/// Fails if standard input cannot be read.
pub fn serve(arguments: &ServerArguments) -> Result<ExitCode, Failure> {
    let pace = Duration::from_millis(arguments.pace);
    server::serve(io::stdin().lock(), io::stdout(), pace).map_err(Failure::peer)?;
    Ok(ExitCode::SUCCESS)
}
