//! Helpers that the test modules share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shadowcat::clock::Clock;
use shadowcat::intercept::{Breakpoints, Chain, SharedChain};
use shadowcat::log::record::{LaneId, Opened, SessionId};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::log::{Log, Query};
use shadowcat::mcp::Direction;
use shadowcat::session::{Hooks, Lane, Receipt, Scope, Session};
use shadowcat::transport::WriterQueue;

/// Writer that keeps everything written to it.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// Returns the bytes written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the bytes written so far as lines of text.
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.bytes()).lines().map(str::to_owned).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Futures of pending verdicts that the session has spawned.
type Pending = Arc<Mutex<Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>>>;

/// Session without threads: queued writes are flushed at once, in the order of the decisions.
pub struct Bench {
    /// Log of the session.
    pub log: Arc<Log>,
    /// Session under test.
    pub session: Arc<Session>,
    /// Breakpoints of the session, with one controller attached.
    pub breakpoints: Arc<Breakpoints>,
    /// Interceptor chain, which tests may replace.
    pub chain: Arc<SharedChain>,
    pending: Pending,
    ports: Vec<Arc<WriterQueue<Receipt>>>,
}

impl Bench {
    /// Opens a session with a manual clock and a chain of breakpoints.
    pub fn new() -> Self {
        let log = Log::new(Clock::manual(1_700_000_000_000_000), DEFAULT_BOUND);
        let breakpoints = Breakpoints::new();
        breakpoints.controllers().attach("test");
        let chain = SharedChain::new(Chain::of_breakpoints(&breakpoints));
        let opened =
            Opened { name: "bench".into(), target: vec![], directory: None, pid: None, own_client: false };
        let pending = Arc::new(Mutex::new(Vec::new()));
        let (tasks, shown) = (Arc::clone(&pending), Arc::clone(&breakpoints));
        let hooks = Hooks {
            spawn: Arc::new(move |task| tasks.lock().unwrap().push(task)),
            held: Arc::default(),
            amended: Arc::new(move |frame, text| shown.show_amended(frame, text)),
        };
        let (own_log, own_chain) = (Arc::clone(&log), Arc::clone(&chain));
        let session = Session::open(SessionId(1), opened, own_log, own_chain, Arc::default(), hooks);
        Self { log, session, breakpoints, chain, pending, ports: Vec::new() }
    }

    /// Adds a breakpoint.
    pub fn break_on(&self, query: &str) {
        self.breakpoints.add(Query::parse(query).unwrap(), None);
    }

    /// Opens two lanes between two sinks. With `exchange`, the lanes have an id scope of their own,
    /// as over HTTP.
    pub fn link(&mut self, exchange: bool) -> Link {
        let (server, client) = (Sink::default(), Sink::default());
        let to_server = Arc::new(WriterQueue::new(server.clone()));
        let to_client = Arc::new(WriterQueue::new(client.clone()));
        self.ports.extend([Arc::clone(&to_server), Arc::clone(&to_client)]);
        let number = u32::try_from(self.ports.len()).unwrap();
        let lane = |direction, forward: &Arc<WriterQueue<Receipt>>, back: &Arc<WriterQueue<Receipt>>| {
            let scope = if exchange { Scope::Of(LaneId(number)) } else { Scope::Session };
            self.session.open_lane(Lane { scope, ..Lane::of_lines(direction, forward, back) })
        };
        let there = lane(Direction::ToServer, &to_server, &to_client);
        let back = lane(Direction::ToClient, &to_client, &to_server);
        Link { there, back, server, client }
    }

    /// Passes a line to the session as if a peer had sent it, and flushes.
    pub fn receive(&self, lane: LaneId, line: &str) {
        self.session.receive(lane, bytes::Bytes::copy_from_slice(line.as_bytes()));
        self.flush();
    }

    /// Runs the pending verdicts to their end, and flushes.
    pub async fn run_pending(&self) {
        let tasks = std::mem::take(&mut *self.pending.lock().unwrap());
        for task in tasks {
            task.await;
        }
        self.flush();
    }

    /// Writes all queued frames to the sinks.
    pub fn flush(&self) {
        for port in &self.ports {
            port.flush(&mut |receipt, written| self.session.confirm(receipt, written));
        }
    }

    /// Returns the records of the log as tape lines, without their times.
    pub fn handling(&self) -> Vec<String> {
        let line = |record: &shadowcat::log::Record| {
            let mut line = Vec::new();
            shadowcat::tape::format::write_record(&mut line, record, 0);
            String::from_utf8(line).unwrap().trim_end().to_owned()
        };
        self.log.window(1, usize::MAX).iter().map(|record| line(record)).collect()
    }
}

/// Two lanes of a connection and the sinks that they write to.
pub struct Link {
    /// Lane to the server.
    pub there: LaneId,
    /// Lane to the client.
    pub back: LaneId,
    /// Bytes that the server received.
    pub server: Sink,
    /// Bytes that the client received.
    pub client: Sink,
}

/// Returns the path of the binary under test.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_shadowcat")
}

/// Returns a command for the binary with `data` as its data directory.
pub fn shadowcat(data: &Path) -> Command {
    let mut command = Command::new(program());
    command.env("SHADOWCAT_DATA_DIR", data);
    command
}

/// Returns a `forward stdio` command in front of a shell script.
pub fn forward(data: &Path, script: &str) -> Command {
    let mut command = shadowcat(data);
    command.args(["forward", "stdio", "--name", "test", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Watchdog that kills a process after a time limit, so that a test that waits for the process
/// fails instead of hanging. Dropping the watchdog cancels it.
pub struct Deadline {
    _done: std::sync::mpsc::SyncSender<()>,
}

impl Deadline {
    /// Watches `child` for five minutes.
    pub fn of(child: &Child) -> Self {
        const PATIENCE: Duration = Duration::from_secs(300);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (done, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            if told.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // The process may have ended in the meantime; ignore the error.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        Self { _done: done }
    }
}

/// Runs a command with `input` on its standard input, and returns its output.
pub fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _deadline = Deadline::of(&child);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The process may end before it has read everything; ignore the error.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Returns the sorted paths of the tapes in a data directory.
pub fn tapes(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data.join("tapes")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "tape"));
    paths.sort();
    paths
}

/// Waits until `done` returns `true`, and panics after about 20 seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Returns `true` if a process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}
