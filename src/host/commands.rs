//! Execution of the commands of an engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::{Host, OWN_ID, SessionEntry};
use crate::client::Client;
use crate::engine::{Command, Given, Refusal, Reply, Request, Tell, Who};
use crate::intercept::{Outgoing, Verdict};
use crate::log::Seq;
use crate::log::query::Query;
use crate::log::record::{BY_PERSON, Body, Level, Note, Role, Ruled, SessionId, VerdictKind};
use crate::mcp::{Direction, Id, Kind, Message, compose, remap};
use crate::session::Session;
use crate::session::SessionError;

impl Host {
    pub(super) async fn serve(self: Arc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { command, who, reply }) = requests.recv().await {
            let host = Arc::clone(&self);
            let span = tracing::info_span!("command", method = %command.method(), by = %who.name);
            let task = async move {
                let outcome = host.carry_out(command, &who).await;
                match &outcome {
                    Ok(_) => tracing::info!("done"),
                    Err(refusal) => tracing::info!(%refusal, "refused"),
                }
                // The caller may have dropped the receiver; ignore the error.
                let _ = reply.send(outcome);
            };
            // Run commands concurrently: a command may wait for a peer, and must not delay others.
            tokio::spawn(task.instrument(span));
        }
    }

    async fn carry_out(&self, command: Command, who: &Who) -> Result<Reply, Refusal> {
        let by = &*who.name;
        if command.decides()
            && let (Some(controller), Some(decider)) = (who.controller, self.controllers().decider())
            && decider.id != controller
        {
            return Err(Refusal(format!("{} decides here; take over first", decider.name)));
        }
        match command {
            Command::Accept { frame } => self.accept(frame, by),
            Command::AcceptAndHoldReply { frame } => {
                let in_flight = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
                if let Some(op) = in_flight.frame().link.op {
                    self.breakpoints().hold_reply(op);
                }
                self.accept(frame, by)
            }
            Command::AcceptAll {} => {
                self.accept_all(by);
                Ok(Reply::Done)
            }
            Command::Edit { frame, line, keeps_headers } => {
                let outgoing = Outgoing { keeps_headers, ..line.into() };
                self.decide(frame, by, Verdict::Deliver(vec![outgoing]))
            }
            Command::Amend { frame, line } => self.amend(frame, by, line),
            Command::Drop { frame, tell } => self.drop_frame(frame, by, &tell),
            Command::Answer { frame, line } => self.decide(frame, by, Verdict::answer(line)),
            Command::Delay { frame, by: delay } => {
                self.holder(frame)?;
                tokio::time::sleep(delay).await;
                self.accept(frame, by)
            }
            Command::HoldEverything { on } => {
                match on {
                    true => self.breakpoints().hold_everything(true),
                    false => self.accept_all(by),
                }
                Ok(Reply::Done)
            }
            Command::Arm { armed } => {
                self.breakpoints().arm(armed);
                Ok(Reply::Done)
            }
            Command::Break { query, patience } => {
                let query = Query::parse_for_arrival(&query).map_err(|error| Refusal(error.to_string()))?;
                let patience = patience.map(Duration::from_millis);
                let text = query.text().to_owned();
                let id = self.breakpoints().add(query, patience);
                self.remark(by, &format!("set breakpoint {id} on {text}"));
                Ok(Reply::Breakpoint(id))
            }
            Command::RemoveBreakpoint { id } => {
                let removed = known(self.breakpoints().remove(id), id)?;
                self.remark(by, &format!("removed breakpoint {id}"));
                Ok(removed)
            }
            Command::ToggleBreakpoint { id } => known(self.breakpoints().set_enabled(id, None), id),
            Command::SetBreakpoint { id, enabled } => {
                known(self.breakpoints().set_enabled(id, Some(enabled)), id)
            }
            Command::Inject { session, to, line } => self.inject(session, by, to, &line),
            Command::Call { session, method, params } => {
                let client = self.client(session)?;
                let id = client.call(&method, params).await.map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Called(id.token().to_owned()))
            }
            Command::Respond { session, frame, answer } => {
                let client = self.client(session)?;
                let record = self
                    .log
                    .get(frame)
                    .ok_or_else(|| Refusal(format!("#{frame} is no longer in the log")))?;
                let asked = record.frame().ok_or_else(|| Refusal(format!("#{frame} is not a frame")))?;
                let result = match answer {
                    Given::Result(result) => Ok(result),
                    Given::Error { code, message } => Err((code, message)),
                };
                client.respond(asked, result).await.map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Done)
            }
            Command::Restart { session } => {
                let restart = self.entry(session)?.backend.restart;
                let restart = restart.ok_or_else(|| {
                    Refusal("this session has no process that shadowcat can restart".into())
                })?;
                restart().map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Done)
            }
            Command::Note { session, frame, mark, text } => {
                let note = Note { frame, mark, level: Level::Info, by: Arc::clone(&who.name), text };
                Ok(Reply::Frame(self.log.append(session, Body::Note(note))))
            }
            Command::Attend { name } => {
                self.note(SessionId(0), Level::Info, format!("{name} attached"));
                Ok(Reply::Seat(self.controllers().attach(&name)))
            }
            Command::TakeOver { controller } => {
                if !self.controllers().take_over(controller) {
                    return Err(Refusal(format!("there is no controller {controller}")));
                }
                if let Some(decider) = self.controllers().decider() {
                    self.note(
                        SessionId(0),
                        Level::Info,
                        format!("{} now decides on held frames", decider.name),
                    );
                }
                Ok(Reply::Done)
            }
            Command::Leave { controller } => self.detach(controller),
        }
    }

    /// Notes an action and its author, unless the author is the person at the screen of this engine.
    fn remark(&self, by: &str, what: &str) {
        if by != BY_PERSON {
            self.note(SessionId(0), Level::Info, format!("{by} {what}"));
        }
    }

    fn entry(&self, session: SessionId) -> Result<SessionEntry, Refusal> {
        let entry = self.sessions.lock().get(&session).cloned();
        entry.ok_or_else(|| Refusal(format!("there is no session {}", session.0)))
    }

    fn client(&self, session: SessionId) -> Result<Arc<Client>, Refusal> {
        let running = self.entry(session)?;
        let why = match running.session.is_closed() {
            true => "the server of this session has ended; Space s r starts it again",
            false => "this session has a client of its own; inject into it instead",
        };
        running.backend.client.ok_or_else(|| Refusal(why.to_owned()))
    }

    /// Returns the session that holds a frame.
    fn holder(&self, frame: Seq) -> Result<Arc<Session>, Refusal> {
        let sessions = self.sessions.lock();
        let holds = |session: &&Arc<Session>| session.held_frame(frame).is_some();
        sessions.values().map(|running| &running.session).find(holds).cloned().ok_or_else(|| not_held(frame))
    }

    fn decide(&self, frame: Seq, by: &str, verdict: Verdict) -> Result<Reply, Refusal> {
        self.holder(frame)?.decide(frame, by, verdict)?;
        Ok(Reply::Done)
    }

    fn accept(&self, frame: Seq, by: &str) -> Result<Reply, Refusal> {
        self.holder(frame)?.accept(frame, by)?;
        Ok(Reply::Done)
    }

    fn amend(&self, frame: Seq, by: &str, line: Bytes) -> Result<Reply, Refusal> {
        self.holder(frame)?.amend(frame, by, line)?;
        Ok(Reply::Done)
    }

    /// Stops holding every frame and releases the held ones, as they are or as they were amended, in the
    /// order of their arrival in each session. `by` is the author that the log names.
    pub fn accept_all(&self, by: &str) {
        self.breakpoints().hold_everything(false);
        for session in self.open_sessions() {
            session.accept_all(by);
        }
    }

    /// Detaches a controller. After the last one, held frames are released unless their breakpoint has
    /// patience.
    fn detach(&self, controller: u32) -> Result<Reply, Refusal> {
        // Set the start of patience before followers are woken. The value counts only if no controller is
        // left.
        *self.unattended_since.lock() = self.log.clock().now();
        let gone = self.controllers().detach(controller);
        let (gone, nobody) = gone.ok_or_else(|| Refusal(format!("there is no controller {controller}")))?;
        if nobody {
            self.breakpoints().hold_everything(false);
            self.release_impatient(&format!("{} is gone, nobody decides", gone.name));
        } else if let Some(decider) = self.controllers().decider().filter(|_| gone.decides) {
            let text = format!("{} detached, {} now decides on held frames", gone.name, decider.name);
            self.note(SessionId(0), Level::Info, text);
        }
        Ok(Reply::Done)
    }

    /// Drops a held frame. `tell` is the answer for the peer that waits for one: the sender of a request,
    /// or the receiver of a reply.
    fn drop_frame(&self, frame: Seq, by: &str, tell: &Tell) -> Result<Reply, Refusal> {
        let in_flight = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
        let held = in_flight.frame();
        let id = held.message.id();
        let line = match (tell, id) {
            (Tell::Silence, _) => return self.decide(frame, by, Verdict::Drop),
            (Tell::Close, _) => return self.decide(frame, by, Verdict::Close),
            (Tell::Error { code, message }, Some(id)) => compose::failure(Some(id), *code, message),
            (Tell::ToolError { text }, Some(id)) => compose::tool_error(id, text),
            (_, None) => {
                return Err(Refusal("no peer waits for an answer to this frame; drop it silently".into()));
            }
        };
        let is_reply = matches!(held.link.role, Role::Response | Role::InputRequired);
        self.decide(frame, by, if is_reply { Verdict::replace(line) } else { Verdict::answer(line) })
    }

    fn inject(&self, session: SessionId, by: &str, to: Direction, line: &[u8]) -> Result<Reply, Refusal> {
        let running = self.entry(session)?;
        let message = Message::parse(Bytes::copy_from_slice(line));
        let line = match message.kind() {
            // Give the request an id of ours, so that its answer is kept from the client.
            Kind::Request { .. } => {
                let number = self.injected.fetch_add(1, Ordering::Relaxed) + 1;
                let id = Id::text(&format!("{OWN_ID}-{}-{number}", self.random));
                // The progress of an injected request is kept from the client, as its answer is.
                let progress: &[&str] = &["params", "_meta", "progressToken"];
                remap::replace(line.trim_ascii(), &[(&["id"], Some(&id)), (progress, Some(&id))])
            }
            Kind::Batch(messages)
                if messages.iter().any(|each| matches!(each.kind(), Kind::Request { .. })) =>
            {
                return Err(Refusal(
                    "send the requests of a batch one by one: their ids would not be ours".into(),
                ));
            }
            _ => Bytes::copy_from_slice(line),
        };
        let frame = running.session.inject(to, &line)?;
        if by != BY_PERSON {
            // Record the author if it is a script or an agent.
            let why = Some("injected".to_owned());
            let ruled = Ruled { frame, by: by.into(), verdict: VerdictKind::Forward, why };
            self.log.append(session, Body::Ruled(ruled));
        }
        Ok(Reply::Frame(frame))
    }
}

fn known(found: bool, id: u32) -> Result<Reply, Refusal> {
    if found { Ok(Reply::Done) } else { Err(Refusal(format!("there is no breakpoint {id}"))) }
}

fn not_held(frame: Seq) -> Refusal {
    SessionError::NotHeld(frame).into()
}
