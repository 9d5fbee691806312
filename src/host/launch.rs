//! Launch of a stdio server under the debugger, with the built-in client as its client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Host, RestartServer, SharedServer};
use crate::client::{Attendance, Client, ClientError, PROBE_PATIENCE, Probed};
use crate::log::SessionId;
use crate::log::record::Level;
use crate::mcp::Era;
use crate::stdio::lifecycle::wind_down;
use crate::stdio::link::{LinkEnd, StartedServer};
use crate::stdio::multiplex::Multiplexer;
use crate::transport::child::{Process, SpawnError, Spec};
use crate::transport::memory;

/// A server to launch, and the options of its handshake.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name of the server.
    pub name: String,
    /// Command line of the server, and its working directory.
    pub spec: Spec,
    /// Era to speak; `None` probes for it.
    pub era: Option<Era>,
    /// Source of the answers to the server's requests.
    pub attendance: Attendance,
}

/// Capacity of the pipes between the client and its session, in chunks.
const PIPE_CHUNKS: usize = 64;
/// Time limit for the answer to the handshake: some servers install themselves first.
const GREETING_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for a server to end that has closed its streams.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Starts the server and its session, and does the handshake in the background. `then` is called with the
/// client once the handshake is done and the lists of the server are requested.
///
/// # Errors
/// Fails if the process or a thread cannot be started.
///
/// # Panics
/// Panics outside a Tokio runtime.
pub fn launch(
    host: &Arc<Host>,
    launch: Launch,
    then: impl FnOnce(Arc<Client>) + Send + 'static,
) -> Result<SessionId, SpawnError> {
    let Launch { name, spec, era, attendance } = launch.clone();
    let limit = host.settings().inspect_limit;
    let mut server = StartedServer::from(spec.spawn()?);
    let process = server.process.clone();
    let (multiplexer, shared) = Multiplexer::before(server.end, limit);
    server.end = shared;
    let (to_session, from_client) = memory::pipe(PIPE_CHUNKS);
    let (to_client, from_session) = memory::pipe(PIPE_CHUNKS);
    let end = LinkEnd { source: Box::new(from_client), sink: Box::new(to_client) };
    let failed = |source| SpawnError::Failed { command: name.clone(), source };
    // The screen shows stderr from the log, so its bytes need no other destination.
    let nowhere = Box::new(std::io::sink());
    let (session, threads) = host.open_stdio(&name, &spec, server, end, nowhere, true).map_err(failed)?;
    multiplexer.bind(&session);
    let root =
        spec.directory.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"));
    let client = Client::start(to_session, from_session, root, attendance, limit);
    let (restart_host, restart_launch, restart_process) =
        (Arc::downgrade(host), launch.clone(), process.clone());
    let restart_server: RestartServer = Arc::new(move || {
        if let Some(host) = restart_host.upgrade() {
            restart(&host, restart_launch.clone(), restart_process.clone());
        }
        Ok(())
    });
    host.update_backend(session.id(), |backend| {
        backend.client = Some(Arc::clone(&client));
        backend.restart = Some(restart_server);
    });
    let id = session.id();
    let (ending, ending_host) = (process.clone(), Arc::clone(host));
    tokio::spawn(async move {
        let ended = ending.wait().await;
        wind_down(&session, &threads, || false, std::future::pending()).await;
        session.close("the server ended", Some(ended.into()));
        ending_host.update_backend(session.id(), Backend::close);
    });
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let greeted = greet(&client, era).await;
        if greeted == Err(ClientError::Gone) {
            // A process closes its streams a moment before it has ended.
            let _ = tokio::time::timeout(END_PATIENCE, process.wait()).await;
        }
        match greeted {
            Ok(()) => {
                let era = client.era().unwrap_or(Era::Stateful);
                let shared = SharedServer { multiplexer, process, era };
                host.update_backend(id, |backend| backend.shared = Some(shared));
                client.list_all().await;
                then(client);
            }
            Err(_) if host.is_ending() => {}
            // Servers exist that die of a request before `initialize`: start another process, and begin with
            // `initialize`. A server that is alive is left alone, since it may be installing itself.
            Err(error) if era.is_none() && client.era().is_none() && process.ended().is_some() => {
                host.note(
                    id,
                    Level::Info,
                    format!("no answer to server/discover ({error}); starting it once more with initialize"),
                );
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

/// Terminates a server that still runs, and launches it again in a new session.
fn restart(host: &Arc<Host>, launch: Launch, process: Process) {
    let host = Arc::clone(host);
    tokio::spawn(async move {
        if process.ended().is_none() {
            process.terminate().await;
        }
        if !host.is_ending()
            && let Err(error) = self::launch(&host, launch, |_| ())
        {
            host.note(SessionId(0), Level::Error, error.to_string());
        }
    });
}

/// Does the handshake in `era`, or probes first for the era that the server speaks.
///
/// # Errors
/// Fails if the server is gone, does not answer in time, or answers `initialize` with an error.
pub async fn greet(client: &Client, era: Option<Era>) -> Result<(), ClientError> {
    match era {
        Some(Era::Stateful) => client.initialize(GREETING_TIMEOUT).await,
        Some(Era::Stateless) => client.probe(GREETING_TIMEOUT).await.map(|_| client.assume_stateless()),
        None => match client.probe(PROBE_PATIENCE).await {
            Ok(Probed::Stateless) => Ok(()),
            Ok(Probed::Other(versions)) => Err(ClientError::Refused(
                "server/discover".into(),
                format!("it speaks {versions}, and none of the revisions that shadowcat speaks"),
            )),
            // Neither an error nor silence says anything about `initialize`: the server may still be
            // starting, or know nothing of the probe.
            Ok(Probed::Stateful) | Err(ClientError::Silent(..)) => client.initialize(GREETING_TIMEOUT).await,
            Err(error) => Err(error),
        },
    }
}
