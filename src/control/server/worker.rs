//! Execution of one peer's requests, in the order in which they arrived.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::ServerState;
use crate::control::api::Ask;
use crate::control::wire::{self, ErrorObject};
use crate::engine::{Command, Engine, Refusal, Reply, Who};

/// A request to carry out.
pub(super) struct Job {
    /// Id of the request, for its answer.
    pub id: Value,
    /// Parsed request.
    pub work: Work,
}

/// A parsed request that the worker carries out.
pub(super) enum Work {
    Ask(Ask),
    /// A command, with the handle that names its author.
    Command(Engine, Command),
}

/// The peer as a controller: its number, and the handle that registered it.
struct Attached {
    engine: Engine,
    number: u32,
}

/// Carries out jobs one after the other, and removes the peer as a controller at the end. Commands
/// that wait for another peer run in tasks of their own, so that they do not delay the next job.
pub(super) async fn work(
    shared: Arc<ServerState>,
    mut jobs: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let mut attached: Option<Attached> = None;
    while let Some(Job { id, work }) = jobs.recv().await {
        let outcome = match work {
            // The peer is gone and cannot read the answer: skip the request.
            Work::Ask(_) if answers.is_closed() => continue,
            Work::Ask(ask) => {
                let shared = Arc::clone(&shared);
                let answer = tokio::task::spawn_blocking(move || shared.read(&ask)).await;
                answer.unwrap_or_else(|_| Err(ErrorObject::new(wire::REFUSED, "the engine is ending")))
            }
            Work::Command(engine, command) => {
                let number = attached.as_ref().map(|seat| seat.number);
                let engine = engine.of(Who { controller: number, ..engine.who().clone() });
                if command.waits() {
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        let outcome = said(engine.send(command).await);
                        // The peer may be gone; ignore the error.
                        let _ = answers.send(wire::answer(&id, outcome)).await;
                    });
                    continue;
                }
                said(carry_out(engine, command, &mut attached).await)
            }
        };
        // Commands of a peer that is gone are still carried out; ignore the error.
        let _ = answers.send(wire::answer(&id, outcome)).await;
    }
    if let Some(Attached { engine, number }) = attached {
        // The engine may have ended; ignore the error.
        let _ = engine.send(Command::Leave { controller: number }).await;
    }
}

async fn carry_out(
    engine: Engine,
    command: Command,
    attached: &mut Option<Attached>,
) -> Result<Reply, Refusal> {
    match (&command, attached.as_ref()) {
        (Command::Attend { .. }, Some(seat)) => {
            Err(Refusal(format!("this connection already has seat {}; leave it first", seat.number)))
        }
        (Command::Attend { .. }, None) => {
            let reply = engine.send(command).await?;
            if let Reply::Seat(number) = reply {
                *attached = Some(Attached { engine, number });
            }
            Ok(reply)
        }
        (Command::Leave { controller: left }, _) => {
            let left = *left;
            let reply = engine.send(command).await?;
            attached.take_if(|seat| seat.number == left);
            Ok(reply)
        }
        _ => engine.send(command).await,
    }
}

fn said(outcome: Result<Reply, Refusal>) -> Result<Vec<u8>, ErrorObject> {
    outcome.map(|reply| wire::result(&reply)).map_err(|refusal| ErrorObject::new(wire::REFUSED, refusal.0))
}
