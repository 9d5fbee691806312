//! The end of a stdio server: whatever ends first, nothing is left behind.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::drive::Threads;
use crate::mcp::Direction;
use crate::session::Session;
use crate::transport::child::{Ended, Process};
use crate::transport::stdio::Watch;

/// The signals that are passed on to the server.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// How long a quiet server may live on after its stdin was closed. The slowest healthy servers
/// measured take 1.3 s.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// The same when its client does not read any more.
const UNREAD_LIMIT: Duration = Duration::from_secs(3);
/// The time between SIGTERM and SIGKILL. The official SDKs kill us two seconds after asking us
/// to end: the server must be gone before that.
pub const TERM_GRACE: Duration = Duration::from_millis(1500);
/// How often the end of streams is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Both streams of a client, looked at without keeping them open.
#[derive(Debug, Clone)]
pub struct ClientWatch {
    pub input: Watch,
    pub output: Watch,
}

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

/// Waits for a signal that asks us to stop.
pub async fn stopped(signals: &mut mpsc::Receiver<Signal>) {
    while let Some(signal) = signals.recv().await {
        if asks_to_stop(signal) {
            return;
        }
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub ended: Ended,
    /// It was told to end, or ended after its client had left: nobody needs another.
    pub was_due: bool,
}

/// Waits until the server has ended, and sees to it that it does: signals go on to it; when its
/// client has closed its stdin it gets the time to finish, then SIGTERM, then SIGKILL. A client
/// whose streams cannot be looked at (`None`) is gone when they fail.
pub async fn until_end(
    session: &Session,
    process: &Process,
    threads: &Threads,
    client: Option<&ClientWatch>,
    signals: &mut mpsc::Receiver<Signal>,
) -> End {
    let mut quiet = Duration::ZERO;
    let mut seen = 0;
    let due = |ended| End { ended, was_due: true };
    loop {
        tokio::select! {
            ended = process.wait() => return End { ended, was_due: is_over(session, threads, client) },
            Some(signal) = signals.recv() => {
                process.signal(signal);
                if asks_to_stop(signal) {
                    return due(match tokio::time::timeout(TERM_GRACE, process.wait()).await {
                        Ok(ended) => ended,
                        Err(_) => process.terminate(Duration::ZERO).await,
                    });
                }
            }
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let unheard = is_unheard(session, client);
        if !is_over(session, threads, client) || !session.held().is_empty() {
            continue;
        }
        let last = session.activity();
        let busy = last != seen || session.in_flight(Direction::ToServer) > 0;
        seen = last;
        quiet = if busy && !unheard { Duration::ZERO } else { quiet + POLL_INTERVAL };
        if quiet >= if unheard { UNREAD_LIMIT } else { QUIET_LIMIT } {
            return due(process.terminate(TERM_GRACE).await);
        }
    }
}

/// Waits until nobody needs a server any more: its client has left, or we are asked to stop.
pub async fn until_unneeded(
    session: &Session,
    threads: &Threads,
    client: Option<&ClientWatch>,
    signals: &mut mpsc::Receiver<Signal>,
) {
    while !is_over(session, threads, client) {
        tokio::select! {
            Some(signal) = signals.recv() => if asks_to_stop(signal) { return },
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

fn asks_to_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT)
}

fn is_unheard(session: &Session, client: Option<&ClientWatch>) -> bool {
    client.is_some_and(|client| client.output.is_hung_up()) || session.is_unheard()
}

/// Whether the client says nothing more.
fn is_over(session: &Session, threads: &Threads, client: Option<&ClientWatch>) -> bool {
    let unsaid = client.is_some_and(|client| client.input.is_hung_up());
    // The lane may be blocked writing to a server that does not read, and never see the end.
    threads.from_client.is_finished() || (is_unheard(session, client) && unsaid)
}

/// Waits until the client of a server that others share has left: it says nothing more, and has what it
/// waited for, or nothing has come for a while.
pub async fn until_left(session: &Session, threads: &Threads) {
    let (mut quiet, mut seen) = (Duration::ZERO, 0);
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        // Nothing more comes for one that was let go.
        if session.is_unheard() || (threads.from_server.is_finished() && session.is_delivered()) {
            return;
        }
        if !threads.from_client.is_finished() || !session.held().is_empty() {
            continue;
        }
        if session.in_flight(Direction::ToServer) == 0 && session.is_delivered() {
            return;
        }
        let last = session.activity();
        quiet = if last != seen { Duration::ZERO } else { quiet + POLL_INTERVAL };
        seen = last;
        if quiet >= QUIET_LIMIT {
            return;
        }
    }
}

/// The end of a session whose server has ended: what it said reaches the client, however slowly
/// that reads, and what is held of it until it is decided. Ends early when the client is gone
/// (`unheard`) or `stop` is ready.
pub async fn wind_down(
    session: &Session,
    threads: &Threads,
    unheard: impl Fn() -> bool,
    stop: impl Future<Output = ()>,
) {
    /// A process that left its group can keep the server's stdout open for ever.
    const STRAGGLERS: Duration = Duration::from_secs(2);
    const STEP: Duration = Duration::from_millis(2);
    session.server_gone();
    tokio::pin!(stop);
    let mut idle = Duration::ZERO;
    let mut seen = 0;
    loop {
        // In this order: the last thing read may be held, and then it is not delivered.
        let drained = threads.are_drained();
        let delivered = session.is_delivered();
        if (drained && delivered) || unheard() || idle >= STRAGGLERS {
            return;
        }
        let active = std::mem::replace(&mut seen, session.activity()) != seen;
        idle = if delivered && !active { idle + STEP } else { Duration::ZERO };
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = &mut stop => return,
        }
    }
}

impl Threads {
    /// Whether everything the server wrote was read.
    fn are_drained(&self) -> bool {
        self.from_server.is_finished() && self.from_stderr.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the queues are closed, or `patience` is over.
    pub async fn closed(&self, patience: Duration) {
        const STEP: Duration = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        while waited < patience && !self.pumps.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(STEP).await;
            waited += STEP;
        }
    }
}
