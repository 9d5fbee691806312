//! What one peer asked for, done in the order in which it was asked.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::ServerState;
use crate::control::api::Ask;
use crate::control::wire::{self, Failure};
use crate::engine::{Command, Engine, Refusal, Reply, Who};

/// Something to be done, and the id that its answer has.
pub(super) struct Job {
    pub id: Value,
    pub work: Work,
}

pub(super) enum Work {
    Ask(Ask),
    /// For the one whose handle this is.
    Command(Engine, Command),
}

/// The seat that a connection has, and the handle that took it.
struct Seat {
    engine: Engine,
    number: u32,
}

/// Does what comes in, one after the other, and leaves the seat that was taken. What waits for a
/// peer is answered when that has answered, and holds nothing up.
pub(super) async fn work(
    shared: Arc<ServerState>,
    mut jobs: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let mut seat: Option<Seat> = None;
    while let Some(Job { id, work }) = jobs.recv().await {
        let outcome = match work {
            // Nobody is there to read it.
            Work::Ask(_) if answers.is_closed() => continue,
            Work::Ask(ask) => {
                let shared = Arc::clone(&shared);
                let answer = tokio::task::spawn_blocking(move || shared.read(&ask)).await;
                answer.unwrap_or_else(|_| Err(Failure::new(wire::REFUSED, "the engine is ending")))
            }
            Work::Command(engine, command) => {
                let number = seat.as_ref().map(|seat| seat.number);
                let engine = engine.of(Who { seat: number, ..engine.who().clone() });
                if command.waits() {
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        let outcome = said(engine.send(command).await);
                        // The peer may be gone.
                        let _ = answers.send(wire::answer(&id, outcome)).await;
                    });
                    continue;
                }
                said(carry_out(engine, command, &mut seat).await)
            }
        };
        // A peer that is gone still gets done what it wanted.
        let _ = answers.send(wire::answer(&id, outcome)).await;
    }
    if let Some(Seat { engine, number }) = seat {
        // The engine may have ended.
        let _ = engine.send(Command::Leave { seat: number }).await;
    }
}

async fn carry_out(engine: Engine, command: Command, seat: &mut Option<Seat>) -> Result<Reply, Refusal> {
    match (&command, seat.as_ref()) {
        (Command::Attend { .. }, Some(seat)) => {
            Err(Refusal(format!("this connection has seat {}; leave it first", seat.number)))
        }
        (Command::Attend { .. }, None) => {
            let reply = engine.send(command).await?;
            if let Reply::Seat(number) = reply {
                *seat = Some(Seat { engine, number });
            }
            Ok(reply)
        }
        (Command::Leave { seat: left }, _) => {
            let left = *left;
            let reply = engine.send(command).await?;
            seat.take_if(|seat| seat.number == left);
            Ok(reply)
        }
        _ => engine.send(command).await,
    }
}

fn said(outcome: Result<Reply, Refusal>) -> Result<Vec<u8>, Failure> {
    outcome.map(|reply| wire::result(&reply)).map_err(|refusal| Failure::new(wire::REFUSED, refusal.0))
}
