//! `shadowcat attach`: a client's standard streams, joined to a shadowcat that launched a server.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use crate::control::reach::Whom;
use crate::control::server::{Attach, Joined};
use crate::control::{self};
use crate::proxy::host::{End, Host};
use crate::proxy::supervise::{PATIENCE, wind_down};
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
        tokio::spawn(async move {
            /// How long a server may go on after its client has left.
            const QUIET: std::time::Duration = std::time::Duration::from_secs(10);
            let left = async {
                const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
                while !threads.from_client.is_finished() {
                    tokio::time::sleep(LOOK).await;
                }
                tokio::time::sleep(QUIET).await;
            };
            let ended = tokio::select! {
                ended = process.wait() => ended,
                () = left => process.terminate(PATIENCE).await,
            };
            wind_down(&session, &threads, || false, std::future::pending()).await;
            session.close("the server ended", Some(ended.into()));
            threads.closed(PATIENCE).await;
            // The client learns that nothing more comes; it may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
            host.forget(session.id());
        });
        Ok(())
    })
}
