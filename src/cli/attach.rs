//! `shadowcat attach`: a client's standard streams, joined to a shadowcat that launched a server.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::failure::Failure;
use crate::control;
use crate::control::reach::EngineSelector;
use crate::control::server::{Attach, Guest, Joined};
use crate::host::{Backend, Host, SharedServer};
use crate::log::SessionId;
use crate::log::record::Level;
use crate::mcp::Era;
use crate::session::Session;
use crate::stdio::drive::Threads;
use crate::stdio::lifecycle::{TERM_GRACE, until_left, wind_down};
use crate::stdio::link::End;
use crate::stdio::restart::RestartableServer;
use crate::transport::child::Spec;
use crate::transport::stdio;

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The name of the server, as the screen that launched it shows it, or the process id of its
    /// shadowcat.
    name: String,
    /// Share the process that runs, also with a server of a revision before 2026-07-28: it is greeted
    /// once, and every client sees what others change in it.
    #[arg(long)]
    share: bool,
}

/// How often it is looked for a server that is being started, and how long for one that does not run.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// Copies until either side has ended.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let selector = EngineSelector { name: Some(arguments.name.clone()), by: "attach".to_owned() };
    let path = selector.one().await?.path;
    let stream = control::client::join(&path, "attach", arguments.share).await.map_err(|error| {
        Failure::from(error).hint("`shadowcat tui -- CMD` launches a server that clients can attach to")
    })?;
    let (mut input, mut output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let mut up = stream.try_clone().map_err(Failure::peer)?;
    // Blocking copies: both streams may be of any kind.
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            // However it ends, the server learns that its client says no more.
            let _ = std::io::copy(&mut input, &mut up);
            let _ = up.shutdown(Shutdown::Write);
        })
        .map_err(Failure::peer)?;
    let mut down = stream;
    let copied = tokio::task::spawn_blocking(move || copy(&mut down, &mut output)).await;
    // A client that is gone is how this ends.
    drop(copied);
    // The thread that reads standard input may be blocked in its read.
    std::process::exit(0)
}

fn copy(from: &mut UnixStream, to: &mut impl Write) -> std::io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..length])?;
        to.flush()?;
    }
}

/// Takes in the clients that attach to what a screen launched: a process that speaks 2026-07-28 is
/// shared; one of an earlier revision is started once more for each client that does not ask to share.
/// Each has a session of its own beside the others.
pub fn with_server(host: &Arc<Host>, name: String, command: Vec<String>) -> Attach {
    let host = Arc::downgrade(host);
    let runtime = Handle::current();
    let spec = Spec { command, directory: None };
    Arc::new(move |guest: Guest| -> Joined {
        let host = host.upgrade().filter(|host| !host.is_ending()).ok_or("the screen is being closed")?;
        let (name, spec) = (name.clone(), spec.clone());
        // What holds up the control socket must not hold up a session.
        runtime.spawn(async move {
            let who = guest.name.clone();
            let joined = match greeted(&host).await {
                Some(shared) if guest.shares || shared.era == Era::Stateless => {
                    share(&host, &name, &spec, shared, guest.stream).await
                }
                None if guest.shares => Err("the server that would be shared does not run".to_owned()),
                _ => alone(&host, &name, &spec, guest.stream).await,
            };
            if let Err(why) = joined {
                host.note(SessionId(0), Level::Error, format!("{who} was not attached: {why}"));
            }
        });
        Ok(())
    })
}

/// The server that can be shared, once it has been greeted.
async fn greeted(host: &Arc<Host>) -> Option<SharedServer> {
    /// As long as a server may take to answer its first message.
    const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
    let mut waited = Duration::ZERO;
    while waited < FIRST_ANSWER_TIMEOUT && !host.is_ending() {
        match host.shared() {
            Some(shared) => return Some(shared),
            // There is nothing to wait for.
            None if waited > START_TIMEOUT && !host.is_running() => return None,
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
        waited += POLL_INTERVAL;
    }
    None
}

/// Gives a client a process of its own.
async fn alone(host: &Arc<Host>, name: &str, spec: &Spec, stream: UnixStream) -> Result<(), String> {
    let (server, streams) = RestartableServer::start(spec, false).map_err(|error| error.to_string())?;
    let client = end(&stream)?;
    // stderr is shown on the screen and goes nowhere else.
    let nowhere = Box::new(std::io::sink());
    let opened = host.open_stdio(name, spec, streams, client, nowhere, false);
    let (session, threads) = opened.map_err(|error| error.to_string())?;
    server.bind(&session);
    // Nobody sends signals to one of several servers.
    let (_no_signals, mut signals) = mpsc::channel(1);
    let ended = host.run_restartable(&server, &session, &threads, None, &mut signals).await;
    wind_down(&session, &threads, || session.is_unheard(), std::future::pending()).await;
    session.close("the server ended", Some(ended.into()));
    leave(host, &session, &threads, &stream).await;
    Ok(())
}

/// Lets a client share the process that runs.
async fn share(
    host: &Arc<Host>,
    name: &str,
    spec: &Spec,
    shared: SharedServer,
    stream: UnixStream,
) -> Result<(), String> {
    let opened = host.open_shared(name, spec, &shared, end(&stream)?);
    let (member, session, threads) = opened.map_err(|error| error.to_string())?;
    let text = format!("this client shares process {} with others", shared.process.id());
    session.note(None, Level::Info, text);
    let ended = tokio::select! {
        ended = shared.process.wait() => Some(ended),
        () = until_left(&session, &threads) => None,
    };
    if ended.is_none() {
        shared.multiplexer.leave(member);
    }
    // What a server said last is still brought to its clients.
    wind_down(&session, &threads, || session.is_unheard(), std::future::pending()).await;
    shared.multiplexer.leave(member);
    let reason = if ended.is_some() { "the server ended" } else { "the client left" };
    session.close(reason, ended.map(Into::into));
    leave(host, &session, &threads, &stream).await;
    Ok(())
}

async fn leave(host: &Host, session: &Session, threads: &Threads, stream: &UnixStream) {
    threads.closed(TERM_GRACE).await;
    // The client learns that nothing more comes; it may be gone already.
    let _ = stream.shutdown(Shutdown::Both);
    host.update_backend(session.id(), Backend::close);
}

/// The two ends of a client's stream.
fn end(stream: &UnixStream) -> Result<End, String> {
    let clone = || stream.try_clone().map_err(|error| error.to_string());
    Ok(End { source: Box::new(clone()?), sink: Box::new(clone()?) })
}
