//! Stand-in: a recording in the place of a server on a pair of streams, optionally with the real server
//! behind it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::log::record::Origin;
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::{Direction, Id, Kind, Message, compose, layout};
use crate::tape::builder::TapeBuilder;
use crate::tape::replay::{Handled, How, StandIn};
use crate::transport::child::{Child, Process, SpawnError, Spec};

/// Configuration of a stand-in.
pub struct StandInConfig {
    /// Recording that answers.
    pub standin: StandIn,
    /// Command of the real server, which answers requests that the recording does not contain.
    pub real: Option<Spec>,
    /// Builder of a new recording of the messages that pass.
    pub builder: Option<TapeBuilder>,
    /// Maximum length in bytes of a line that is parsed. Longer lines of the client are dropped, those of
    /// the real server pass unparsed.
    pub limit: usize,
}

/// Errors that end a stand-in.
#[derive(Debug, thiserror::Error)]
pub enum StandInError {
    /// The real server could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The real server left a request unanswered: it ended, did not read, or took too long.
    #[error("the real server ended while it was needed")]
    RealEnded,
}

/// Input of a stand-in.
enum Event {
    Client(Bytes),
    ClientEnded,
    Server(Bytes),
    /// Part of a line of the server that is over the limit.
    ServerRaw(Bytes),
    ServerEnded,
    /// A request to end, from [`StandInHandle`].
    Stop,
}

/// Handle that ends a stand-in from another thread.
#[derive(Clone)]
pub struct StandInHandle(SyncSender<Event>);

/// Capacity of the queue of events.
const MAX_EVENTS: usize = 256;
/// Capacity of the queue of lines for the real server.
const MAX_LINES: usize = 1 << 16;
/// Time limit for the real server to answer open requests after the client has ended.
const FINAL_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 << 10;

/// A stand-in that has not started yet.
pub struct StandInServer {
    stage: StandInConfig,
    events: SyncSender<Event>,
    coming: Receiver<Event>,
}

impl StandInHandle {
    /// Asks the stand-in to end.
    pub fn stop(&self) {
        // The stand-in may have ended already, or its queue is full; ignore the error.
        let _ = self.0.try_send(Event::Stop);
    }
}

impl StandInServer {
    /// Creates a stand-in from its configuration.
    pub fn new(stage: StandInConfig) -> Self {
        let (events, coming) = sync_channel(MAX_EVENTS);
        Self { stage, events, coming }
    }

    /// Returns a handle that ends the stand-in from another thread.
    pub fn stop(&self) -> StandInHandle {
        StandInHandle(self.events.clone())
    }

    /// Stands in for the server until the client has ended and its open requests are answered, then ends
    /// the recording that the builder makes.
    ///
    /// # Errors
    /// Fails if the real server or a thread cannot be started, or if the real server leaves a request
    /// unanswered.
    pub fn run(self, input: impl Read + Send + 'static, output: impl Write) -> Result<(), StandInError> {
        let Self { stage: StandInConfig { standin, real, builder, limit }, events, coming } = self;
        let child = real.map(|spec| spec.spawn()).transpose()?;
        read(input, limit, events.clone(), Event::Client, |_| None, || Event::ClientEnded)?;
        let real = match child {
            Some(child) => Some(Real::start(child, limit, events)?),
            None => None,
        };
        let is_spy = real.is_some();
        let mut play = Play {
            standin,
            builder,
            real,
            is_spy,
            output,
            greeting: None,
            open: BTreeMap::new(),
            failed: false,
        };
        play.run(&coming);
        play.builder.iter().for_each(TapeBuilder::end);
        match play.failed {
            true => Err(StandInError::RealEnded),
            false => Ok(()),
        }
    }
}

fn read(
    mut from: impl Read + Send + 'static,
    limit: usize,
    events: SyncSender<Event>,
    line: fn(Bytes) -> Event,
    raw: fn(Bytes) -> Option<Event>,
    ended: fn() -> Event,
) -> std::io::Result<()> {
    let run = move || {
        let mut splitter = LineSplitter::new(limit);
        let mut chunk = vec![0; READ_BYTES];
        let mut take = |piece| {
            let event = match piece {
                LinePart::Line(bytes) => Some(line(bytes)),
                LinePart::Start(bytes) => {
                    tracing::warn!("a line of more than {limit} bytes is not inspected");
                    raw(bytes)
                }
                LinePart::More(bytes) | LinePart::End(bytes) => raw(bytes),
            };
            // An error means that the stand-in has ended.
            event.is_none_or(|event| events.send(event).is_ok())
        };
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            splitter.feed(&chunk[..length]);
            while let Some(piece) = splitter.next_piece() {
                if !take(piece) {
                    return;
                }
            }
        }
        splitter.finish().map(&mut take);
        let _ = events.send(ended());
    };
    thread::Builder::new().name("standin".into()).spawn(run)?;
    Ok(())
}

/// The real server behind a stand-in.
struct Real {
    /// Lines for the stdin of the server. A separate thread writes them, since the server may not read
    /// until its own output is read.
    lines: SyncSender<Bytes>,
    /// Held because dropping the last handle ends the process.
    _process: Process,
}

impl Real {
    fn start(child: Child, limit: usize, events: SyncSender<Event>) -> std::io::Result<Self> {
        let Child { process, mut stdin, stdout, mut stderr } = child;
        read(stdout, limit, events, Event::Server, |raw| Some(Event::ServerRaw(raw)), || Event::ServerEnded)?;
        let copy = move || {
            // Diagnostics of the server go to our stderr; ignore a failure to copy them.
            let _ = std::io::copy(&mut stderr, &mut std::io::stderr());
        };
        thread::Builder::new().name("stderr".into()).spawn(copy)?;
        let (lines, queue) = sync_channel::<Bytes>(MAX_LINES);
        let write = move || {
            while let Ok(line) = queue.recv() {
                if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("stdin".into()).spawn(write)?;
        Ok(Self { lines, _process: process })
    }
}

/// State of a running stand-in.
struct Play<W: Write> {
    standin: StandIn,
    builder: Option<TapeBuilder>,
    real: Option<Real>,
    /// `true` if a real server was configured, even if it has ended.
    is_spy: bool,
    output: W,
    /// Id of an `initialize` that was also sent to the real server, whose answer to it is discarded since
    /// the client has one.
    greeting: Option<Id>,
    /// Requests that the real server has to answer, by the JSON text of their ids.
    open: BTreeMap<String, Id>,
    /// Set once the real server has left a request unanswered.
    failed: bool,
}

impl<W: Write> Play<W> {
    fn run(&mut self, coming: &Receiver<Event>) {
        let mut ended = false;
        // Time limit for the real server's answers once the client has ended.
        let mut patience = FINAL_ANSWER_TIMEOUT;
        loop {
            for said in self.standin.say() {
                if !self.tell_client(said.line, Origin::Replayed) {
                    return;
                }
            }
            if ended && !self.standin.owes() && self.open.is_empty() {
                return;
            }
            let mut wait = self.standin.wait();
            if ended && !self.open.is_empty() {
                wait = Some(wait.unwrap_or(patience).min(patience));
            }
            let event = match wait {
                Some(wait) => coming.recv_timeout(wait),
                None => coming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Client(line)) => self.on_message(line),
                Ok(Event::Server(line)) => {
                    if !self.passed_back(line) {
                        return;
                    }
                }
                Ok(Event::ServerRaw(raw)) => {
                    if self.output.write_all(&raw).and_then(|()| self.output.flush()).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) if ended && !self.standin.owes() => {
                    patience = Duration::ZERO;
                    self.refuse_open("the real server did not answer before the end");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::ClientEnded) => {
                    ended = true;
                    // Dropping the sender closes the server's stdin, which asks it to end. Answers may
                    // still come.
                    if let Some(real) = &mut self.real {
                        real.lines = sync_channel(1).0;
                    }
                }
                Ok(Event::ServerEnded) => {
                    self.real = None;
                    if !ended {
                        tracing::error!("the real server has ended");
                    }
                    self.refuse_open("the real server has ended");
                }
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Handles a line of the client.
    fn on_message(&mut self, line: Bytes) {
        let message = Message::parse(line.clone());
        if let Some(builder) = &mut self.builder {
            builder.say(Direction::ToServer, message.clone(), Origin::Wire);
        }
        match message.kind() {
            // Of a batch, the recording may answer some elements and the real server others.
            Kind::Batch(all) => {
                for element in all {
                    self.heard_one(element, &layout::as_line(element.body()));
                }
            }
            _ => self.heard_one(&message, &line),
        }
    }

    fn heard_one(&mut self, message: &Message, line: &Bytes) {
        let outcome = self.standin.handle(message);
        tell(message, &outcome);
        let missed = matches!(outcome, Handled::Missed { .. });
        // The real server gets the handshake, notifications, and replies to its own requests too.
        let greets = matches!(message.method(), Some("initialize"));
        let is_told = matches!(
            message.kind(),
            Kind::Notification { .. } | Kind::Response { .. } | Kind::Failure { .. }
        );
        if !(missed || greets || is_told && outcome != Handled::Replied) || !self.is_spy {
            return;
        }
        if greets && !missed {
            self.greeting = message.id().cloned();
        } else if let Some(id) = message.id().filter(|_| missed) {
            self.open.insert(id.token().to_owned(), id.clone());
        }
        let sent = self.real.as_ref().map(|real| real.lines.try_send(line.clone()));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => self.refuse_open("the real server does not read"),
            Some(Err(TrySendError::Disconnected(_))) | None => self.refuse_open("the real server has ended"),
        }
    }

    /// Answers the requests that the real server leaves open with an error.
    fn refuse_open(&mut self, why: &str) {
        for id in std::mem::take(&mut self.open).into_values() {
            self.failed = true;
            let line = compose::failure(Some(&id), compose::INTERNAL_ERROR, why);
            // A client that is gone needs no answer; ignore the error.
            let _ = self.tell_client(layout::as_line(&line), Origin::Injected);
        }
    }

    /// Passes a line of the real server to the client. Returns `false` if the client is gone.
    fn passed_back(&mut self, line: Bytes) -> bool {
        let message = Message::parse(line.clone());
        let all = match message.kind() {
            Kind::Batch(all) => all.clone(),
            _ => vec![message.clone()],
        };
        for one in all {
            if matches!(one.kind(), Kind::Response { .. } | Kind::Failure { .. })
                && let Some(id) = one.id()
            {
                if Some(id) == self.greeting.as_ref() {
                    self.greeting = None;
                    return true;
                }
                self.open.retain(|_, open| open != id);
            }
        }
        self.tell_client(line, Origin::Wire)
    }

    fn tell_client(&mut self, line: Bytes, origin: Origin) -> bool {
        if let Some(builder) = &mut self.builder {
            builder.say(Direction::ToClient, Message::parse(line.clone()), origin);
        }
        self.output.write_all(&line).and_then(|()| self.output.flush()).is_ok()
    }
}

/// Logs which recorded request answers a message, and how similar the two are.
fn tell(message: &Message, outcome: &Handled) {
    let title = || {
        let method = message.method().unwrap_or("?");
        message.target().map_or_else(|| method.to_owned(), |target| format!("{method} {target}"))
    };
    match outcome {
        Handled::Answered { by, how: How::Nearest { score, .. } } => {
            tracing::warn!("{} is not in the recording; #{by} answers, similarity {score:.2}", title());
        }
        Handled::Answered { by, how } => tracing::info!("{} is answered by #{by} ({how:?})", title()),
        Handled::Missed { nearest: Some((by, How::Nearest { score, .. })) } => {
            tracing::warn!("{} is not in the recording; nearest is #{by}, similarity {score:.2}", title());
        }
        Handled::Missed { .. } => tracing::warn!("{} is not in the recording", title()),
        Handled::Noted | Handled::Replied => {}
    }
}
