//! The socket of an engine: connections that ask, command and follow.
//!
//! Nothing here can stop the engine: a connection that does not read waits by itself, as a reader
//! of the log, and a socket that is deleted is made again.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::getuid;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::api::{Ask, Points, Tape, VERSION};
use super::place::{self, PlaceError};
use super::reading::Reading;
use super::schema::{self, Table};
use super::wire::{self, Failure, Incoming};
use crate::engine::{Command, Engine, Reply, Who};
use crate::log::record::{Body, Level, Note, SessionId};
use crate::log::{Seq, Tail};
use crate::tape::Status;
use crate::tape::format::write_record;

/// What an engine says of itself that its log does not.
#[derive(Debug, Clone)]
pub struct About {
    pub name: String,
    /// The command that runs.
    pub mode: String,
    pub target: Vec<String>,
}

/// A socket that is served until this is dropped.
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
    /// Every connection listens to this.
    ending: watch::Sender<bool>,
}

/// Whether a client was joined to a server, and why not.
pub type Joined = Result<(), String>;
/// Joins a client, whose streams these are, to a server.
pub type Attach = Arc<dyn Fn(std::os::unix::net::UnixStream, &str) -> Joined + Send + Sync>;

/// What every connection shares.
struct Shared {
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
    reading: Arc<Mutex<Reading>>,
}

/// How often it is looked whether the socket is still there.
const LOOK: Duration = Duration::from_secs(2);
/// Requests of one connection that may be under way.
const UNDER_WAY: usize = 64;
/// Records that are sent between two looks at what else there is.
const BATCH: usize = 256;

/// Serves `engine` on a socket of its own. Clients that attach are joined to a server by `attach`.
///
/// # Errors
/// When there is no place for one that is ours alone.
pub fn serve(
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
) -> Result<Server, PlaceError> {
    let directory = place::directory()?;
    place::prepare(&directory)?;
    place::sweep();
    let path = place::socket(&directory, &about.name)?;
    let listener = bind(&path).map_err(|source| PlaceError::Io { path: path.clone(), source })?;
    let reading = Arc::new(Mutex::new(Reading::new(engine.log())));
    let (ending, ended) = watch::channel(false);
    let shared = Arc::new(Shared { engine, about, recording, attach, reading });
    let task = tokio::spawn(listen(listener, path.clone(), shared, ended));
    Ok(Server { path, task, ending })
}

impl Server {
    /// Takes nobody new, and lets those who follow the log read to its end, for a while.
    pub async fn close(self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
        self.ending.send_replace(true);
        // A reader that does not read is no reason to stay.
        let _ = tokio::time::timeout(PATIENCE, self.ending.closed()).await;
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // Left by a process of the same number; one that is alive would be us.
    if place::is_ours(path) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn listen(
    mut listener: UnixListener,
    path: PathBuf,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    tokio::spawn(Connection::serve(stream, Arc::clone(&shared), ended.clone()));
                }
                // Another user: the directory should have kept it out already.
                Ok(_) => tracing::warn!("another user was turned away from the control socket"),
                // No descriptors are left: that passes.
                Err(_) => tokio::time::sleep(LOOK).await,
            },
            _ = look.tick() => {
                if !path.exists()
                    && let Some(directory) = path.parent()
                    && place::prepare(directory).is_ok()
                    && let Ok(again) = bind(&path)
                {
                    listener = again;
                }
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == getuid().as_raw())
}

/// One peer.
struct Connection {
    shared: Arc<Shared>,
    /// Who it is, once it has said so.
    engine: Option<Engine>,
    seat: Option<u32>,
    tail: Option<Subscription>,
}

struct Subscription {
    tail: Tail,
    /// Up to here it is told what was there before.
    until: Option<Seq>,
}

/// What is to be written: an answer, and the seat that was taken or left by it.
struct Outgoing {
    line: Vec<u8>,
    seat: Option<Option<u32>>,
}

impl Connection {
    async fn serve(mut stream: UnixStream, shared: Arc<Shared>, ended: watch::Receiver<bool>) {
        // What follows the first line may be for somebody else than us: not a byte of it is read.
        let Some(first) = first_line(&mut stream).await else { return };
        let Some((stream, first)) = attach(stream, first, &shared).await else { return };
        let (read, write) = stream.into_split();
        let (lines, incoming) = mpsc::channel(UNDER_WAY);
        let reader = tokio::spawn(read_lines(read, lines));
        let mut connection = Self { shared, engine: None, seat: None, tail: None };
        // A peer that is gone is no failure of ours.
        let _ = connection.run(first, write, incoming, ended).await;
        reader.abort();
        if let (Some(engine), Some(seat)) = (connection.engine, connection.seat) {
            // The engine may have ended.
            let _ = engine.send(Command::Leave { seat }).await;
        }
    }

    async fn run(
        &mut self,
        first: Vec<u8>,
        mut write: OwnedWriteHalf,
        mut incoming: mpsc::Receiver<io::Result<Vec<u8>>>,
        mut ended: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let (answers, mut outgoing) = mpsc::channel::<Outgoing>(UNDER_WAY);
        let mut breakpoints = self.shared.engine.watch();
        let mut recording = self.shared.recording.clone();
        if let Some(answer) = self.take(&first, &answers) {
            write.write_all(&answer).await?;
        }
        loop {
            tokio::select! {
                line = incoming.recv() => match line {
                    Some(Ok(line)) => {
                        if let Some(answer) = self.take(&line, &answers) {
                            write.write_all(&answer).await?;
                        }
                    }
                    Some(Err(error)) => {
                        let failure = Failure::new(wire::INVALID_REQUEST, error.to_string());
                        return write.write_all(&wire::answer(&Value::Null, Err(failure))).await;
                    }
                    None => return Ok(()),
                },
                Some(Outgoing { line, seat }) = outgoing.recv() => {
                    if let Some(seat) = seat {
                        self.sit(seat);
                    }
                    write.write_all(&line).await?;
                }
                // The engine ends: what it said last is told first.
                true = is_true(&mut ended), if self.is_told_everything() => return Ok(()),
                () = news(&mut self.tail) => write.write_all(&self.records()).await?,
                Ok(()) = breakpoints.changed(), if self.engine.is_some() => {
                    let points = Points::from(&*breakpoints.borrow_and_update());
                    write.write_all(&wire::notice("breakpoint/changed", &points)).await?;
                }
                Ok(()) = recording.changed(), if self.engine.is_some() => {
                    let tape = Tape::from(&*recording.borrow_and_update());
                    write.write_all(&wire::notice("tape/status", &tape)).await?;
                }
            }
        }
    }

    /// The handle that is used from now on: its commands are those of the one in this seat.
    fn sit(&mut self, seat: Option<u32>) {
        self.seat = seat;
        if let Some(engine) = &mut self.engine {
            *engine = engine.of(Who { seat, ..engine.who().clone() });
        }
    }

    /// Whether nothing is left to send of the log.
    fn is_told_everything(&self) -> bool {
        self.tail.as_ref().is_none_or(|subscription| subscription.tail.behind() == 0)
    }

    /// What is new in the log, and that everything has been sent when it has.
    fn records(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(Subscription { tail, until }) = &mut self.tail else { return out };
        let log = self.shared.engine.log();
        for record in tail.read(BATCH) {
            out.extend_from_slice(wire::RECORD.as_bytes());
            write_record(&mut out, &record, log.clock().wall(record.at));
            // It ends its line; here it ends inside of one.
            out.pop();
            out.extend_from_slice(b"}\n");
        }
        if let Some(last) = until.filter(|last| tail.position() > *last) {
            *until = None;
            out.extend(wire::notice("log/caughtUp", &json!({ "last": last })));
        }
        out
    }

    /// Takes a request. What takes a while is answered later.
    fn take(&mut self, line: &[u8], answers: &mpsc::Sender<Outgoing>) -> Option<Vec<u8>> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let request: Incoming = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => {
                let code = if error.is_data() { wire::INVALID_REQUEST } else { wire::PARSE_ERROR };
                return Some(wire::answer(&Value::Null, Err(Failure::new(code, error.to_string()))));
            }
        };
        // What has no id wants no answer.
        let id = request.id.clone()?;
        match self.begin(request) {
            Ok(Begun::Now) => Some(wire::answer(&id, Ok(wire::result(&json!({}))))),
            Ok(Begun::Ask(ask)) => {
                let (shared, answers) = (Arc::clone(&self.shared), answers.clone());
                tokio::task::spawn_blocking(move || {
                    let outcome = shared.read(&ask);
                    // The peer may be gone.
                    let _ = answers.blocking_send(Outgoing { line: wire::answer(&id, outcome), seat: None });
                });
                None
            }
            Ok(Begun::Command(engine, command)) => {
                let answers = answers.clone();
                let leaves = matches!(command, Command::Leave { .. });
                tokio::spawn(async move {
                    let outcome = engine.send(command).await;
                    let seat = match &outcome {
                        Ok(Reply::Seat(seat)) => Some(Some(*seat)),
                        Ok(_) if leaves => Some(None),
                        _ => None,
                    };
                    let outcome = outcome
                        .map(|reply| wire::result(&reply))
                        .map_err(|refusal| Failure::new(wire::REFUSED, refusal.0));
                    // The peer may be gone.
                    let _ = answers.send(Outgoing { line: wire::answer(&id, outcome), seat }).await;
                });
                None
            }
            Err(failure) => Some(wire::answer(&id, Err(failure))),
        }
    }

    fn begin(&mut self, request: Incoming) -> Result<Begun, Failure> {
        let Incoming { jsonrpc, method, params, .. } = request;
        if jsonrpc != "2.0" {
            return Err(Failure::new(wire::INVALID_REQUEST, "this is JSON-RPC 2.0"));
        }
        let Some(table) = schema::table(&method) else {
            let text = format!("there is no method {method:?}; `shadowcat ctl schema` lists them");
            return Err(Failure::new(wire::UNKNOWN_METHOD, text));
        };
        let tagged = json!({ "method": method, "params": params.unwrap_or_else(|| json!({})) });
        let wrong =
            |error: serde_json::Error| Failure::new(wire::INVALID_PARAMS, format!("{method}: {error}"));
        let ask = (table == Table::Asks)
            .then(|| serde_json::from_value::<Ask>(tagged.clone()).map_err(wrong))
            .transpose()?;
        if let Some(Ask::Hello { version, name }) = &ask {
            return self.hello(*version, name);
        }
        if let Some(Ask::Attach { .. }) = &ask {
            return Err(Failure::new(
                wire::INVALID_REQUEST,
                "client/attach is the first message of its connection",
            ));
        }
        let Some(engine) = &self.engine else {
            return Err(Failure::new(wire::INVALID_REQUEST, "the first request is hello"));
        };
        match ask {
            Some(Ask::Subscribe { from }) => {
                let log = engine.log();
                self.tail = Some(Subscription { tail: log.tail(from), until: Some(log.last()) });
                Ok(Begun::Now)
            }
            Some(Ask::Unsubscribe {}) => {
                self.tail = None;
                Ok(Begun::Now)
            }
            Some(ask) => Ok(Begun::Ask(ask)),
            None => {
                let command = serde_json::from_value(tagged).map_err(wrong)?;
                Ok(Begun::Command(engine.clone(), command))
            }
        }
    }

    fn hello(&mut self, version: u32, name: &str) -> Result<Begun, Failure> {
        check_version(version)?;
        const LONGEST_NAME: usize = 100;
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        self.engine = Some(self.shared.engine.of(Who { name: name.into(), seat: None }));
        Ok(Begun::Ask(Ask::Facts {}))
    }
}

/// # Errors
/// When a peer speaks another version of the protocol.
fn check_version(version: u32) -> Result<(), Failure> {
    let program = concat!("shadowcat ", env!("CARGO_PKG_VERSION"));
    let next = match version.cmp(&VERSION) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "restart it with the newer program",
        std::cmp::Ordering::Less => "update the program that asks",
    };
    let text = format!(
        "this engine ({program}) speaks version {VERSION} of the control protocol and you speak {version}: {next}"
    );
    Err(Failure::new(wire::INCOMPATIBLE, text))
}

/// The first line of a connection, without its end.
async fn first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    /// A first message is a short one.
    const LONGEST: usize = 64 << 10;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await.ok()? {
            b'\n' => return Some(line),
            byte => line.push(byte),
        }
        if line.len() > LONGEST {
            let failure = Failure::new(wire::INVALID_REQUEST, "the first line is longer than is taken");
            // It may have left.
            let _ = stream.write_all(&wire::answer(&Value::Null, Err(failure))).await;
            return None;
        }
    }
}

/// Joins a client to a server, if that is what it wants. Gives the connection back otherwise.
async fn attach(
    mut stream: UnixStream,
    first: Vec<u8>,
    shared: &Arc<Shared>,
) -> Option<(UnixStream, Vec<u8>)> {
    let request =
        serde_json::from_slice::<Incoming>(&first).ok().filter(|request| request.method == "client/attach");
    let Some(request) = request else { return Some((stream, first)) };
    let id = request.id.unwrap_or_default();
    let tagged = json!({ "method": request.method, "params": request.params.unwrap_or_else(|| json!({})) });
    let asked = match serde_json::from_value(tagged) {
        Ok(Ask::Attach { version, name }) => check_version(version).map(|()| name),
        Ok(_) => Err(Failure::new(wire::INVALID_REQUEST, "client/attach was asked for")),
        Err(error) => Err(Failure::new(wire::INVALID_PARAMS, error.to_string())),
    };
    let able = shared.attach.clone().ok_or_else(|| {
        Failure::new(wire::REFUSED, "this shadowcat launched no server that clients can attach to")
    });
    let joined = match asked.and_then(|name| Ok((name, able?))) {
        Ok((name, attach)) => {
            // The answer goes first: behind it comes what the server says.
            stream.write_all(&wire::answer(&id, Ok(wire::result(&json!({}))))).await.ok()?;
            let stream = stream.into_std().ok()?;
            stream.set_nonblocking(false).ok()?;
            attach(stream, &name)
        }
        Err(failure) => {
            // It may have left.
            let _ = stream.write_all(&wire::answer(&id, Err(failure))).await;
            return None;
        }
    };
    if let Err(why) = joined {
        let note = Note {
            frame: None,
            mark: None,
            level: Level::Error,
            by: "shadowcat".into(),
            text: format!("nobody was attached: {why}"),
        };
        shared.engine.log().append(SessionId(0), Body::Note(note));
    }
    None
}

/// How a request goes on.
enum Begun {
    Now,
    Ask(Ask),
    Command(Engine, Command),
}

impl Shared {
    fn read(&self, ask: &Ask) -> Result<Vec<u8>, Failure> {
        let mut reading = self.reading.lock();
        reading.catch_up();
        match ask {
            Ask::Hello { .. } | Ask::Facts {} => {
                let facts = reading.facts(&self.about, &self.engine, &self.recording.borrow());
                Ok(wire::result(&facts))
            }
            Ask::Frames { filter, from, to, limit, newest } => {
                reading.frames(filter, (*from, *to), *limit, *newest).map(|frames| wire::result(&frames))
            }
            Ask::Records { from, limit } => Ok(reading.records(*from, *limit)),
            Ask::Held {} => Ok(wire::result(&reading.held(&self.engine))),
            Ask::Breakpoints {} => Ok(wire::result(&Points::from(&self.engine.breakpoints()))),
            // These are of a connection, not of the log.
            Ask::Subscribe { .. } | Ask::Unsubscribe {} | Ask::Attach { .. } => Ok(wire::result(&json!({}))),
        }
    }
}

/// Ready when it is so, or nobody is there who could say so.
async fn is_true(told: &mut watch::Receiver<bool>) -> bool {
    told.wait_for(|told| *told).await.is_ok()
}

/// Ready when the subscription has something to send.
async fn news(subscription: &mut Option<Subscription>) {
    match subscription {
        // An empty log is caught up with at once.
        Some(Subscription { until: Some(last), tail }) if tail.position() > *last => {}
        Some(Subscription { tail, .. }) => tail.changed().await,
        None => std::future::pending().await,
    }
}

async fn read_lines(read: OwnedReadHalf, lines: mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut read = BufReader::new(read);
    loop {
        let next = wire::read_line(&mut read).await.transpose();
        let Some(next) = next else { return };
        let is_last = next.is_err();
        if lines.send(next).await.is_err() || is_last {
            return;
        }
    }
}
