//! Which of the running engines is meant, and talking to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::api::{Ask, Facts, FrameFacts, HeldFrame, SessionFacts};
use super::client::{CallError, Client, Notice};
use super::sockets::{self, EngineSocket};
use crate::engine::{Command, Reply};
use crate::log::record::{Record, Seq};
use crate::mcp::{Kind, Message, compose};

/// Which engine, and who asks.
#[derive(Debug, Clone)]
pub struct EngineSelector {
    /// Where several run: the name of a server or session, a process id, or the path of a socket.
    pub name: Option<String>,
    /// What the log calls whoever does something.
    pub by: String,
}

/// A connection to an engine.
pub struct Reached {
    pub path: PathBuf,
    pub facts: Facts,
    client: Client,
    /// How much was told; it ends with the engine.
    told: watch::Receiver<u64>,
}

/// Why nothing was reached or done.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error("{}", match .0 {
        Some(name) => format!("no running shadowcat is called {name:?}"),
        None => "no shadowcat is running".to_owned(),
    })]
    Nobody(Option<String>),
    #[error("{} shadowcats run: {}", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    #[error("#{0} is not held")]
    NotHeld(Seq),
    #[error("#{0} is no request, nobody waits for an answer to it")]
    NoRequest(Seq),
    #[error("{0} has ended")]
    Ended(String),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// How long an engine may take to answer the first question.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether there is something new.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Frames that are asked for at once.
const FRAMES_PER_PAGE: usize = 1000;

impl EngineSelector {
    /// Every engine that is meant, the oldest first.
    pub async fn all(&self) -> Vec<Reached> {
        let mut reached = Vec::new();
        let doors = self.doors();
        // All at once: one that was stopped keeps nobody waiting twice.
        let met = join_all(doors.iter().map(|path| self.reach(path))).await;
        for (path, met) in doors.iter().zip(met) {
            match met {
                Ok(engine) => reached.push(engine),
                // It ended a moment ago, or was killed: the next engine sweeps its socket away.
                Err(CallError::Io(_) | CallError::Gone) => {}
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
        let Some(name) = &self.name else { return reached };
        if reached.iter().any(|engine| engine.is_called(name)) {
            reached.retain(|engine| engine.is_called(name));
            return reached;
        }
        // It may be the name of a session; those of a gateway are called as their servers are.
        let mut among = Vec::new();
        for engine in reached {
            let sessions = engine.sessions().await.unwrap_or_default();
            if sessions.iter().any(|session| session.name == *name) {
                among.push(engine);
            }
        }
        among
    }

    /// The one engine that is meant.
    ///
    /// # Errors
    /// When there is none, or more than one.
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

    /// The engine that holds frame `id`.
    ///
    /// # Errors
    /// When none does, or more than one.
    pub async fn holder(&self, id: Seq) -> Result<Reached, ReachError> {
        let all = self.all().await;
        if all.len() < 2 {
            return self.only(all);
        }
        let mut holders = Vec::new();
        for engine in all {
            if engine.held().await?.iter().any(|held| held.id == id) {
                holders.push(engine);
            }
        }
        match holders.is_empty() {
            true => Err(ReachError::NotHeld(id)),
            false => self.only(holders),
        }
    }

    /// The first frame that a query matches, of an engine that runs or is about to start: after now, or
    /// from a position on.
    ///
    /// # Errors
    /// When the engine ends first.
    pub async fn first(&self, filter: &str, from: Option<Seq>) -> Result<FrameFacts, ReachError> {
        let mut engine = loop {
            match self.all().await.len() {
                0 => tokio::time::sleep(POLL_INTERVAL).await,
                _ => break self.one().await?,
            }
        };
        let start = from.unwrap_or(engine.facts.last + 1);
        engine.subscribe(engine.facts.last + 1).await?;
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
            if !engine.news().await {
                return Err(ReachError::Ended(engine.title()));
            }
        }
    }

    fn doors(&self) -> Vec<PathBuf> {
        match &self.name {
            Some(path) if path.contains('/') => vec![path.into()],
            _ => sockets::doors().into_iter().map(|EngineSocket { path, .. }| path).collect(),
        }
    }

    async fn reach(&self, path: &Path) -> Result<Reached, CallError> {
        let connect = tokio::time::timeout(HELLO_TIMEOUT, Client::connect(path, &self.by));
        let (client, facts, notices) = connect.await.map_err(|_| CallError::Silent)??;
        Ok(Reached { path: path.to_owned(), facts, client, told: count(notices) })
    }
}

impl Reached {
    /// # Errors
    /// When there is no answer.
    pub async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, CallError> {
        self.client.ask(ask).await
    }

    /// # Errors
    /// When it is not done.
    pub async fn command(&self, command: &Command) -> Result<Reply, CallError> {
        self.client.command(command).await
    }

    /// Follows the log from a position on.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn subscribe(&self, from: Seq) -> Result<(), CallError> {
        self.client.subscribe(from).await
    }

    /// Its sessions.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn sessions(&self) -> Result<Vec<SessionFacts>, CallError> {
        self.ask(&Ask::Sessions {}).await
    }

    /// What is held.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn held(&self) -> Result<Vec<HeldFrame>, CallError> {
        self.ask(&Ask::Held {}).await
    }

    /// One frame that is held.
    ///
    /// # Errors
    /// When it is not.
    pub async fn held_frame(&self, frame: Seq) -> Result<HeldFrame, ReachError> {
        self.held().await?.into_iter().find(|held| held.id == frame).ok_or(ReachError::NotHeld(frame))
    }

    /// What a held frame would go on as now.
    ///
    /// # Errors
    /// When it is not held.
    pub async fn held_text(&self, frame: Seq) -> Result<String, ReachError> {
        if let Some(amended) = self.held_frame(frame).await?.amended {
            return Ok(amended);
        }
        let records = self.client.records(frame, 1).await?;
        let held = records.first().and_then(Record::frame).ok_or(ReachError::NotHeld(frame))?;
        Ok(String::from_utf8_lossy(held.message.body()).into_owned())
    }

    /// The line that answers a held request with `value` as its result, or with the `result` or
    /// `error` in it.
    ///
    /// # Errors
    /// When it is not held or no request.
    pub async fn answer(&self, frame: Seq, value: &Value) -> Result<Bytes, ReachError> {
        let request = Message::parse(Bytes::from(self.held_text(frame).await?));
        let Kind::Request { id, .. } = request.kind() else { return Err(ReachError::NoRequest(frame)) };
        Ok(match (value.get("result"), value.get("error")) {
            (None, Some(error)) => {
                Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.token()))
            }
            (result, _) => compose::response(id, result.unwrap_or(value)),
        })
    }

    /// The newest frames from a position on that a query matches.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn matching(&self, filter: &str, start: Seq) -> Result<Vec<FrameFacts>, CallError> {
        let (filter, from) = (filter.to_owned(), Some(start));
        self.ask(&Ask::Frames { filter, from, to: None, limit: Some(FRAMES_PER_PAGE), newest: true }).await
    }

    /// Waits until there is something new; false when the engine has ended.
    pub async fn news(&mut self) -> bool {
        let came = self.told.changed().await.is_ok();
        // What comes together is looked at together.
        tokio::time::sleep(POLL_INTERVAL).await;
        self.told.mark_unchanged();
        came
    }

    pub fn title(&self) -> String {
        format!("{} ({})", self.facts.name, self.facts.pid)
    }

    fn is_called(&self, name: &str) -> bool {
        let Facts { name: own, pid, .. } = &self.facts;
        own == name || pid.to_string() == name || self.path == Path::new(name)
    }
}

/// Counts what is told. Whoever does not look holds nothing up: answers come on the same connection.
fn count(mut notices: mpsc::Receiver<Notice>) -> watch::Receiver<u64> {
    let (count, told) = watch::channel(0);
    tokio::spawn(async move {
        while notices.recv().await.is_some() {
            count.send_modify(|count| *count += 1);
        }
    });
    told
}
