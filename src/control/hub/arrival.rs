//! Engines that come to a hub: each is greeted, tells its past in the order of time with that of the
//! others, and then goes on by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{Hub, HubEngine, Machine};
use crate::control::api::Facts;
use crate::control::client::{CallError, Client, Notice};
use crate::control::numbers::Numbers;
use crate::engine::{Command, Reply};
use crate::log::record::Record;

/// How long an engine that has more to tell of the past is waited for, before the others go on.
const STALL: Duration = Duration::from_secs(1);

/// How long an engine may take to greet.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// An engine that has been greeted and is about to tell its past.
struct Arrival {
    path: PathBuf,
    machine: Machine,
    facts: Facts,
    client: Client,
    seat: Option<u32>,
    told: mpsc::Receiver<Notice>,
}

impl Hub {
    /// Takes in the engines behind these sockets. What they have to tell of the past is told in the
    /// order of time; then this returns, and they go on. Sockets that nobody answers at are left out,
    /// with the reason.
    pub async fn attach(self: &Arc<Self>, sockets: &[PathBuf]) -> Vec<(PathBuf, CallError)> {
        // One that does not answer keeps nobody from the others.
        let meet = |path: &PathBuf| {
            let path = path.clone();
            async {
                let met = tokio::time::timeout(HELLO_TIMEOUT, self.meet(path.clone())).await;
                met.unwrap_or(Err(CallError::Silent)).map_err(|error| (path, error))
            }
        };
        let (mut failed, mut arrivals) = (Vec::new(), Vec::new());
        for met in join_all(sockets.iter().map(meet)).await {
            match met {
                Ok(arrival) => arrivals.push(arrival),
                Err(failure) => failed.push(failure),
            }
        }
        self.tell_past(arrivals).await;
        failed
    }

    async fn meet(&self, path: PathBuf) -> Result<Arrival, CallError> {
        let met = Client::connect(&path, &self.name).await?;
        self.greet(path, Machine::Ours, met).await
    }

    /// Takes in an engine that is reached in another way, as `path`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn attach_over(
        self: &Arc<Self>,
        path: PathBuf,
        met: (Client, Facts, mpsc::Receiver<Notice>),
    ) -> Result<(), CallError> {
        let greeted = tokio::time::timeout(HELLO_TIMEOUT, self.greet(path, Machine::Other, met)).await;
        let arrival = greeted.unwrap_or(Err(CallError::Silent))?;
        self.tell_past(vec![arrival]).await;
        Ok(())
    }

    async fn greet(
        &self,
        path: PathBuf,
        machine: Machine,
        (client, facts, told): (Client, Facts, mpsc::Receiver<Notice>),
    ) -> Result<Arrival, CallError> {
        let seat = match self.decides {
            true => client.command(&Command::Attend { name: self.name.clone() }).await?,
            false => Reply::Done,
        };
        let seat = match seat {
            Reply::Seat(seat) => Some(seat),
            _ => None,
        };
        let wanted = self.inner.lock().wanted.clone();
        let known = |query: &String| facts.breakpoints.points.iter().any(|point| point.query == *query);
        for query in wanted.into_iter().filter(|query| !known(query)) {
            // One that this engine does not understand is of a newer program.
            let _ = client.command(&Command::Break { query, patience: None }).await;
        }
        client.subscribe(1).await?;
        Ok(Arrival { path, machine, facts, client, seat, told })
    }

    /// Tells what engines have recorded so far, the oldest first, and then lets each go on by itself.
    async fn tell_past(self: &Arc<Self>, arrivals: Vec<Arrival>) {
        let mut told = Vec::new();
        for Arrival { path, machine, facts, client, seat, told: notices } in arrivals {
            let mut inner = self.inner.lock();
            inner.members.push(HubEngine {
                path,
                machine,
                points: facts.breakpoints.clone(),
                tape: facts.tape.clone(),
                facts,
                client,
                seat,
                numbers: Numbers::default(),
                gone: false,
                behind: Duration::ZERO,
                open: Vec::new(),
                shelf: None,
            });
            told.push((inner.members.len() - 1, notices, None::<Box<Record>>, true));
        }
        self.show();
        loop {
            for (at, notices, head, is_past) in &mut told {
                while head.is_none() && *is_past {
                    match tokio::time::timeout(STALL, notices.recv()).await {
                        Ok(Some(Notice::Record(record))) => *head = Some(record),
                        Ok(Some(Notice::CaughtUp)) | Err(_) => *is_past = false,
                        Ok(Some(other)) => self.heard(*at, other),
                        // That it is gone is found again below.
                        Ok(None) => *is_past = false,
                    }
                }
            }
            let stamp = |at: usize, record: &Record| self.stamp(at, record.at);
            let oldest = told
                .iter_mut()
                .filter_map(|(at, _, head, _)| Some((stamp(*at, head.as_ref()?), *at, head)))
                .min_by_key(|(stamp, ..)| *stamp);
            let Some((_, at, head)) = oldest else { break };
            if let Some(record) = head.take() {
                self.tell(at, &record);
            }
        }
        for (at, mut notices, ..) in told {
            let hub = Arc::clone(self);
            tokio::spawn(async move {
                while let Some(notice) = notices.recv().await {
                    hub.heard(at, notice);
                }
                let ending = Arc::clone(&hub);
                // What it could not tell any more is on its tape. A tape that cannot be read is none.
                let _ = tokio::task::spawn_blocking(move || ending.read_rest(at)).await;
                hub.lost(at);
            });
        }
    }
}
