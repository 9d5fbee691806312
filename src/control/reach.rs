//! Selection of running engines, and requests to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::api::{Ask, EngineFacts, FrameFacts, HeldFrame, HeldLine, SessionFacts};
use super::client::{CallError, ControlClient, Notice};
use super::sockets::{self, EngineSocket};
use crate::engine::{Command, Reply};
use crate::log::record::Seq;
use crate::mcp::{Kind, Message, json};

/// Criteria that select running engines, and the name under which to connect to them.
#[derive(Debug, Clone)]
pub struct EngineSelector {
    /// Name of a server or session, process id, or path of a socket; `None` selects every engine.
    pub name: Option<String>,
    /// Name of this peer; the log names it as the author of its commands.
    pub by: String,
}

/// A connection to an engine.
pub struct Reached {
    /// Path of the engine's socket.
    pub path: PathBuf,
    /// Facts that the engine reported in the handshake.
    pub facts: EngineFacts,
    client: ControlClient,
    /// Number of notifications received; closed when the engine ends.
    notices: watch::Receiver<u64>,
}

/// Error from selecting an engine or from a request to it.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No engine is selected: none has this name, or none runs at all.
    #[error("{}", match .0 {
        Some(name) => format!("no running shadowcat is called {name:?}"),
        None => "no shadowcat is running".to_owned(),
    })]
    Nobody(Option<String>),
    /// More than one engine is selected; the titles of all.
    #[error("{} shadowcats are running: {}", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// The frame is not held.
    #[error("#{0} is not held")]
    NotHeld(Seq),
    /// The frame is not a request, so no peer waits for an answer to it.
    #[error("#{0} is not a request: no peer waits for an answer")]
    NoRequest(Seq),
    /// The engine with this title has ended.
    #[error("{0} has ended")]
    Ended(String),
    /// A request to the engine failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Time limit for connecting to an engine, including the handshake.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between searches for an engine, and time during which notifications are collected.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum number of frames in an answer.
const FRAMES_PER_PAGE: usize = 1000;

impl EngineSelector {
    /// Connects to every selected engine, in order of process id. Engines that fail are left out.
    pub async fn all(&self) -> Vec<Reached> {
        let mut reached = Vec::new();
        let engine_sockets = self.engine_sockets();
        // Connect to all at the same time: stopped processes then delay the result only once.
        let connections = join_all(engine_sockets.iter().map(|path| self.reach(path))).await;
        for (path, connection) in engine_sockets.iter().zip(connections) {
            match connection {
                Ok(engine) => reached.push(engine),
                // The engine has just ended or was killed; the next engine that starts removes its
                // socket.
                Err(CallError::Io(_) | CallError::Gone) => {}
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
        let Some(name) = &self.name else { return reached };
        if reached.iter().any(|engine| engine.is_called(name)) {
            reached.retain(|engine| engine.is_called(name));
            return reached;
        }
        // The name may be that of a session: sessions of a gateway have the names of their servers.
        let mut among = Vec::new();
        for engine in reached {
            let sessions = engine.sessions().await.unwrap_or_default();
            if sessions.iter().any(|session| session.name == *name) {
                among.push(engine);
            }
        }
        among
    }

    /// Connects to the one selected engine.
    ///
    /// # Errors
    /// If no engine or more than one is selected.
    pub async fn one(&self) -> Result<Reached, ReachError> {
        self.only(self.all().await)
    }

    fn only(&self, mut all: Vec<Reached>) -> Result<Reached, ReachError> {
        let Some(last) = all.pop() else { return Err(ReachError::Nobody(self.name.clone())) };
        if all.is_empty() {
            return Ok(last);
        }
        all.push(last);
        Err(ReachError::Several(all.iter().map(Reached::title).collect()))
    }

    /// Connects to the selected engine that holds frame `id`. If only one engine is selected, the
    /// frame is not looked for.
    ///
    /// # Errors
    /// If no engine is selected, if none or more than one of several holds the frame, or if one of
    /// them does not answer.
    pub async fn holder(&self, id: Seq) -> Result<Reached, ReachError> {
        let all = self.all().await;
        if all.len() < 2 {
            return self.only(all);
        }
        let mut holders = Vec::new();
        for engine in all {
            if engine.held_line(id).await?.is_some() {
                holders.push(engine);
            }
        }
        match holders.is_empty() {
            true => Err(ReachError::NotHeld(id)),
            false => self.only(holders),
        }
    }

    /// Waits for the first frame that matches the query `filter`: from position `from` on, or from
    /// now on. If no engine is selected yet, waits for one to start.
    ///
    /// # Errors
    /// If more than one engine is selected, or if the engine does not answer or ends first.
    pub async fn first(&self, filter: &str, from: Option<Seq>) -> Result<FrameFacts, ReachError> {
        let mut engine = loop {
            match self.all().await.len() {
                0 => tokio::time::sleep(POLL_INTERVAL).await,
                _ => break self.one().await?,
            }
        };
        engine.subscribe(engine.facts.last + 1).await?;
        if from.is_none() {
            // A script that sets a breakpoint and makes a call may ask only after the call is held.
            for held in engine.ask::<Vec<HeldFrame>>(&Ask::Held {}).await? {
                let ask = Ask::Frames {
                    filter: filter.to_owned(),
                    from: Some(held.id),
                    to: Some(held.id),
                    limit: Some(1),
                    newest: false,
                };
                if let Some(frame) = engine.ask::<Vec<FrameFacts>>(&ask).await?.into_iter().next() {
                    return Ok(frame);
                }
            }
        }
        let start = from.unwrap_or(engine.facts.last + 1);
        loop {
            let ask = Ask::Frames {
                filter: filter.to_owned(),
                from: Some(start),
                to: None,
                limit: Some(1),
                newest: false,
            };
            if let Some(frame) = engine.ask::<Vec<FrameFacts>>(&ask).await?.into_iter().next() {
                return Ok(frame);
            }
            if !engine.changed().await {
                return Err(ReachError::Ended(engine.title()));
            }
        }
    }

    fn engine_sockets(&self) -> Vec<PathBuf> {
        match &self.name {
            Some(path) if path.contains('/') => vec![path.into()],
            _ => sockets::engine_sockets().into_iter().map(|EngineSocket { path, .. }| path).collect(),
        }
    }

    async fn reach(&self, path: &Path) -> Result<Reached, CallError> {
        let connect = tokio::time::timeout(HELLO_TIMEOUT, ControlClient::connect(path, &self.by));
        let (client, facts, notices) = connect.await.map_err(|_| CallError::Silent)??;
        Ok(Reached { path: path.to_owned(), facts, client, notices: count(notices) })
    }
}

impl Reached {
    /// Sends a request and returns its result.
    ///
    /// # Errors
    /// If the engine does not answer, refuses the request, or returns a result of another form.
    pub async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, CallError> {
        self.client.ask(ask).await
    }

    /// Sends a command and returns its reply.
    ///
    /// # Errors
    /// If the engine does not answer, or refuses the command.
    pub async fn command(&self, command: &Command) -> Result<Reply, CallError> {
        self.client.command(command).await
    }

    /// Starts notifications with the records of the log from position `from` on.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn subscribe(&self, from: Seq) -> Result<(), CallError> {
        self.client.subscribe(from).await
    }

    /// Returns the sessions of the engine.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn sessions(&self) -> Result<Vec<SessionFacts>, CallError> {
        self.ask(&Ask::Sessions {}).await
    }

    /// Returns the held frames of the engine.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn held(&self) -> Result<Vec<HeldFrame>, CallError> {
        self.ask(&Ask::Held {}).await
    }

    /// Returns the held frame at position `frame`, with the line that is sent if it is accepted now;
    /// `None` if the frame is not held.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn held_line(&self, frame: Seq) -> Result<Option<HeldLine>, CallError> {
        self.ask(&Ask::HeldLine { frame }).await
    }

    /// Returns the line that is sent if the held frame is accepted now.
    ///
    /// # Errors
    /// If the frame is not held, or if the engine does not answer.
    pub async fn held_text(&self, frame: Seq) -> Result<String, ReachError> {
        Ok(self.held_line(frame).await?.ok_or(ReachError::NotHeld(frame))?.line)
    }

    /// Builds the response to a held request. `value` is JSON on one line: the result, or an object with a
    /// member `result` or `error`.
    ///
    /// # Errors
    /// If the frame is not held or is no request, or if the engine does not answer.
    pub async fn answer(&self, frame: Seq, value: &str) -> Result<Bytes, ReachError> {
        let request = Message::parse(Bytes::from(self.held_text(frame).await?));
        let Kind::Request { id, .. } = request.kind() else { return Err(ReachError::NoRequest(frame)) };
        let member = |key| Some(&value[json::member(value.as_bytes(), 0..value.len(), key)?]);
        let (key, value) = match (member("result"), member("error")) {
            (None, Some(error)) => ("error", error),
            (result, _) => ("result", result.unwrap_or(value)),
        };
        Ok(Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"{key}":{value}}}"#, id.token())))
    }

    /// Returns the newest frames from position `start` on that match the query `filter`, at most
    /// 1000.
    ///
    /// # Errors
    /// If the engine does not answer, or if `filter` is not a query.
    pub async fn matching(&self, filter: &str, start: Seq) -> Result<Vec<FrameFacts>, CallError> {
        let (filter, from) = (filter.to_owned(), Some(start));
        self.ask(&Ask::Frames { filter, from, to: None, limit: Some(FRAMES_PER_PAGE), newest: true }).await
    }

    /// Waits for a notification. Returns `false` if the engine has ended.
    pub async fn changed(&mut self) -> bool {
        let came = self.notices.changed().await.is_ok();
        // Wait a little longer, so that notifications that arrive together are handled together.
        tokio::time::sleep(POLL_INTERVAL).await;
        self.notices.mark_unchanged();
        came
    }

    /// Returns the name of the server and the process id of the engine, for display.
    pub fn title(&self) -> String {
        format!("{} ({})", self.facts.name, self.facts.pid)
    }

    fn is_called(&self, name: &str) -> bool {
        let EngineFacts { name: own, pid, .. } = &self.facts;
        own == name || pid.to_string() == name || self.path == Path::new(name)
    }
}

/// Counts notifications. Every notification is consumed at once, since an unread one would block
/// the answers on the same connection.
fn count(mut notices: mpsc::Receiver<Notice>) -> watch::Receiver<u64> {
    let (count, received) = watch::channel(0);
    tokio::spawn(async move {
        while notices.recv().await.is_some() {
            count.send_modify(|count| *count += 1);
        }
    });
    received
}
