//! Commands to a hub, and the engines that they are sent to.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{Hub, Inner};
use crate::control::client::{CallError, ControlClient};
use crate::engine::{Command, Refusal, Reply, Request};
use crate::log::record::{Seq, SessionId};

/// The engines that a command is sent to.
enum Address {
    One(usize),
    All,
    /// Every engine, with the hub's number as a controller there.
    Seats,
    /// Engines that have a breakpoint with this query.
    Point(String),
}

/// A command to one engine.
struct Order {
    at: usize,
    client: ControlClient,
    command: Command,
}

/// Time limit for the answer to a command that does not wait for time or a peer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn serve(hub: Arc<Hub>, mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { command, reply, .. }) = requests.recv().await {
        let hub = Arc::clone(&hub);
        let mut doing = Box::pin(async move {
            let outcome = hub.carry_out(command).await;
            // The sender may have been cancelled; ignore the error.
            let _ = reply.send(outcome);
        });
        // Poll each command once so that commands are sent in order. A task then waits for the
        // answers: an engine that is slow to answer does not delay other commands.
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
                Address::One(_) => Refusal("its shadowcat has ended; its records stay readable".into()),
                // The query is kept for engines that are attached later.
                Address::All if matches!(command, Command::Break { .. }) => {
                    self.show();
                    return Ok(Reply::Done);
                }
                // The query was kept for engines that are attached later, and no longer is.
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
                // Success in one engine is enough: the error of another is not reported.
                Err(_) => {}
            }
        }
        outcome
    }

    /// Converts a reply of engine `at` to the numbers of the hub.
    async fn replied(&self, at: usize, command: &Command, reply: Reply) -> Reply {
        match reply {
            // The record may arrive after the answer: wait for it.
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
    /// Keeps the queries of breakpoints for engines that are attached later.
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

    /// Returns the engines that a command concerns, and converts its numbers to those of the
    /// engine.
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
                    // The frame alone identifies the engine, so an unknown session is no error.
                    self.session(session).or(Ok(address))
                }
                None if *session == SessionId(0) => Ok(Address::All),
                None => self.session(session),
            },
            Command::RemoveBreakpoint { id }
            | Command::ToggleBreakpoint { id }
            | Command::SetBreakpoint { id, .. } => {
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
                Err(Refusal("seats of a hub cannot be taken or left".into()))
            }
        }
    }

    /// Returns the command for each addressed engine, with the engine's own numbers.
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
                    member
                        .controller
                        .into_iter()
                        .for_each(|controller| order(Command::TakeOver { controller }));
                }
                Address::Point(query) => {
                    let is_enabled = self.is_enabled(query);
                    // Use the current numbers: the breakpoint may have been removed and added
                    // again.
                    for point in member.points.points.iter().filter(|point| point.query == *query) {
                        match command {
                            Command::RemoveBreakpoint { .. } => {
                                order(Command::RemoveBreakpoint { id: point.id });
                            }
                            // Toggle only breakpoints in the state that is shown; the others are in
                            // the wanted state already.
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

    /// Returns `true` if any engine has an enabled breakpoint with this query, which is the state
    /// that is shown.
    fn is_enabled(&self, query: &str) -> bool {
        let living = self.members.iter().filter(|member| !member.gone);
        living.flat_map(|member| &member.points.points).any(|point| point.query == query && point.enabled)
    }

    fn frame(&self, frame: &mut Seq) -> Result<Address, Refusal> {
        let (at, remote) =
            self.owner(*frame).ok_or_else(|| Refusal(format!("#{frame} belongs to no engine")))?;
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
