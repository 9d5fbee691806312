//! Attaching engines to a hub: the handshake, then the past records of all new engines merged in
//! order of time, then the notifications of each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{Hub, HubEngine, Machine};
use crate::control::api::EngineFacts;
use crate::control::client::{CallError, ControlClient, Notice};
use crate::control::numbers::NumberMap;
use crate::engine::{Command, Reply};
use crate::log::record::Record;

/// Time limit for the next past record of an engine; after it the others go on without this one.
const STALL: Duration = Duration::from_secs(1);

/// Time limit for the handshake with an engine.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// An engine after the handshake, whose past records are about to arrive.
struct Arrival {
    path: PathBuf,
    machine: Machine,
    facts: EngineFacts,
    client: ControlClient,
    controller: Option<u32>,
    notices: mpsc::Receiver<Notice>,
}

impl Hub {
    /// Attaches the engines behind these sockets. Returns when their past records are in the log,
    /// with the sockets that failed and the reasons; later records are followed in the background.
    pub async fn attach(self: &Arc<Self>, sockets: &[PathBuf]) -> Vec<(PathBuf, CallError)> {
        // Connect to all at the same time: an engine that does not answer does not delay the
        // others.
        let meet = |path: &PathBuf| {
            let path = path.clone();
            async {
                let connected = tokio::time::timeout(HELLO_TIMEOUT, self.meet(path.clone())).await;
                connected.unwrap_or(Err(CallError::Silent)).map_err(|error| (path, error))
            }
        };
        let (mut failed, mut arrivals) = (Vec::new(), Vec::new());
        for connected in join_all(sockets.iter().map(meet)).await {
            match connected {
                Ok(arrival) => arrivals.push(arrival),
                Err(failure) => failed.push(failure),
            }
        }
        self.append_past(arrivals).await;
        failed
    }

    async fn meet(&self, path: PathBuf) -> Result<Arrival, CallError> {
        let connected = ControlClient::connect(&path, &self.name).await?;
        self.greet(path, Machine::Ours, connected).await
    }

    /// Attaches an engine over an existing connection; `path` identifies the engine.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn attach_over(
        self: &Arc<Self>,
        path: PathBuf,
        connected: (ControlClient, EngineFacts, mpsc::Receiver<Notice>),
    ) -> Result<(), CallError> {
        let greeted = tokio::time::timeout(HELLO_TIMEOUT, self.greet(path, Machine::Other, connected)).await;
        let arrival = greeted.unwrap_or(Err(CallError::Silent))?;
        self.append_past(vec![arrival]).await;
        Ok(())
    }

    async fn greet(
        &self,
        path: PathBuf,
        machine: Machine,
        (client, facts, notices): (ControlClient, EngineFacts, mpsc::Receiver<Notice>),
    ) -> Result<Arrival, CallError> {
        let controller = match self.decides {
            true => client.command(&Command::Attend { name: self.name.clone() }).await?,
            false => Reply::Done,
        };
        let controller = match controller {
            Reply::Seat(seat) => Some(seat),
            _ => None,
        };
        let wanted = self.inner.lock().wanted.clone();
        let known = |query: &String| facts.breakpoints.points.iter().any(|point| point.query == *query);
        for query in wanted.into_iter().filter(|query| !known(query)) {
            // The engine may be older and not understand the query; ignore the error.
            let _ = client.command(&Command::Break { query, patience: None }).await;
        }
        client.subscribe(1).await?;
        Ok(Arrival { path, machine, facts, client, controller, notices })
    }

    /// Appends the past records of new engines in order of time, then follows each engine in a
    /// task.
    async fn append_past(self: &Arc<Self>, arrivals: Vec<Arrival>) {
        let mut members = Vec::new();
        for Arrival { path, machine, facts, client, controller, notices } in arrivals {
            let mut inner = self.inner.lock();
            inner.members.push(HubEngine {
                path,
                machine,
                points: facts.breakpoints.clone(),
                tape: facts.tape.clone(),
                facts,
                client,
                controller,
                numbers: NumberMap::default(),
                gone: false,
                behind: Duration::ZERO,
                open: Vec::new(),
                shelf: None,
            });
            members.push((inner.members.len() - 1, notices, None::<Box<Record>>, true));
        }
        self.show();
        loop {
            for (at, notices, head, is_past) in &mut members {
                while head.is_none() && *is_past {
                    match tokio::time::timeout(STALL, notices.recv()).await {
                        Ok(Some(Notice::Record(record))) => *head = Some(record),
                        Ok(Some(Notice::CaughtUp)) | Err(_) => *is_past = false,
                        Ok(Some(other)) => self.on_notice(*at, other),
                        // The tasks below handle the closed connection.
                        Ok(None) => *is_past = false,
                    }
                }
            }
            let stamp = |at: usize, record: &Record| self.stamp(at, record.at);
            let oldest = members
                .iter_mut()
                .filter_map(|(at, _, head, _)| Some((stamp(*at, head.as_ref()?), *at, head)))
                .min_by_key(|(stamp, ..)| *stamp);
            let Some((_, at, head)) = oldest else { break };
            if let Some(record) = head.take() {
                self.tell(at, &record);
            }
        }
        for (at, mut notices, ..) in members {
            let hub = Arc::clone(self);
            tokio::spawn(async move {
                while let Some(notice) = notices.recv().await {
                    hub.on_notice(at, notice);
                }
                let ending = Arc::clone(&hub);
                // Records that the engine could not send any more are on its tape. `Err` means that
                // reading it panicked; the records are lost then.
                let _ = tokio::task::spawn_blocking(move || ending.read_rest(at)).await;
                hub.lost(at);
            });
        }
    }
}
