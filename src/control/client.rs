//! The other end of an engine's socket.

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

use super::api::{Ask, Facts, Points, Tape, VERSION};
use super::sockets;
use super::wire::{self, Failure, Told};
use crate::engine::{Command, Reply};
use crate::log::{Record, Seq};
use crate::tape::format::{Line, read_line};

/// What an engine tells by itself.
#[derive(Debug)]
pub enum Notice {
    Record(Box<Record>),
    /// Everything that was there when the subscription began has come.
    CaughtUp,
    Breakpoints(Points),
    Tape(Tape),
}

/// Why an engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{0} is no socket of yours: something else was put there")]
    Planted(String),
    #[error("the engine does not answer: {0}")]
    Io(#[from] io::Error),
    #[error("the engine does not answer in time")]
    Silent,
    #[error("the engine has ended")]
    Gone,
    #[error(transparent)]
    Refused(#[from] Failure),
    #[error("the engine says something else than was asked: {0}")]
    Strange(#[from] serde_json::Error),
}

/// A connection to an engine.
#[derive(Clone)]
pub struct Client {
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    made: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Result<Box<RawValue>, Failure>>>,
    gone: bool,
}

/// Notices that may wait for whoever reads them; then the engine's connection waits.
const NOTICES: usize = 4096;
/// Requests that may wait to be written.
const REQUESTS: usize = 64;

impl Client {
    /// Connects to the engine at `path` as `name`, and says what it is and what it tells.
    ///
    /// # Errors
    /// When nobody answers, or it speaks another version.
    pub async fn connect(
        path: &Path,
        name: &str,
    ) -> Result<(Self, Facts, mpsc::Receiver<Notice>), CallError> {
        let (read, write) = dial(path).await?.into_split();
        Self::over(read, write, name).await
    }

    /// The same over any stream that leads to an engine.
    ///
    /// # Errors
    /// When nobody answers, or it speaks another version.
    pub async fn over(
        read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin + Send + 'static,
        name: &str,
    ) -> Result<(Self, Facts, mpsc::Receiver<Notice>), CallError> {
        let (lines, outgoing) = mpsc::channel(REQUESTS);
        let (notices, told) = mpsc::channel(NOTICES);
        let client = Self { lines, waiting: Arc::default(), made: Arc::default() };
        tokio::spawn(write_lines(write, outgoing));
        tokio::spawn(read_lines(read, Arc::clone(&client.waiting), notices));
        let facts = client.ask(&Ask::Hello { version: VERSION, name: name.to_owned() }).await?;
        Ok((client, facts, told))
    }

    /// Asks something.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, CallError> {
        Ok(serde_json::from_str(self.call(json!(ask)).await?.get())?)
    }

    /// Wants something.
    ///
    /// # Errors
    /// When it is not done.
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

    /// Records from a position on, at most `limit`; a gap stands for those that are lost.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn records(&self, from: Seq, limit: usize) -> Result<Vec<Record>, CallError> {
        let lines: Vec<Box<RawValue>> = self.ask(&Ask::Records { from, limit: Some(limit) }).await?;
        let record = |line: &RawValue| match read_line(line.get().as_bytes()) {
            Ok(Line::Record(record)) => Some(record),
            // From a newer engine.
            _ => None,
        };
        Ok(lines.iter().filter_map(|line| record(line)).collect())
    }

    /// Follows the log from a position on.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn subscribe(&self, from: Seq) -> Result<(), CallError> {
        self.ask::<Value>(&Ask::Subscribe { from }).await.map(drop)
    }
}

/// Joins the engine at `path` as a client of its server: what comes and goes on the stream from now on
/// is what the server says and hears.
///
/// # Errors
/// When nobody answers, it speaks another version, or it launched no server.
pub async fn join(path: &Path, name: &str, share: bool) -> Result<std::os::unix::net::UnixStream, CallError> {
    let mut stream = dial(path).await?;
    let request = json!(Ask::Attach { version: VERSION, name: name.to_owned(), share });
    stream.write_all(&wire::request(1, request)).await?;
    // What follows the answer is the server's: not a byte of it is read.
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let told: Told<'_> = serde_json::from_slice(&line)?;
    if let Some(failure) = told.error {
        return Err(failure.into());
    }
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A stream to the socket at `path`, of which both the file and the one who serves it are ours.
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
        // Whoever waits for an answer learns from the other direction that it is gone.
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
            // Nobody follows; answers are still wanted.
        }
    }
    let mut waiting = waiting.lock();
    waiting.gone = true;
    waiting.calls.clear();
}

/// Hands an answer to whoever waits for it, and returns what was told by itself.
fn dispatch(line: &[u8], waiting: &Mutex<Waiting>) -> Option<Notice> {
    if let Some(record) = line.strip_prefix(wire::RECORD.as_bytes()) {
        return match read_line(record.strip_suffix(b"}")?) {
            Ok(Line::Record(record)) => Some(Notice::Record(Box::new(record))),
            _ => None,
        };
    }
    let told: Told<'_> = serde_json::from_slice(line).ok()?;
    if let Some(id) = told.id {
        let sender = waiting.lock().calls.remove(&id)?;
        let outcome = match told.error {
            Some(failure) => Err(failure),
            None => Ok(told.result.unwrap_or(RawValue::NULL).to_owned()),
        };
        // Whoever asked may have given up.
        let _ = sender.send(outcome);
        return None;
    }
    if let Some(failure) = told.error {
        tracing::warn!("an engine says: {failure}");
        return None;
    }
    let params = told.params?.get();
    match told.method?.as_str() {
        "log/caughtUp" => Some(Notice::CaughtUp),
        "breakpoint/changed" => serde_json::from_str(params).ok().map(Notice::Breakpoints),
        "tape/status" => serde_json::from_str(params).ok().map(Notice::Tape),
        // From a newer engine.
        _ => None,
    }
}
