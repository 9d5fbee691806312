//! Shutdown of a stdio server: whichever of client, server and shadowcat ends first, no process is left
//! behind.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::drive::{LaneThread, Threads};
use crate::mcp::Direction;
use crate::session::Session;
use crate::transport::child::{Process, ProcessExit};
use crate::transport::stdio::Watch;

/// Signals that are passed on to the server.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Time without activity after which a client of a shared server that sends nothing more has left.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Interval of the checks for the end of streams.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Checks for hang-up of both streams of a client, which do not keep the streams open.
#[derive(Debug, Clone)]
pub struct ClientWatch {
    /// Stream from which the client's messages are read.
    pub input: Watch,
    /// Stream to which messages for the client are written.
    pub output: Watch,
}

/// Installs handlers for the signals that concern the server, and returns the signals that arrive.
///
/// # Errors
/// Fails if a handler cannot be installed.
///
/// # Panics
/// Panics outside a Tokio runtime.
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

/// Waits for a signal that asks this process to stop, or for the end of the signals.
pub async fn stopped(signals: &mut mpsc::Receiver<Signal>) {
    while let Some(signal) = signals.recv().await {
        if asks_to_stop(signal) {
            return;
        }
    }
}

/// End of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerEnd {
    /// Exit status or signal.
    pub ended: ProcessExit,
    /// `true` if the server was told to end, or ended after its client had left: no restart is needed.
    pub was_due: bool,
}

/// Waits until the server has ended, and makes sure that it does: signals are passed on to it. Once the
/// client sends nothing more, the server gets time to finish, then SIGTERM, then SIGKILL. If `client` is
/// `None`, its streams cannot be checked for hang-up, and it counts as gone once they fail.
pub async fn until_end(
    session: &Session,
    process: &Process,
    threads: &Threads,
    client: Option<&ClientWatch>,
    signals: &mut mpsc::Receiver<Signal>,
) -> ServerEnd {
    let mut quiet = Duration::ZERO;
    let mut seen = 0;
    let due = |ended| ServerEnd { ended, was_due: true };
    loop {
        tokio::select! {
            ended = process.wait() => return ServerEnd { ended, was_due: is_over(session, threads, client) },
            Some(signal) = signals.recv() => {
                process.signal(signal);
                // Other signals may be the server's own business: it may reload, or cancel a call.
                if signal == Signal::SIGTERM {
                    return due(until_stopped(process, signals).await);
                }
            }
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        if !is_over(session, threads, client) || session.is_deciding() {
            continue;
        }
        let last = session.activity();
        let busy = last != seen || session.in_flight(Direction::ToServer) > 0;
        seen = last;
        // Nobody waits for the answers of a server whose client does not read any more.
        quiet = if busy && !is_unread(session, client) { Duration::ZERO } else { quiet + POLL_INTERVAL };
        if quiet >= process.grace() {
            return due(process.terminate().await);
        }
    }
}

/// Waits for the end of a server that was told by a signal to stop: further signals are passed on, and after
/// its grace it is killed.
async fn until_stopped(process: &Process, signals: &mut mpsc::Receiver<Signal>) -> ProcessExit {
    let grace = tokio::time::sleep(process.term_grace());
    tokio::pin!(grace);
    loop {
        tokio::select! {
            ended = process.wait() => return ended,
            Some(signal) = signals.recv() => process.signal(signal),
            () = &mut grace => return process.kill().await,
        }
    }
}

/// Waits until no server is needed any more: the client has left, or a signal asks this process to stop.
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

fn is_unread(session: &Session, client: Option<&ClientWatch>) -> bool {
    client.is_some_and(|client| client.output.is_hung_up()) || session.is_unread()
}

/// Returns `true` if the client sends nothing more.
fn is_over(session: &Session, threads: &Threads, client: Option<&ClientWatch>) -> bool {
    let unsaid = client.is_some_and(|client| client.input.is_hung_up());
    // Check for hang-up too: the reader may be blocked writing to a server that does not read, and never
    // see the end.
    threads.from_client.is_finished() || (is_unread(session, client) && unsaid)
}

/// Waits until a client of a shared server has left: it sends nothing more, and either has all answers or
/// has seen no activity for a while.
pub async fn until_left(session: &Session, threads: &Threads) {
    let (mut quiet, mut seen) = (Duration::ZERO, 0);
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        // A client that does not read, or was disconnected, gets nothing more.
        if session.is_unread() || (threads.from_server.is_finished() && session.is_delivered()) {
            return;
        }
        if !threads.from_client.is_finished() || session.is_deciding() {
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

/// Ends the deliveries of a session whose server has ended: waits until the remaining output of the
/// server has reached the client, however slowly the client reads, and until held frames are decided.
/// Returns early once the client is gone (`is_unread_reply`) or `stop` is ready.
pub async fn wind_down(
    session: &Session,
    threads: &Threads,
    is_unread_reply: impl Fn() -> bool,
    stop: impl Future<Output = ()>,
) {
    /// Time without activity after which the output counts as complete: a process that left the server's
    /// group can keep its stdout open for ever. Counted in steps, so that on a busy machine the readers get
    /// their turn meanwhile.
    const STRAGGLERS: Duration = Duration::from_millis(250);
    const STEP: Duration = Duration::from_millis(2);
    /// Number of bytes on both streams after which the output is that of other processes: more than pipes hold
    /// (Linux: fs.pipe-max-size).
    const PIPE_BYTES: u64 = 2 << 20;
    session.server_gone();
    let read_before = threads.bytes();
    tokio::pin!(stop);
    let mut idle = Duration::ZERO;
    let mut seen = 0;
    loop {
        // Keep this order: if the last frame that was read is held, it is not delivered.
        let drained = threads.are_drained();
        let delivered = session.is_delivered();
        let is_strangers = threads.bytes() - read_before > PIPE_BYTES;
        if (drained && delivered) || is_unread_reply() || idle >= STRAGGLERS || is_strangers {
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
    /// Returns `true` if the output of the server was read to its end.
    fn are_drained(&self) -> bool {
        self.from_server.is_finished() && self.from_stderr.as_ref().is_none_or(LaneThread::is_finished)
    }

    /// Returns the number of bytes that were read from the server.
    fn bytes(&self) -> u64 {
        self.from_server.bytes() + self.from_stderr.as_ref().map_or(0, LaneThread::bytes)
    }

    /// Waits until the pumps have ended, at most for `patience`.
    pub async fn closed(&self, patience: Duration) {
        const STEP: Duration = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        while waited < patience && !self.pumps.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(STEP).await;
            waited += STEP;
        }
    }
}
