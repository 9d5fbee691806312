//! Rehearsal: the messages of a recorded client are sent again, to a server that may answer differently.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Stamp;
use crate::log::record::Seq;
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::remap::replace;
use crate::mcp::{Id, Kind, Message, compose, layout};
use crate::tape::script::{LineKind, Script, ScriptedMessage, Turn, TurnKind, params};
use crate::transport::memory::{PipeReader, PipeWriter};

/// Result of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RehearsalOutcome {
    /// Recorded requests that got no answer in time, in the order of their frames.
    pub silent: Vec<Seq>,
    /// `true` if the server was gone before everything was sent.
    pub cut_short: bool,
    /// Number of requests that were answered.
    pub answered: usize,
}

/// Values that a server issues and expects back: the path in its result, and the parameter of a later
/// request.
const GIVEN_BACK: [(&[&str], &str); 4] = [
    (&["requestState"], "requestState"),
    (&["nextCursor"], "cursor"),
    (&["task", "taskId"], "taskId"),
    (&["taskId"], "taskId"),
];

/// A client that sends the messages of a script.
pub struct Rehearsal<'a> {
    script: &'a Script,
    writer: PipeWriter,
    reader: PipeReader,
    splitter: LineSplitter,
    /// Indices in the script of the requests under way, by request id.
    waiting: HashMap<Id, usize>,
    /// Values that the server issues now, by the recorded values in whose place they are sent.
    given: HashMap<Vec<u8>, Id>,
    /// Recorded requests of the server that have been matched with a request already.
    asked: Vec<Seq>,
    patience: Duration,
    outcome: RehearsalOutcome,
}

impl<'a> Rehearsal<'a> {
    /// Creates a client of `script` on a link in memory. `limit` is the maximum length in bytes of a line
    /// that is parsed, `patience` the time limit for answers.
    pub fn new(
        script: &'a Script,
        writer: PipeWriter,
        reader: PipeReader,
        limit: usize,
        patience: Duration,
    ) -> Self {
        Self {
            script,
            writer,
            reader,
            splitter: LineSplitter::new(limit),
            waiting: HashMap::new(),
            given: HashMap::new(),
            asked: Vec::new(),
            patience,
            outcome: RehearsalOutcome::default(),
        }
    }

    /// Sends all messages of the script. A message is sent once every request that was answered before it
    /// in the recording is answered again, or has timed out.
    pub async fn run(mut self) -> RehearsalOutcome {
        for (at, turn) in self.script.turns.iter().enumerate() {
            if !self.hear_out(Some(turn.at)).await {
                break;
            }
            let said = match turn.kind {
                TurnKind::Request => {
                    if let (Some(id), false) = (turn.id(), turn.cancelled || turn.answer().is_none()) {
                        self.waiting.insert(id.clone(), at);
                    }
                    self.say(&self.up_to_date(&turn.message)).await
                }
                TurnKind::Notification => self.say(turn.message.body()).await,
                // A reply is sent when the server asks.
                TurnKind::Reply(_) => true,
            };
            if !said {
                break;
            }
        }
        self.hear_out(None).await;
        let turns = &self.script.turns;
        self.outcome.silent.extend(self.waiting.values().map(|at| turns[*at].seq));
        self.outcome.silent.sort_unstable();
        self.outcome
    }

    /// Waits for the answers to the requests that, in the recording, were answered before `time`, or at
    /// all if `time` is `None`. Returns `false` if the server is gone or has never answered in time.
    async fn hear_out(&mut self, time: Option<Stamp>) -> bool {
        let script = self.script;
        let answered = |turn: &Turn| turn.answer().map(|line| turn.at + line.after);
        let due = |at: &usize| match (answered(&script.turns[*at]), time) {
            (Some(answered), Some(time)) => answered <= time,
            (answered, None) => answered.is_some(),
            (None, _) => false,
        };
        // The time limit is one for the whole wait: other messages do not prolong it.
        let deadline = tokio::time::sleep(self.patience);
        tokio::pin!(deadline);
        while self.waiting.values().any(due) {
            let chunk = tokio::select! {
                biased;
                chunk = self.reader.recv() => Ok(chunk),
                () = &mut deadline => Err(()),
            };
            match chunk {
                Ok(Some(chunk)) => self.splitter.feed(&chunk),
                Ok(None) => {
                    self.outcome.cut_short = true;
                    return false;
                }
                Err(_) => {
                    // Do not wait for a silent request again.
                    let silent: Vec<Id> =
                        self.waiting.iter().filter(|(_, at)| due(at)).map(|(id, _)| id.clone()).collect();
                    let gone = silent.iter().filter_map(|id| self.waiting.remove(id));
                    self.outcome.silent.extend(gone.map(|at| script.turns[at].seq));
                    // Stop early if the server has never answered: each request would time out.
                    return self.outcome.answered > 0;
                }
            }
            while let Some(piece) = self.splitter.next_piece() {
                if let LinePart::Line(line) = piece {
                    self.on_message(&Message::parse(line)).await;
                }
            }
        }
        true
    }

    async fn on_message(&mut self, message: &Message) {
        match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                if let Some(at) = self.waiting.remove(id) {
                    self.outcome.answered += 1;
                    self.learn(at, message);
                }
            }
            Kind::Request { id, .. } => self.reply(id, message).await,
            Kind::Batch(all) => {
                for message in all {
                    Box::pin(self.on_message(message)).await;
                }
            }
            Kind::Failure { id: None, .. } | Kind::Notification { .. } | Kind::Opaque(_) => {}
        }
    }

    /// Maps the recorded values that the server issued to those that it issues now.
    fn learn(&mut self, at: usize, message: &Message) {
        let Some(recorded) = self.script.turns[at].answer() else { return };
        for (given, _) in GIVEN_BACK {
            if let (Some(then), Some(now)) = (recorded.message.outcome(given), message.outcome(given)) {
                self.given.insert(then.to_vec(), crate::mcp::remap::token(now));
            }
        }
    }

    /// Returns a request in which recorded values are replaced by those that the server issued now.
    fn up_to_date(&self, message: &Message) -> Bytes {
        let now = |key: &str| self.given.get(message.param(&[key])?);
        replace(
            message.body(),
            &[
                (&["params", "requestState"], now("requestState")),
                (&["params", "cursor"], now("cursor")),
                (&["params", "taskId"], now("taskId")),
            ],
        )
    }

    /// Replies to a request of the server as the recorded client replied to the matching request.
    async fn reply(&mut self, id: &Id, message: &Message) {
        // Match a recorded request with the same parameters, else the next one of the same method.
        let asks = self.script.turns.iter().flat_map(|turn| &turn.lines).chain(&self.script.prologue);
        let fitting: Vec<&ScriptedMessage> = asks
            .filter(|line| line.kind == LineKind::Ask && line.message.method() == message.method())
            .filter(|line| !self.asked.contains(&line.seq))
            .collect();
        let wanted = params(message);
        let same = fitting.iter().find(|line| params(&line.message) == wanted);
        let ask = same.or(fitting.first()).map(|line| line.seq);
        self.asked.extend(ask);
        let recorded =
            ask.and_then(|ask| self.script.turns.iter().find(|turn| turn.kind == TurnKind::Reply(ask)));
        let line = match recorded {
            Some(turn) => replace(turn.message.body(), &[(&["id"], Some(id))]),
            None if message.method() == Some("ping") => compose::response(id, &serde_json::json!({})),
            None => {
                let text = "the recording has no reply to this request";
                compose::failure(Some(id), compose::METHOD_NOT_FOUND, text)
            }
        };
        self.say(&line).await;
    }

    /// Sends a message. Returns `false` if the server is gone.
    async fn say(&mut self, body: &[u8]) -> bool {
        let said = self.writer.send(layout::as_line(body)).await.is_ok();
        self.outcome.cut_short |= !said;
        said
    }
}
