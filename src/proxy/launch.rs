//! Launching a server under the debugger, with the built-in client as its client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Attendance, Client, ClientError};
use super::host::{Host, Shared};
use super::link::{End, Server};
use super::share::Switch;
use super::supervise::{PATIENCE, wind_down};
use crate::log::SessionId;
use crate::log::record::Level;
use crate::mcp::Era;
use crate::transport::child::{Process, SpawnError, Spec};
use crate::transport::memory;

/// What to launch, and how to greet it.
#[derive(Debug, Clone)]
pub struct Launch {
    pub name: String,
    pub spec: Spec,
    /// The era to speak; found out when none is given.
    pub era: Option<Era>,
    pub attendance: Attendance,
}

/// Chunks in flight between the client and its session.
const PIPE: usize = 64;
/// How long a server may take to answer `initialize`: some install themselves first.
const GREETING: Duration = Duration::from_secs(120);

/// Starts the server and its session, and greets it in the background. The greeting done, `then`
/// runs with the client.
///
/// # Errors
/// When it cannot be started.
pub fn launch(
    host: &Arc<Host>,
    launch: Launch,
    then: impl FnOnce(Arc<Client>) + Send + 'static,
) -> Result<SessionId, SpawnError> {
    let Launch { name, spec, era, attendance } = launch.clone();
    let limit = host.settings().inspect_limit;
    let mut server = Server::from(spec.spawn()?);
    let process = server.process.clone();
    let (switch, shared) = Switch::before(server.end, limit);
    server.end = shared;
    let (to_session, from_client) = memory::pipe(PIPE);
    let (to_client, from_session) = memory::pipe(PIPE);
    let end = End { source: Box::new(from_client), sink: Box::new(to_client) };
    let failed = |source| SpawnError::Failed { command: name.clone(), source };
    // stderr is shown on the screen and goes nowhere else.
    let nowhere = Box::new(std::io::sink());
    let (session, threads) = host.open_stdio(&name, &spec, server, end, nowhere, true).map_err(failed)?;
    switch.bind(&session);
    let root =
        spec.directory.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"));
    let client = Client::start(to_session, from_session, root, attendance, limit);
    let (again_host, again_launch, again_process) = (Arc::downgrade(host), launch.clone(), process.clone());
    let again = Arc::new(move || {
        if let Some(host) = again_host.upgrade() {
            restart(&host, again_launch.clone(), again_process.clone());
        }
        Ok(())
    });
    host.adopt(session.id(), Arc::clone(&client), Some(again));
    let id = session.id();
    let (ending, ending_host) = (process.clone(), Arc::clone(host));
    tokio::spawn(async move {
        let ended = ending.wait().await;
        wind_down(&session, &threads, || false, std::future::pending()).await;
        session.close("the server ended", Some(ended.into()));
        ending_host.forget(session.id());
    });
    let host = Arc::clone(host);
    tokio::spawn(async move {
        match greet(&client, era).await {
            Ok(()) => {
                let era = client.era().unwrap_or(Era::Stateful);
                host.share(id, Shared { switch, process, era });
                client.list_all().await;
                then(client);
            }
            // Servers exist that die of, or never answer, a request before `initialize`: the
            // probe was made on a process that is thrown away.
            Err(_) if host.is_ending() => {}
            Err(error) if era.is_none() && client.era().is_none() => {
                host.note(
                    id,
                    Level::Info,
                    format!("no answer to server/discover ({error}); starting it once more with initialize"),
                );
                process.terminate(PATIENCE).await;
                if host.is_ending() {
                    return;
                }
                let again = Launch { era: Some(Era::Stateful), ..launch };
                if let Err(error) = self::launch(&host, again, then) {
                    host.note(id, Level::Error, error.to_string());
                }
            }
            Err(error) => host.note(id, Level::Error, format!("the handshake failed: {error}")),
        }
    });
    Ok(id)
}

/// Ends a server, if it still runs, and starts it under a new session.
fn restart(host: &Arc<Host>, launch: Launch, process: Process) {
    let host = Arc::clone(host);
    tokio::spawn(async move {
        if process.ended().is_none() {
            process.terminate(PATIENCE).await;
        }
        if !host.is_ending()
            && let Err(error) = self::launch(&host, launch, |_| ())
        {
            host.note(SessionId(0), Level::Error, error.to_string());
        }
    });
}

/// Opens a session in the era given, or in the one that the server turns out to speak.
///
/// # Errors
/// When the server is gone, silent, or refuses.
pub async fn greet(client: &Client, era: Option<Era>) -> Result<(), ClientError> {
    match era {
        Some(Era::Stateful) => client.initialize(GREETING).await,
        Some(Era::Stateless) => client.probe(GREETING).await.map(|_| client.assume_stateless()),
        None => match client.probe(super::client::PROBE_PATIENCE).await? {
            true => Ok(()),
            false => client.initialize(GREETING).await,
        },
    }
}
