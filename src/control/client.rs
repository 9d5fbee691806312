//! The client side of a control socket.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::getuid;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::api::{Ask, EngineFacts, Points, Tape, VERSION};
use super::sockets;
use super::wire::{self, EngineMessage, ErrorObject};
use crate::engine::{Command, Reply};
use crate::log::{Record, Seq};
use crate::tape::format::{TapeLine, read_line};

/// A notification from an engine.
#[derive(Debug)]
pub enum Notice {
    /// A record of the log.
    Record(Box<Record>),
    /// Every record that existed when the subscription began has arrived.
    CaughtUp,
    /// The breakpoints or the controllers have changed.
    Breakpoints(Points),
    /// The state of the recording has changed.
    Tape(Tape),
}

/// Error from a request to an engine.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The file is not a socket of this user, or another user's process serves it.
    #[error("{0} is not a socket of this user")]
    Planted(String),
    /// The connection could not be opened, or failed.
    #[error("the engine does not answer: {0}")]
    Io(#[from] io::Error),
    /// The engine did not answer within the time limit.
    #[error("the engine does not answer in time")]
    Silent,
    /// The connection is closed because the engine has ended.
    #[error("the engine has ended")]
    Gone,
    /// The engine answered with an error.
    #[error(transparent)]
    Refused(#[from] ErrorObject),
    /// The answer does not have the expected form.
    #[error("unexpected answer from the engine: {0}")]
    Strange(#[from] serde_json::Error),
}

/// A connection to an engine. Clones share the connection.
#[derive(Clone)]
pub struct ControlClient {
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    made: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Result<Box<RawValue>, ErrorObject>>>,
    gone: bool,
}

/// Maximum number of unread notifications; beyond it the connection is not read (back-pressure).
const NOTICES: usize = 4096;
/// Maximum number of requests that wait to be written.
const REQUESTS: usize = 64;

impl ControlClient {
    /// Connects to the engine at `path` as `name`. Returns the client, the facts of the engine, and
    /// its notifications.
    ///
    /// # Errors
    /// If the socket is not this user's, if nothing answers, or if the engine speaks another
    /// version.
    pub async fn connect(
        path: &Path,
        name: &str,
    ) -> Result<(Self, EngineFacts, mpsc::Receiver<Notice>), CallError> {
        let (read, write) = dial(path).await?.into_split();
        Self::over(read, write, name).await
    }

    /// Connects like [`ControlClient::connect`], over any stream that leads to an engine.
    ///
    /// # Errors
    /// If nothing answers, or if the engine speaks another version.
    pub async fn over(
        read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin + Send + 'static,
        name: &str,
    ) -> Result<(Self, EngineFacts, mpsc::Receiver<Notice>), CallError> {
        let (lines, outgoing) = mpsc::channel(REQUESTS);
        let (notices, receiver) = mpsc::channel(NOTICES);
        let client = Self { lines, waiting: Arc::default(), made: Arc::default() };
        tokio::spawn(write_lines(write, outgoing));
        tokio::spawn(read_lines(read, Arc::clone(&client.waiting), notices));
        let facts = client.ask(&Ask::Hello { version: VERSION, name: name.to_owned() }).await?;
        Ok((client, facts, receiver))
    }

    /// Sends a request and returns its result.
    ///
    /// # Errors
    /// If the connection fails, the engine refuses the request, or the result has another form.
    pub async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, CallError> {
        Ok(serde_json::from_str(self.call(json!(ask)).await?.get())?)
    }

    /// Sends a command and returns its reply.
    ///
    /// # Errors
    /// If the connection fails, or the engine refuses the command.
    pub async fn command(&self, command: &Command) -> Result<Reply, CallError> {
        Ok(serde_json::from_str(self.call(json!(command)).await?.get())?)
    }

    async fn call(&self, request: Value) -> Result<Box<RawValue>, CallError> {
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.gone {
                return Err(CallError::Gone);
            }
            waiting.calls.insert(id, sender);
        }
        self.lines.send(wire::request(id, request)).await.map_err(|_| CallError::Gone)?;
        Ok(answer.await.map_err(|_| CallError::Gone)??)
    }

    /// Returns up to `limit` records from position `from` on; a gap record stands for records that
    /// are lost.
    ///
    /// # Errors
    /// If the connection fails, or the engine refuses the request.
    pub async fn records(&self, from: Seq, limit: usize) -> Result<Vec<Record>, CallError> {
        let lines: Vec<Box<RawValue>> = self.ask(&Ask::Records { from, limit: Some(limit) }).await?;
        let record = |line: &RawValue| match read_line(line.get().as_bytes()) {
            Ok(TapeLine::Record(record)) => Some(record),
            // Only newer engines write records of this form; skip it.
            _ => None,
        };
        Ok(lines.iter().filter_map(|line| record(line)).collect())
    }

    /// Starts notifications with the records of the log from position `from` on.
    ///
    /// # Errors
    /// If the connection fails, or the engine refuses the request.
    pub async fn subscribe(&self, from: Seq) -> Result<(), CallError> {
        self.ask::<Value>(&Ask::Subscribe { from }).await.map(drop)
    }
}

/// Attaches to the server of the engine at `path` as a client called `name`. From then on the
/// stream carries the server's standard output and input.
///
/// # Errors
/// If the socket is not this user's, if nothing answers, if the engine speaks another version, or
/// if it launched no server.
pub async fn join(path: &Path, name: &str, share: bool) -> Result<std::os::unix::net::UnixStream, CallError> {
    let mut stream = dial(path).await?;
    let request = json!(Ask::Attach { version: VERSION, name: name.to_owned(), share });
    stream.write_all(&wire::request(1, request)).await?;
    // Bytes behind the answer come from the server: read no further than the line terminator.
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let message: EngineMessage<'_> = serde_json::from_slice(&line)?;
    if let Some(failure) = message.error {
        return Err(failure.into());
    }
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Connects to the socket at `path`, if the file and the process that serves it are this user's.
async fn dial(path: &Path) -> Result<UnixStream, CallError> {
    let planted = || CallError::Planted(path.display().to_string());
    if !sockets::is_ours(path) {
        return Err(planted());
    }
    let stream = UnixStream::connect(path).await?;
    match stream.peer_cred()?.uid() == getuid().as_raw() {
        true => Ok(stream),
        false => Err(planted()),
    }
}

async fn write_lines(mut write: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        // The task that reads reports the closed connection to the callers.
        if write.write_all(&line).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
}

async fn read_lines(
    read: impl AsyncRead + Unpin,
    waiting: Arc<Mutex<Waiting>>,
    notices: mpsc::Sender<Notice>,
) {
    let mut read = BufReader::with_capacity(256 << 10, read);
    while let Ok(Some(line)) = wire::read_line(&mut read).await {
        if let Some(notice) = dispatch(&line, &waiting)
            && notices.send(notice).await.is_err()
        {
            // The receiver of notifications was dropped; continue reading for the answers.
        }
    }
    let mut waiting = waiting.lock();
    waiting.gone = true;
    waiting.calls.clear();
}

/// Delivers a response to its caller, or returns a notification.
fn dispatch(line: &[u8], waiting: &Mutex<Waiting>) -> Option<Notice> {
    if let Some(record) = line.strip_prefix(wire::RECORD.as_bytes()) {
        return match read_line(record.strip_suffix(b"}")?) {
            Ok(TapeLine::Record(record)) => Some(Notice::Record(Box::new(record))),
            _ => None,
        };
    }
    let message: EngineMessage<'_> = serde_json::from_slice(line).ok()?;
    if let Some(id) = message.id {
        let sender = waiting.lock().calls.remove(&id)?;
        let outcome = match message.error {
            Some(failure) => Err(failure),
            None => Ok(message.result.unwrap_or(RawValue::NULL).to_owned()),
        };
        // The caller may have been cancelled; ignore the error.
        let _ = sender.send(outcome);
        return None;
    }
    if let Some(failure) = message.error {
        tracing::warn!("error from an engine: {failure}");
        return None;
    }
    let params = message.params?.get();
    match message.method?.as_str() {
        "log/caughtUp" => Some(Notice::CaughtUp),
        "breakpoint/changed" => serde_json::from_str(params).ok().map(Notice::Breakpoints),
        "tape/status" => serde_json::from_str(params).ok().map(Notice::Tape),
        // Only newer engines send other notifications; skip it.
        _ => None,
    }
}
