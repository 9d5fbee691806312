//! `shadowcat attach`: a client's standard streams, joined to a shadowcat that launched a server.

use std::io::{self, Read, Write};
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
use crate::control::server::{Attach, AttachRefused, Guest, Joined};
use crate::host::{Backend, Host, SharedServer};
use crate::log::SessionId;
use crate::log::record::Level;
use crate::mcp::Era;
use crate::session::Session;
use crate::stdio::drive::Threads;
use crate::stdio::lifecycle::{until_left, wind_down};
use crate::stdio::link::LinkEnd;
use crate::stdio::restart::RestartableServer;
use crate::transport::child::{SpawnError, Spec};
use crate::transport::stdio;

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the server, as the screen that launched it shows it, or process id of its shadowcat.
    name: String,
    /// Share the running process, even with a server of a revision before 2026-07-28: its handshake
    /// is made once, and every client sees what others change in it.
    #[arg(long)]
    share: bool,
}

/// Interval between checks for a server that is being started.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time limit for a server to appear while no server runs.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit for closing the streams.
const CLOSE: Duration = Duration::from_secs(1);

/// Copies until either side has ended, then exits the process.
///
/// # Errors
/// Fails if not exactly one engine has the name, or it launched no server that can be joined.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let selector = EngineSelector { name: Some(arguments.name.clone()), by: "attach".to_owned() };
    let path = selector.one().await?.path;
    let stream = control::client::join(&path, "attach", arguments.share).await.map_err(|error| {
        Failure::from(error).hint("`shadowcat tui -- CMD` launches a server that clients can attach to")
    })?;
    let (mut input, mut output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let mut up = stream.try_clone().map_err(Failure::peer)?;
    // Blocking copies work on streams of any kind.
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            // The server must learn that its client sends no more, however the copy ended.
            let _ = std::io::copy(&mut input, &mut up);
            let _ = up.shutdown(Shutdown::Write);
        })
        .map_err(Failure::peer)?;
    let mut down = stream;
    let copied = tokio::task::spawn_blocking(move || copy(&mut down, &mut output)).await;
    // A client that is gone ends the copy normally, even with an error.
    drop(copied);
    // The thread that reads standard input may be blocked in its read; only the end of the process
    // ends it.
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

/// Returns the function that joins clients to the server that a screen launched. A process that
/// speaks 2026-07-28 is shared; a server of an earlier revision is started once more for each client
/// that does not ask to share. Each client has a session of its own beside the others.
pub fn with_server(host: &Arc<Host>, name: String, command: Vec<String>) -> Attach {
    let host = Arc::downgrade(host);
    let runtime = Handle::current();
    let spec = Spec::new(command);
    Arc::new(move |guest: Guest| -> Joined {
        let host = host.upgrade().filter(|host| !host.is_ending()).ok_or(AttachRefused::Closing)?;
        let (name, spec) = (name.clone(), spec.clone());
        // Run the session on the main runtime: a delay of the control socket must not delay a
        // session.
        runtime.spawn(async move {
            let who = guest.name.clone();
            let joined = match greeted(&host).await {
                Some(shared) if guest.shares || shared.era == Era::Stateless => {
                    share(&host, &name, &spec, shared, guest.stream).await
                }
                None if guest.shares => Err(AttachError::NotRunning),
                _ => alone(&host, &name, &spec, guest.stream).await,
            };
            if let Err(why) = joined {
                host.note(SessionId(0), Level::Error, format!("{who} was not attached: {why}"));
            }
        });
        Ok(())
    })
}

/// Waits for the handshake with the launched server, after which clients can share the server.
async fn greeted(host: &Arc<Host>) -> Option<SharedServer> {
    /// Time limit for the first answer of a server.
    const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
    let mut waited = Duration::ZERO;
    while waited < FIRST_ANSWER_TIMEOUT && !host.is_ending() {
        match host.shared() {
            Some(shared) => return Some(shared),
            // No server runs or is being started: stop waiting.
            None if waited > START_TIMEOUT && !host.is_running() => return None,
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
        waited += POLL_INTERVAL;
    }
    None
}

/// Reason why a client was not attached.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("the server to share is not running")]
    NotRunning,
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("cannot open the session: {0}")]
    Io(#[from] io::Error),
}

/// Runs the session of a client with a server process of its own.
async fn alone(host: &Arc<Host>, name: &str, spec: &Spec, stream: UnixStream) -> Result<(), AttachError> {
    let (server, streams) = RestartableServer::start(spec, false)?;
    let client = end(&stream)?;
    // The screen shows stderr; the client does not get it.
    let nowhere = Box::new(std::io::sink());
    let opened = host.open_stdio(name, spec, streams, client, nowhere, false);
    let (session, threads) = opened?;
    server.bind(&session);
    // Signals are not passed on to one of several servers: this channel stays empty.
    let (_no_signals, mut signals) = mpsc::channel(1);
    let ended = host.run_restartable(&server, &session, &threads, None, &mut signals).await;
    wind_down(&session, &threads, || session.is_unread(), std::future::pending()).await;
    session.close("the server ended", Some(ended.into()));
    leave(host, &session, &threads, &stream).await;
    Ok(())
}

/// Runs the session of a client that shares the running process.
async fn share(
    host: &Arc<Host>,
    name: &str,
    spec: &Spec,
    shared: SharedServer,
    stream: UnixStream,
) -> Result<(), AttachError> {
    let opened = host.open_shared(name, spec, &shared, end(&stream)?);
    let (member, session, threads) = opened?;
    let text = format!("this client shares process {} with others", shared.process.id());
    session.note(None, Level::Info, text);
    let ended = tokio::select! {
        ended = shared.process.wait() => Some(ended),
        () = until_left(&session, &threads) => None,
    };
    if ended.is_none() {
        shared.multiplexer.leave(member);
    }
    // Deliver the server's last messages to its client before the session closes.
    wind_down(&session, &threads, || session.is_unread(), std::future::pending()).await;
    shared.multiplexer.leave(member);
    let reason = if ended.is_some() { "the server ended" } else { "the client left" };
    session.close(reason, ended.map(Into::into));
    leave(host, &session, &threads, &stream).await;
    Ok(())
}

async fn leave(host: &Host, session: &Session, threads: &Threads, stream: &UnixStream) {
    threads.closed(CLOSE).await;
    // Shutting the stream down tells the client that nothing more comes; it may be gone already.
    let _ = stream.shutdown(Shutdown::Both);
    host.update_backend(session.id(), Backend::close);
}

/// Returns both directions of a client's stream.
fn end(stream: &UnixStream) -> io::Result<LinkEnd> {
    let clone = || stream.try_clone();
    Ok(LinkEnd { source: Box::new(clone()?), sink: Box::new(clone()?) })
}
