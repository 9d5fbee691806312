//! The end of a stdio server: whatever ends first, nothing is left behind.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::host::Threads;
use super::session::Session;
use crate::mcp::Direction;
use crate::transport::child::{Ended, Process};
use crate::transport::stdio::Watch;

/// The signals that are passed on to the server.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// How long a quiet server may live on after its stdin was closed. The slowest healthy servers
/// measured take 1.3 s.
const QUIET: Duration = Duration::from_secs(10);
/// The same when its client does not read any more.
const UNHEARD: Duration = Duration::from_secs(3);
/// The time between SIGTERM and SIGKILL. The official SDKs kill us two seconds after asking us
/// to end: the server must be gone before that.
pub const PATIENCE: Duration = Duration::from_millis(1500);
/// How often the end of streams is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Signals sent to this process, one after the other.
///
/// # Errors
/// When a handler cannot be installed.
pub fn signals() -> io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(16);
    for each in PASSED_ON {
        let mut arriving = signal(SignalKind::from_raw(each as i32))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while arriving.recv().await.is_some() {
                if sender.send(each).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Waits until the server has ended, and sees to it that it does: signals go on to it; when its
/// client has closed its stdin it gets the time to finish, then SIGTERM, then SIGKILL.
pub async fn until_end(
    session: &Session,
    process: &Process,
    threads: &Threads,
    client: &Watch,
    signals: &mut mpsc::Receiver<Signal>,
) -> Ended {
    let mut quiet = Duration::ZERO;
    let mut seen = 0;
    loop {
        tokio::select! {
            ended = process.wait() => return ended,
            Some(signal) = signals.recv() => {
                process.signal(signal);
                if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) {
                    return match tokio::time::timeout(PATIENCE, process.wait()).await {
                        Ok(ended) => ended,
                        Err(_) => process.terminate(Duration::ZERO).await,
                    };
                }
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        if !threads.from_client.is_finished() || !session.held().is_empty() {
            continue;
        }
        let unheard = client.is_hung_up();
        let last = session.activity();
        let busy = last != seen || session.in_flight(Direction::ToServer) > 0;
        seen = last;
        quiet = if busy && !unheard { Duration::ZERO } else { quiet + LOOK };
        if quiet >= if unheard { UNHEARD } else { QUIET } {
            return process.terminate(PATIENCE).await;
        }
    }
}
