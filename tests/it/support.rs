//! What the tests share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shadowcat::clock::Clock;
use shadowcat::intercept::{Breakpoints, Chain, Interceptor};
use shadowcat::log::record::{LaneId, Opened, SessionId};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::log::{Log, Query};
use shadowcat::mcp::Direction;
use shadowcat::session::Receipt;
use shadowcat::session::{Lane, Scope, Session};
use shadowcat::transport::WriterQueue;

/// A sink that keeps what was written, and when it was closed.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

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

/// A session without threads: what is received is flushed at once, in the order of decisions.
pub struct Bench {
    pub log: Arc<Log>,
    pub session: Arc<Session>,
    pub breakpoints: Arc<Breakpoints>,
    ports: Vec<Arc<WriterQueue<Receipt>>>,
}

impl Bench {
    pub fn new() -> Self {
        let log = Log::new(Clock::manual(1_700_000_000_000_000), DEFAULT_BOUND);
        let breakpoints = Breakpoints::new();
        breakpoints.attend("test");
        let chain = Chain::default().with(0, Arc::clone(&breakpoints) as Arc<dyn Interceptor>);
        let opened =
            Opened { name: "bench".into(), target: vec![], directory: None, pid: None, own_client: false };
        let later = Box::new(|_, _| ());
        let session = Session::open(SessionId(1), opened, Arc::clone(&log), chain, Arc::default(), later);
        Self { log, session, breakpoints, ports: Vec::new() }
    }

    pub fn break_on(&self, query: &str) {
        self.breakpoints.add(Query::parse(query).unwrap(), None);
    }

    /// Two lanes between two sinks. With `exchange` their ids are their own, as over HTTP.
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

    pub fn receive(&self, lane: LaneId, line: &str) {
        self.session.receive(lane, bytes::Bytes::copy_from_slice(line.as_bytes()));
        self.flush();
    }

    pub fn flush(&self) {
        for port in &self.ports {
            port.flush(&mut |receipt, written| self.session.confirm(receipt, written));
        }
    }

    /// The records of the log, as lines of a tape without their times.
    pub fn handling(&self) -> Vec<String> {
        let line = |record: &shadowcat::log::Record| {
            let mut line = Vec::new();
            shadowcat::tape::format::write_record(&mut line, record, 0);
            String::from_utf8(line).unwrap().trim_end().to_owned()
        };
        self.log.window(1, usize::MAX).iter().map(|record| line(record)).collect()
    }
}

/// Two lanes and what came out of them.
pub struct Link {
    pub there: LaneId,
    pub back: LaneId,
    pub server: Sink,
    pub client: Sink,
}

/// The binary under test.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_shadowcat")
}

/// A command of the binary that keeps its tapes in `data`.
pub fn shadowcat(data: &Path) -> Command {
    let mut command = Command::new(program());
    command.env("SHADOWCAT_DATA_DIR", data);
    command
}

/// `forward stdio` in front of a shell script.
pub fn forward(data: &Path, script: &str) -> Command {
    let mut command = shadowcat(data);
    command.args(["forward", "stdio", "--name", "test", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Kills a process that is not done in time: a test that waits for it fails then, and hangs nobody.
/// It is done when this is dropped.
pub struct Deadline {
    _done: std::sync::mpsc::SyncSender<()>,
}

impl Deadline {
    pub fn of(child: &Child) -> Self {
        const PATIENCE: Duration = Duration::from_secs(300);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (done, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            if told.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // It may have ended this moment.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        Self { _done: done }
    }
}

/// Runs a command with `input` on its standard input.
pub fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _deadline = Deadline::of(&child);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The other side may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The tapes in a data directory.
pub fn tapes(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data.join("tapes")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "tape"));
    paths.sort();
    paths
}

/// Waits until `done` says so; the bound is only there for a test that fails.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}
