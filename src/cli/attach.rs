//! `shadowcat attach`: a client's standard streams, joined to a shadowcat that launched a server.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::failure::Failure;
use crate::control;
use crate::control::reach::Whom;
use crate::control::server::{Attach, Joined};
use crate::proxy::host::{End, Host};
use crate::proxy::supervise::{PATIENCE, until_end, wind_down};
use crate::transport::child::Spec;
use crate::transport::stdio;

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The name of the server, as the screen that launched it shows it, or the process id of its
    /// shadowcat.
    name: String,
}

/// Copies until either side has ended.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let whom = Whom { name: Some(arguments.name), by: "attach".to_owned() };
    let path = whom.one().await?.path;
    let stream = control::client::join(&path, "attach").await.map_err(|error| {
        Failure::from(error).hint("`shadowcat tui -- CMD` launches a server that clients can attach to")
    })?;
    let (mut input, mut output) = stdio::take().map_err(Failure::peer)?;
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

/// Gives each client that attaches a server process of its own, started as the first one was, and a
/// session of its own beside the others.
pub fn with_server(host: &Arc<Host>, name: String, command: Vec<String>) -> Attach {
    let host = Arc::downgrade(host);
    let runtime = Handle::current();
    Arc::new(move |stream: UnixStream, who: &str| -> Joined {
        let host = host.upgrade().filter(|host| !host.is_ending()).ok_or("the screen is being closed")?;
        let spec = Spec { command: command.clone(), directory: None };
        let child = spec.spawn().map_err(|error| error.to_string())?;
        let process = child.process.clone();
        let streams = || Ok::<_, std::io::Error>((stream.try_clone()?, stream.try_clone()?));
        let (source, sink) = streams().map_err(|error| error.to_string())?;
        let client = End { source: Box::new(source), sink: Box::new(sink) };
        // stderr is shown on the screen and goes nowhere else.
        let nowhere = Box::new(std::io::sink());
        let (session, threads) = host
            .open_stdio(&name, &spec, child, client, nowhere, false)
            .map_err(|error| error.to_string())?;
        tracing::debug!("{who} attached to {name}");
        // What holds up the control socket must not hold up a session.
        runtime.spawn(async move {
            // Nobody sends signals to one of several servers.
            let (_no_signals, mut signals) = mpsc::channel(1);
            let ended = until_end(&session, &process, &threads, None, &mut signals).await;
            wind_down(&session, &threads, || session.is_unheard(), std::future::pending()).await;
            session.close("the server ended", Some(ended.into()));
            threads.closed(PATIENCE).await;
            // The client learns that nothing more comes; it may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
            host.forget(session.id());
        });
        Ok(())
    })
}
