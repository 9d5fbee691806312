//! Which of the running engines is meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, Kind};
use crate::control::api::{Ask, Facts, HeldFrame};
use crate::control::client::CallError;
use crate::control::place::{self, Door};
use crate::control::{Client, Notice};
use crate::engine::{Command, Reply};
use crate::log::record::Seq;

/// Which engine.
#[derive(Debug, Clone, Args)]
pub struct Whom {
    /// Where several run: the name of a server or session, a process id, or the path of a socket.
    #[arg(long = "session", value_name = "NAME", global = true, env = "SHADOWCAT_SESSION")]
    pub name: Option<String>,
    /// What the log calls whoever does this.
    #[arg(long = "as", value_name = "NAME", global = true, default_value = "ctl")]
    pub by: String,
}

/// A connection to an engine.
pub struct Reached {
    pub path: PathBuf,
    pub facts: Facts,
    client: Client,
    pub notices: mpsc::Receiver<Notice>,
}

/// How long an engine may take to answer the first question.
const PATIENCE: Duration = Duration::from_secs(5);

impl Whom {
    /// Every engine that is meant, the oldest first.
    pub async fn all(&self) -> Vec<Reached> {
        let mut reached = Vec::new();
        for path in self.doors() {
            match self.reach(&path).await {
                Ok(engine) => reached.push(engine),
                // It ended a moment ago, or was killed: the next engine sweeps its socket away.
                Err(CallError::Io(_) | CallError::Gone) => {}
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
        if let Some(name) = &self.name {
            reached.retain(|engine| engine.is_called(name));
        }
        reached
    }

    /// The one engine that is meant.
    pub async fn one(&self) -> Result<Reached, Failure> {
        self.only(self.all().await)
    }

    fn only(&self, mut all: Vec<Reached>) -> Result<Reached, Failure> {
        let Some(last) = all.pop() else { return Err(self.nobody()) };
        if all.is_empty() {
            return Ok(last);
        }
        all.push(last);
        let names: Vec<String> = all.iter().map(Reached::title).collect();
        Err(Failure::usage(format!("{} shadowcats run: {}", names.len(), names.join(", ")))
            .hint("say which with --session NAME, or its process id"))
    }

    /// The engine that holds frame `id`.
    pub async fn holder(&self, id: Seq) -> Result<Reached, Failure> {
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
            true => Err(not_held(id)),
            false => self.only(holders),
        }
    }

    /// Why there is nothing to talk to.
    pub fn nobody(&self) -> Failure {
        let text = match &self.name {
            Some(name) => format!("no running shadowcat is called {name:?}"),
            None => "no shadowcat is running".to_owned(),
        };
        Failure::new(Kind::Peer, text)
            .hint("`shadowcat ctl sessions` lists what runs; `shadowcat forward stdio -- CMD` starts one")
    }

    fn doors(&self) -> Vec<PathBuf> {
        match &self.name {
            Some(path) if path.contains('/') => vec![path.into()],
            _ => place::doors().into_iter().map(|Door { path, .. }| path).collect(),
        }
    }

    async fn reach(&self, path: &Path) -> Result<Reached, CallError> {
        let connect = tokio::time::timeout(PATIENCE, Client::connect(path, &self.by));
        let (client, facts, notices) = connect.await.map_err(|_| CallError::Gone)??;
        Ok(Reached { path: path.to_owned(), facts, client, notices })
    }
}

impl Reached {
    pub async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Failure> {
        self.client.ask(ask).await.map_err(failure)
    }

    pub async fn command(&self, command: &Command) -> Result<Reply, Failure> {
        self.client.command(command).await.map_err(failure)
    }

    pub async fn subscribe(&self, from: Seq) -> Result<(), Failure> {
        self.client.subscribe(from).await.map_err(failure)
    }

    pub async fn held(&self) -> Result<Vec<HeldFrame>, Failure> {
        self.ask(&Ask::Held {}).await
    }

    pub fn title(&self) -> String {
        format!("{} ({})", self.facts.name, self.facts.pid)
    }

    fn is_called(&self, name: &str) -> bool {
        let Facts { name: own, pid, sessions, .. } = &self.facts;
        own == name
            || pid.to_string() == name
            || self.path == Path::new(name)
            || sessions.iter().any(|session| session.name == name)
    }
}

/// Why nothing can be decided on a frame.
pub fn not_held(id: Seq) -> Failure {
    Failure::usage(format!("#{id} is not held")).hint("`shadowcat ctl held` lists what is")
}

fn failure(error: CallError) -> Failure {
    match error {
        // The engine understood and says no: what was wanted is wrong.
        CallError::Refused(failure) => Failure::usage(failure),
        other => Failure::peer(other),
    }
}
