//! What is wanted of a hub, and which of its engines it is about.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{Hub, Inner};
use crate::control::client::{CallError, Client};
use crate::engine::{Command, Refusal, Reply, Request};
use crate::log::record::{Seq, SessionId};

/// EngineSelector a command goes to.
enum Address {
    One(usize),
    All,
    /// Every engine, to the seat that we have there.
    Seats,
    /// The engines that have a breakpoint on this query.
    Point(String),
}

/// What one engine is told.
struct Order {
    at: usize,
    client: Client,
    command: Command,
}

/// How long an engine may take to do what needs no waiting.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn serve(hub: Arc<Hub>, mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { command, reply, .. }) = requests.recv().await {
        let hub = Arc::clone(&hub);
        let mut doing = Box::pin(async move {
            let outcome = hub.carry_out(command).await;
            // Whoever asked may not care for the answer any more.
            let _ = reply.send(outcome);
        });
        // What is wanted goes out in the order in which it is wanted; one engine that is slow to answer
        // does not hold up the others.
        let is_done = std::future::poll_fn(|cx| Poll::Ready(doing.as_mut().poll(cx).is_ready())).await;
        if !is_done {
            tokio::spawn(doing);
        }
    }
}

impl Hub {
    async fn carry_out(&self, mut command: Command) -> Result<Reply, Refusal> {
        let (address, orders) = {
            let mut inner = self.inner.lock();
            inner.remember(&command);
            let address = inner.address(&mut command)?;
            let orders = inner.orders(&address, &command);
            (address, orders)
        };
        if orders.is_empty() {
            return Err(match address {
                Address::One(_) => Refusal("its shadowcat has ended; what it said stays readable".into()),
                // It is kept for whatever starts.
                Address::All if matches!(command, Command::Break { .. }) => {
                    self.show();
                    return Ok(Reply::Done);
                }
                // It was kept for whatever starts, and is no more.
                Address::Point(_) if matches!(command, Command::RemoveBreakpoint { .. }) => {
                    self.show();
                    return Ok(Reply::Done);
                }
                Address::All | Address::Seats | Address::Point(_) => Refusal("nothing is running".into()),
            });
        }
        let sent = orders.iter().map(|Order { client, command, .. }| async {
            if command.waits() {
                return client.command(command).await;
            }
            let answer = tokio::time::timeout(COMMAND_TIMEOUT, client.command(command)).await;
            answer.unwrap_or(Err(CallError::Silent))
        });
        let answers = join_all(sent).await;
        let mut outcome = Ok(Reply::Done);
        let mut done = false;
        for (Order { at, command, .. }, answer) in orders.iter().zip(answers) {
            match answer {
                Ok(reply) => (outcome, done) = (Ok(self.replied(*at, command, reply).await), true),
                Err(error) if !done => outcome = Err(Refusal(error.to_string())),
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
            Reply::Breakpoint(_) => match command {
                Command::Break { query, .. } => Reply::Breakpoint(self.inner.lock().point(query)),
                _ => reply,
            },
            Reply::Done | Reply::Called(_) | Reply::Seat(_) => reply,
        }
    }

    async fn arrived(&self, at: usize, remote: Seq) -> Seq {
        const POLL_INTERVAL: Duration = Duration::from_millis(5);
        const STEPS: u32 = 200;
        for _ in 0..STEPS {
            let local = self.inner.lock().members[at].numbers.seq(remote);
            if local > 0 {
                return local;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        0
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
                if let Some(query) = at.and_then(|at| self.points.get(at)) {
                    self.wanted.remove(query);
                }
            }
            _ => {}
        }
    }

    /// EngineSelector a command is about, whose numbers it is given.
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
                let query = at.and_then(|at| self.points.get(at)).cloned();
                query.map(Address::Point).ok_or_else(|| Refusal(format!("there is no breakpoint {id}")))
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

    /// What each of the engines is told, in its own numbers.
    fn orders(&self, address: &Address, command: &Command) -> Vec<Order> {
        let mut orders = Vec::new();
        for (at, member) in self.members.iter().enumerate().filter(|(_, member)| !member.gone) {
            let mut order =
                |command: Command| orders.push(Order { at, client: member.client.clone(), command });
            match address {
                Address::One(one) if *one == at => order(command.clone()),
                Address::One(_) => {}
                Address::All => order(command.clone()),
                Address::Seats => {
                    member.seat.into_iter().for_each(|seat| order(Command::TakeOver { seat }));
                }
                Address::Point(query) => {
                    let is_enabled = self.is_enabled(query);
                    // Its numbers as they are now: it may have been removed and added again.
                    for point in member.points.points.iter().filter(|point| point.query == *query) {
                        match command {
                            Command::RemoveBreakpoint { .. } => {
                                order(Command::RemoveBreakpoint { id: point.id });
                            }
                            // What is toggled is what is seen: those that are otherwise are as wanted.
                            Command::ToggleBreakpoint { .. } if point.enabled == is_enabled => {
                                order(Command::ToggleBreakpoint { id: point.id });
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        orders
    }

    /// Whether a query breaks in any of the engines, which is how it is shown.
    fn is_enabled(&self, query: &str) -> bool {
        let living = self.members.iter().filter(|member| !member.gone);
        living.flat_map(|member| &member.points.points).any(|point| point.query == query && point.enabled)
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
