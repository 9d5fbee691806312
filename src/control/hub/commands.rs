//! What is wanted of a hub, and which of its engines it is about.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Hub, Inner};
use crate::control::client::{CallError, Client};
use crate::engine::{Command, Refusal, Reply, Request};
use crate::log::record::{Seq, SessionId};

/// Whom a command goes to.
enum Address {
    One(usize),
    All,
    /// Every engine, to the seat that we have there.
    Seats,
    /// The engines of these breakpoints, each by its number there.
    Points(Vec<(usize, u32)>),
}

pub(super) async fn serve(hub: Arc<Hub>, mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { command, reply, .. }) = requests.recv().await {
        let hub = Arc::clone(&hub);
        // One engine that is slow must not hold up the others.
        tokio::spawn(async move {
            let outcome = hub.carry_out(command).await;
            // Whoever asked may not care for the answer any more.
            let _ = reply.send(outcome);
        });
    }
}

impl Hub {
    async fn carry_out(&self, mut command: Command) -> Result<Reply, Refusal> {
        let (address, clients) = {
            let mut inner = self.inner.lock();
            inner.remember(&command);
            let address = inner.address(&mut command)?;
            let living = inner.members.iter().enumerate().filter(|(_, member)| !member.gone);
            let clients: Vec<(usize, Client, Command)> = living
                .filter_map(|(at, member)| {
                    let own = match &address {
                        Address::One(one) => (*one == at).then(|| command.clone())?,
                        Address::All => command.clone(),
                        Address::Seats => Command::TakeOver { seat: member.seat? },
                        Address::Points(points) => {
                            let (_, id) = points.iter().find(|(of, _)| *of == at)?;
                            with_point(&command, *id)
                        }
                    };
                    Some((at, member.client.clone(), own))
                })
                .collect();
            (address, clients)
        };
        if clients.is_empty() {
            return Err(match address {
                Address::One(_) => Refusal("its shadowcat has ended; what it said stays readable".into()),
                // It is kept for whatever starts.
                Address::All if matches!(command, Command::Break { .. }) => return Ok(Reply::Done),
                Address::All | Address::Seats | Address::Points(_) => Refusal("nothing is running".into()),
            });
        }
        let mut outcome = Ok(Reply::Done);
        let mut done = false;
        for (at, client, command) in clients {
            match client.command(&command).await {
                Ok(reply) => {
                    (outcome, done) = (Ok(self.replied(at, &command, reply).await), true);
                }
                Err(error) if !done => outcome = Err(Refusal(text(&error))),
                // Some did; the others say why not in their logs.
                Err(_) => {}
            }
        }
        outcome
    }

    /// A reply in our own numbers.
    async fn replied(&self, at: usize, command: &Command, reply: Reply) -> Reply {
        match reply {
            // The record may come after the answer.
            Reply::Frame(remote) => Reply::Frame(self.arrived(at, remote).await),
            Reply::Breakpoint(id) => match command {
                Command::Break { query, .. } => Reply::Breakpoint(self.inner.lock().point(at, id, query)),
                _ => reply,
            },
            Reply::Done | Reply::Called(_) | Reply::Seat(_) => reply,
        }
    }

    async fn arrived(&self, at: usize, remote: Seq) -> Seq {
        const STEP: Duration = Duration::from_millis(5);
        const STEPS: u32 = 200;
        for _ in 0..STEPS {
            let local = self.inner.lock().members[at].numbers.seq(remote);
            if local > 0 {
                return local;
            }
            tokio::time::sleep(STEP).await;
        }
        0
    }
}

/// The same for the breakpoint that has this number in its engine.
fn with_point(command: &Command, id: u32) -> Command {
    match command {
        Command::RemoveBreakpoint { .. } => Command::RemoveBreakpoint { id },
        Command::ToggleBreakpoint { .. } => Command::ToggleBreakpoint { id },
        other => other.clone(),
    }
}

fn text(error: &CallError) -> String {
    match error {
        CallError::Refused(failure) => failure.message.clone(),
        other => other.to_string(),
    }
}

impl Inner {
    /// Keeps what engines that come later are to break on.
    fn remember(&mut self, command: &Command) {
        match command {
            Command::Break { query, .. } => {
                self.wanted.insert(query.clone());
            }
            Command::RemoveBreakpoint { id } => {
                let at = usize::try_from(*id).unwrap_or(usize::MAX).checked_sub(1);
                if let Some(group) = at.and_then(|at| self.points.get(at)) {
                    self.wanted.remove(&group.query);
                }
            }
            _ => {}
        }
    }

    /// Whom a command is about, whose numbers it is given.
    fn address(&self, command: &mut Command) -> Result<Address, Refusal> {
        match command {
            Command::Accept { frame }
            | Command::AcceptAndHoldReply { frame }
            | Command::Edit { frame, .. }
            | Command::Amend { frame, .. }
            | Command::Drop { frame, .. }
            | Command::Answer { frame, .. }
            | Command::Delay { frame, .. } => self.frame(frame),
            Command::Inject { session, .. }
            | Command::Call { session, .. }
            | Command::Restart { session } => self.session(session),
            Command::Respond { session, frame, .. } => {
                self.session(session)?;
                self.frame(frame)
            }
            Command::Note { session, frame, .. } => match frame {
                Some(frame) => {
                    let address = self.frame(frame)?;
                    // The engine knows the session of its frame; a note needs it only without one.
                    self.session(session).or(Ok(address))
                }
                None if *session == SessionId(0) => Ok(Address::All),
                None => self.session(session),
            },
            Command::RemoveBreakpoint { id } | Command::ToggleBreakpoint { id } => {
                let at = usize::try_from(*id).unwrap_or(usize::MAX).checked_sub(1);
                let group = at.and_then(|at| self.points.get(at));
                let group = group.ok_or_else(|| Refusal(format!("there is no breakpoint {id}")))?;
                Ok(Address::Points(group.points.clone()))
            }
            Command::AcceptAll {}
            | Command::HoldEverything { .. }
            | Command::Arm { .. }
            | Command::Break { .. } => Ok(Address::All),
            Command::TakeOver { .. } => Ok(Address::Seats),
            Command::Attend { .. } | Command::Leave { .. } => {
                Err(Refusal("the seats of a hub are its own".into()))
            }
        }
    }

    fn frame(&self, frame: &mut Seq) -> Result<Address, Refusal> {
        let (at, remote) = self.owner(*frame).ok_or_else(|| Refusal(format!("#{frame} is of no engine")))?;
        *frame = remote;
        Ok(Address::One(at))
    }

    fn session(&self, session: &mut SessionId) -> Result<Address, Refusal> {
        for (at, member) in self.members.iter().enumerate() {
            if let Some((remote, _)) = member.numbers.sessions().find(|(_, local)| local == session) {
                *session = remote;
                return Ok(Address::One(at));
            }
        }
        Err(Refusal(format!("there is no session {}", session.0)))
    }
}
