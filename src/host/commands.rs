//! What an engine does when it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Host, OWN_ID, SessionEntry};
use crate::client::Client;
use crate::engine::{Command, Given, Refusal, Reply, Request, Tell, Who};
use crate::intercept::{Outgoing, Verdict};
use crate::log::Seq;
use crate::log::query::Query;
use crate::log::record::{BY_PERSON, Body, Level, Note, Role, Ruled, SessionId, VerdictKind};
use crate::mcp::{Direction, Id, Kind, Message, compose, json};
use crate::session::Session;
use crate::session::SessionError;

impl Host {
    pub(super) async fn serve(self: Arc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { command, who, reply }) = requests.recv().await {
            let host = Arc::clone(&self);
            // A command may wait for a peer; others must not wait for it.
            tokio::spawn(async move {
                let outcome = host.carry_out(command, &who).await;
                // Whoever asked may not care for the answer any more.
                let _ = reply.send(outcome);
            });
        }
    }

    async fn carry_out(&self, command: Command, who: &Who) -> Result<Reply, Refusal> {
        let by = &*who.name;
        if command.decides()
            && let (Some(seat), Some(decider)) = (who.seat, self.breakpoints.decider())
            && decider.seat != seat
        {
            return Err(Refusal(format!("{} decides here; take over first", decider.name)));
        }
        match command {
            Command::Accept { frame } => self.decide(frame, by, self.as_amended(frame)),
            Command::AcceptAndHoldReply { frame } => {
                let in_flight = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
                if let Some(op) = in_flight.frame().link.op {
                    self.breakpoints.hold_reply(op);
                }
                self.decide(frame, by, self.as_amended(frame))
            }
            Command::AcceptAll {} => {
                self.release_all(by);
                Ok(Reply::Done)
            }
            Command::Edit { frame, line, keeps_headers } => {
                self.decide(frame, by, Verdict::Deliver(vec![Outgoing { line, keeps_headers }]))
            }
            Command::Amend { frame, line } => self.amend(frame, by, line),
            Command::Drop { frame, tell } => self.drop_frame(frame, by, &tell),
            Command::Answer { frame, line } => self.decide(frame, by, Verdict::Answer(line)),
            Command::Delay { frame, by: delay } => {
                self.holder(frame)?;
                tokio::time::sleep(delay).await;
                self.decide(frame, by, self.as_amended(frame))
            }
            Command::HoldEverything { on } => {
                match on {
                    true => self.breakpoints.hold_everything(true),
                    false => self.release_all(by),
                }
                Ok(Reply::Done)
            }
            Command::Arm { armed } => {
                self.breakpoints.arm(armed);
                Ok(Reply::Done)
            }
            Command::Break { query, patience } => {
                let query = Query::parse(&query).map_err(|error| Refusal(error.to_string()))?;
                let patience = patience.map(Duration::from_millis);
                let text = query.text().to_owned();
                let id = self.breakpoints.add(query, patience);
                self.remark(by, &format!("set breakpoint {id} on {text}"));
                Ok(Reply::Breakpoint(id))
            }
            Command::RemoveBreakpoint { id } => {
                let removed = known(self.breakpoints.remove(id), id)?;
                self.remark(by, &format!("removed breakpoint {id}"));
                Ok(removed)
            }
            Command::ToggleBreakpoint { id } => known(self.breakpoints.toggle(id), id),
            Command::Inject { session, to, line } => self.inject(session, by, to, &line),
            Command::Call { session, method, params } => {
                let client = self.client(session)?;
                let id = client.call(&method, params).await.map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Called(id.token().to_owned()))
            }
            Command::Respond { session, frame, answer } => {
                let client = self.client(session)?;
                let record = self.log.get(frame).ok_or_else(|| Refusal(format!("#{frame} is gone")))?;
                let asked = record.frame().ok_or_else(|| Refusal(format!("#{frame} is no frame")))?;
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
                    Refusal("no process of ours that could be started again is behind this session".into())
                })?;
                restart().map_err(Refusal)?;
                Ok(Reply::Done)
            }
            Command::Note { session, frame, mark, text } => {
                let note = Note { frame, mark, level: Level::Info, by: Arc::clone(&who.name), text };
                Ok(Reply::Frame(self.log.append(session, Body::Note(note))))
            }
            Command::Attend { name } => {
                self.note(SessionId(0), Level::Info, format!("{name} attends"));
                Ok(Reply::Seat(self.breakpoints.attend(&name)))
            }
            Command::TakeOver { seat } => {
                if !self.breakpoints.take_over(seat) {
                    return Err(Refusal(format!("there is no seat {seat}")));
                }
                if let Some(decider) = self.breakpoints.decider() {
                    self.note(SessionId(0), Level::Info, format!("{} decides now", decider.name));
                }
                Ok(Reply::Done)
            }
            Command::Leave { seat } => self.leave(seat),
        }
    }

    /// Says who did something, where that is not the person at the screen of this engine.
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

    /// The session that holds a frame.
    fn holder(&self, frame: Seq) -> Result<Arc<Session>, Refusal> {
        let sessions = self.sessions.lock();
        let holds = |session: &&Arc<Session>| session.held_frame(frame).is_some();
        sessions.values().map(|running| &running.session).find(holds).cloned().ok_or_else(|| not_held(frame))
    }

    fn decide(&self, frame: Seq, by: &str, verdict: Verdict) -> Result<Reply, Refusal> {
        self.holder(frame)?.decide(frame, by, verdict)?;
        self.breakpoints.forget(frame);
        Ok(Reply::Done)
    }

    /// A held frame goes on, as it was amended where it was.
    pub(super) fn as_amended(&self, frame: Seq) -> Verdict {
        match self.breakpoints.amended(frame) {
            Some(line) => Verdict::replace(line),
            None => Verdict::Pass,
        }
    }

    fn amend(&self, frame: Seq, by: &str, line: Bytes) -> Result<Reply, Refusal> {
        let session = self.holder(frame)?;
        // Those that were withdrawn meanwhile have no use for what they were to be.
        let held = self.held();
        self.breakpoints.amend(frame, line, |seq| held.iter().any(|(_, held)| *held == seq));
        // Why it was stopped stays what is known of it.
        let ruled = Ruled { frame, by: by.into(), verdict: VerdictKind::Hold, why: None };
        self.log.append(session.id(), Body::Ruled(ruled));
        Ok(Reply::Done)
    }

    /// Lets everything go on that is held, in the order of arrival, as it was amended.
    pub fn release_all(&self, by: &str) {
        self.breakpoints.hold_everything(false);
        let sessions: Vec<_> =
            self.sessions.lock().values().map(|running| Arc::clone(&running.session)).collect();
        for session in sessions {
            session.release_all(by, &|frame| {
                let verdict = self.as_amended(frame);
                self.breakpoints.forget(frame);
                verdict
            });
        }
    }

    /// One who could decide is gone. What is held when nobody is left goes on, unless its breakpoint
    /// is patient.
    fn leave(&self, seat: u32) -> Result<Reply, Refusal> {
        // Before anybody is woken by it: patience begins now. It counts only when nobody is left.
        *self.alone.lock() = self.log.clock().now();
        let gone = self.breakpoints.leave(seat);
        let (gone, nobody) = gone.ok_or_else(|| Refusal(format!("there is no seat {seat}")))?;
        if nobody {
            self.breakpoints.hold_everything(false);
            self.unattended(&format!("{} is gone, nobody decides", gone.name));
        } else if let Some(decider) = self.breakpoints.decider().filter(|_| gone.decides) {
            self.note(
                SessionId(0),
                Level::Info,
                format!("{} is gone, {} decides now", gone.name, decider.name),
            );
        }
        Ok(Reply::Done)
    }

    /// Drops a held frame. What is told goes to whoever waits for an answer: the sender of a
    /// request, the receiver of a reply.
    fn drop_frame(&self, frame: Seq, by: &str, tell: &Tell) -> Result<Reply, Refusal> {
        let in_flight = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
        let held = in_flight.frame();
        let id = held.message.id();
        let line = match (tell, id) {
            (Tell::Silence, _) => return self.decide(frame, by, Verdict::Drop),
            (Tell::Close, _) => return self.decide(frame, by, Verdict::Close),
            (Tell::Error { code, message }, Some(id)) => compose::failure(Some(id), *code, message),
            (Tell::ToolError { text }, Some(id)) => compose::tool_error(id, text),
            (_, None) => return Err(Refusal("nobody waits for an answer to this; drop it silently".into())),
        };
        let is_reply = matches!(held.link.role, Role::Response | Role::InputRequired);
        self.decide(frame, by, if is_reply { Verdict::replace(line) } else { Verdict::Answer(line) })
    }

    fn inject(&self, session: SessionId, by: &str, to: Direction, line: &[u8]) -> Result<Reply, Refusal> {
        let running = self.entry(session)?;
        let message = Message::parse(Bytes::copy_from_slice(line));
        let line = match message.kind() {
            // Its answer must be ours alone, so it gets an id of ours.
            Kind::Request { .. } => {
                let number = self.injected.fetch_add(1, Ordering::Relaxed) + 1;
                let id = Id::text(&format!("{OWN_ID}-{}-{number}", self.chance));
                let start = line.len() - line.trim_ascii_start().len();
                let whole = start..line.len();
                // Its progress must be ours alone as well.
                let token = json::lookup(line, whole.clone(), &["params", "_meta", "progressToken"]);
                let mut spans: Vec<_> = json::member(line, whole, "id").into_iter().chain(token).collect();
                spans.sort_by_key(|span| std::cmp::Reverse(span.start));
                let mut line = line.to_vec();
                for span in spans {
                    line.splice(span, id.token().bytes());
                }
                line
            }
            Kind::Batch(messages)
                if messages.iter().any(|each| matches!(each.kind(), Kind::Request { .. })) =>
            {
                return Err(Refusal(
                    "send the requests of a batch one by one: their ids would not be ours".into(),
                ));
            }
            _ => line.to_vec(),
        };
        let frame = running.session.inject(to, &line)?;
        if by != BY_PERSON {
            // A person's own doing needs no name; that of scripts and agents does.
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
