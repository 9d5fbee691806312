//! The stand-in for a recorded server. It does no I/O and never blocks: the caller passes the
//! messages of the client to it, and sends the lines that are due.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::json;

use super::discover;
use super::matching::{How, MatchedRequest, Matching};
use crate::clock::{Clock, Stamp};
use crate::log::record::Seq;
use crate::mcp::compose::{self, meta};
use crate::mcp::remap::{replace, token};
use crate::mcp::{Era, Id, Kind, Message};
use crate::tape::player::{Player, Speed};
use crate::tape::script::{self, LineKind, Script, TurnKind};
use crate::tape::similarity::{Ignored, brief};

/// Configuration of a stand-in.
#[derive(Debug, Default)]
pub struct StandInOptions {
    /// Reaction to a request that the recording does not have.
    pub on_miss: OnMiss,
    /// Speed at which recorded times are kept; `None` to answer at once.
    pub speed: Option<Speed>,
    /// Argument values that are not compared.
    pub ignored: Ignored,
}

/// Reaction to a request that the recording does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMiss {
    /// An error that names the nearest recorded request.
    #[default]
    Error,
    /// The answer to the nearest recorded request of the same target.
    Nearest,
    /// No answer: the caller has the request answered by somebody else.
    PassThrough,
}

/// Reaction of the stand-in to a message of the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Handled {
    /// A recorded request answers the message.
    Answered {
        /// Recorded request.
        by: Seq,
        /// Quality of the match.
        how: How,
    },
    /// No recorded request matches: an error answers it, or the caller does
    /// ([`OnMiss::PassThrough`]).
    Missed {
        /// Nearest recorded request of the same method, if any.
        nearest: Option<(Seq, How)>,
    },
    /// The message needs no recorded answer.
    Noted,
    /// The message replies to a request of the stand-in.
    Replied,
}

/// A line that the stand-in sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Line with its terminator.
    pub line: Bytes,
    /// Recorded frame that it repeats; `None` if the recording does not have it.
    pub of: Option<Seq>,
}

/// A server that sends what a recorded one sent.
pub struct StandIn {
    script: Script,
    matching: Matching,
    on_miss: OnMiss,
    speed: Speed,
    clock: Clock,
    running: Vec<PlayingTurn>,
    /// Lines that are due at once.
    ready: Vec<Said>,
    /// Requests of the stand-in that wait for a reply: their ids, with the request of the client to
    /// which they belong and the recorded frame.
    asked: HashMap<Id, (Id, Seq)>,
    asks: u64,
}

/// A turn that is being played.
struct PlayingTurn {
    turn: usize,
    /// Id of the request that is answered now; `null` for a turn that is not a request.
    id: Id,
    token: Option<Id>,
    player: Player,
    /// Time of each line since the beginning of the turn.
    times: Vec<Stamp>,
}

impl StandIn {
    /// Creates a stand-in for the server in `script`; notifications before the first message of the
    /// client are due at once.
    pub fn new(script: Script, options: StandInOptions, clock: Clock) -> Self {
        let StandInOptions { on_miss, speed, ignored } = options;
        let prologue = script.prologue.iter().filter(|line| line.kind == LineKind::Loose);
        let ready = prologue.map(|line| said(line.message.body(), Some(line.seq))).collect();
        Self {
            script,
            matching: Matching::new(ignored),
            on_miss,
            speed: speed.unwrap_or(Speed::Max),
            clock,
            running: Vec::new(),
            ready,
            asked: HashMap::new(),
            asks: 0,
        }
    }

    /// Handles a message of the client.
    pub fn handle(&mut self, message: &Message) -> Handled {
        match message.kind() {
            Kind::Request { id, method, .. } => self.request(message, id.clone(), method.as_ref()),
            Kind::Notification { method, .. } if method.as_ref() == "notifications/cancelled" => {
                let id = message.param(&["requestId"]).map(token);
                self.running.retain(|running| Some(&running.id) != id.as_ref());
                Handled::Noted
            }
            Kind::Notification { method, .. } => {
                let fits = |turn: &&script::Turn| {
                    turn.kind == TurnKind::Notification && turn.method == method.as_ref()
                };
                if let Some(turn) = self.script.turns.iter().position(|turn| fits(&turn)) {
                    self.begin(turn, Id::new("null"), None);
                }
                Handled::Noted
            }
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                if self.replied(id) {
                    Handled::Replied
                } else {
                    Handled::Noted
                }
            }
            Kind::Batch(all) => {
                let handled: Vec<Handled> = all.iter().map(|message| self.handle(message)).collect();
                handled.into_iter().find(|handled| *handled != Handled::Noted).unwrap_or(Handled::Noted)
            }
            Kind::Failure { id: None, .. } | Kind::Opaque(_) => Handled::Noted,
        }
    }

    fn request(&mut self, message: &Message, id: Id, method: &str) -> Handled {
        let target = message.target();
        let params = script::params(message);
        let token = message.param(&["_meta", "progressToken"]).map(token);
        let found = self.matching.find(&self.script, method, target.as_deref(), &params);
        let nearest = match found {
            Some(MatchedRequest { turn, how: how @ (How::Exact | How::Alike) }) => {
                let by = self.script.turns[turn].seq;
                self.begin(turn, id, token);
                return Handled::Answered { by, how };
            }
            // The answer of another tool is not an answer to this request.
            Some(MatchedRequest { turn, how: how @ How::Nearest { same: true, .. } })
                if self.on_miss == OnMiss::Nearest =>
            {
                let by = self.script.turns[turn].seq;
                self.matching.mark_used(&self.script, turn);
                self.begin(turn, id, token);
                return Handled::Answered { by, how };
            }
            Some(MatchedRequest { turn, how }) => Some((self.script.turns[turn].seq, how)),
            None => None,
        };
        if method == "ping" {
            // Every live server answers a ping, recorded or not.
            self.ready.push(said(&compose::response(&id, &json!({})), None));
            return Handled::Noted;
        }
        if method == "server/discover" && self.script.era == Some(Era::Stateless) {
            self.ready.push(said(&discover::answer(&id, &self.script), None));
            return Handled::Noted;
        }
        if self.on_miss != OnMiss::PassThrough {
            let title = match &target {
                Some(target) => format!("{method} {target}"),
                None => method.to_owned(),
            };
            self.ready.push(said(&refusal(&id, &title, nearest.as_ref()), None));
        }
        Handled::Missed { nearest }
    }

    fn begin(&mut self, turn: usize, id: Id, token: Option<Id>) {
        let mut player = Player::new(self.clock.clone(), self.speed);
        let nanos = |line: &script::ScriptedMessage| {
            Stamp::from_nanos(u64::try_from(line.after.as_nanos()).unwrap_or(u64::MAX))
        };
        let times = self.script.turns[turn].lines.iter().map(nanos).collect();
        player.play();
        self.running.push(PlayingTurn { turn, id, token, player, times });
    }

    /// Resumes the turn that waits for a reply; returns `false` if no request has this id.
    fn replied(&mut self, id: &Id) -> bool {
        let Some((of, asked)) = self.asked.remove(id) else { return false };
        if let Some(running) = self.running.iter_mut().find(|running| running.id == of) {
            running.player.play();
        }
        // Play the lines that the server sent in reaction to the reply.
        let reply = self.script.turns.iter().position(|turn| turn.kind == TurnKind::Reply(asked));
        if let Some(reply) = reply.filter(|reply| !self.script.turns[*reply].lines.is_empty()) {
            self.begin(reply, Id::new("null"), None);
        }
        true
    }

    /// Returns the time until a line is due; `None` if none will be.
    pub fn wait(&self) -> Option<std::time::Duration> {
        if !self.ready.is_empty() {
            return Some(std::time::Duration::ZERO);
        }
        self.running.iter().filter_map(|running| running.player.wait(&running.times[..])).min()
    }

    /// Returns `true` if an answer to the client is due, now or later.
    pub fn owes(&self) -> bool {
        let owed = |running: &PlayingTurn| {
            let left = self.script.turns[running.turn].lines.iter().skip(running.player.passed());
            running.player.is_playing() && left.into_iter().any(|line| line.kind == LineKind::Answer)
        };
        !self.ready.is_empty() || self.running.iter().any(owed)
    }

    /// Returns all lines that are due.
    pub fn say(&mut self) -> Vec<Said> {
        let mut all = std::mem::take(&mut self.ready);
        for at in 0..self.running.len() {
            self.say_of(at, &mut all);
        }
        let done = |running: &PlayingTurn| running.player.passed() >= running.times.len();
        self.running.retain(|running| !done(running));
        all
    }

    fn say_of(&mut self, at: usize, all: &mut Vec<Said>) {
        let running = &mut self.running[at];
        let due = running.player.advance(&running.times[..]);
        for place in due {
            let line = &self.script.turns[running.turn].lines[place];
            let body = line.message.body();
            match line.kind {
                LineKind::Answer => {
                    all.push(said(&replace(body, &[(&["id"], Some(&running.id))]), Some(line.seq)))
                }
                LineKind::Loose => all.push(said(body, Some(line.seq))),
                LineKind::Bound => {
                    all.extend(bound(&line.message, running).map(|body| said(&body, Some(line.seq))))
                }
                LineKind::Ask => {
                    // The recorded id is kept if it cannot be confused with another one.
                    let recorded = line.message.id().cloned();
                    let free = |id: &Id| self.on_miss != OnMiss::PassThrough && !self.asked.contains_key(id);
                    let own = recorded.filter(free).unwrap_or_else(|| {
                        self.asks += 1;
                        Id::text(&format!("replay-{}", self.asks))
                    });
                    all.push(said(&replace(body, &[(&["id"], Some(&own))]), Some(line.seq)));
                    let seq = line.seq;
                    self.asked.insert(own, (running.id.clone(), seq));
                    // Lines behind the recorded reply may depend on it: they wait for the reply of
                    // the client.
                    let next = self.script.turns[running.turn].lines.get(place + 1).map(|line| line.seq);
                    let waited = self.script.turns.iter().any(|turn| {
                        turn.kind == TurnKind::Reply(seq) && next.is_none_or(|next| turn.seq < next)
                    });
                    if waited {
                        running.player.step_to(place, &running.times[..]);
                        running.player.pause();
                        return;
                    }
                }
            }
        }
    }
}

/// Returns a notification of a turn, with the request that is answered now in the place of the
/// recorded one; `None` if that request did not ask for progress.
fn bound(message: &Message, running: &PlayingTurn) -> Option<Bytes> {
    let body = message.body();
    if message.method() == Some("notifications/progress") {
        let token = running.token.as_ref()?;
        return Some(replace(body, &[(&["params", "progressToken"], Some(token))]));
    }
    Some(replace(body, &[(&["params", "_meta", meta::SUBSCRIPTION_ID], Some(&running.id))]))
}

fn said(body: &[u8], of: Option<Seq>) -> Said {
    Said { line: crate::mcp::layout::as_line(body), of }
}

/// Composes the error for a request that the recording does not have, with the nearest one.
fn refusal(id: &Id, title: &str, nearest: Option<&(Seq, How)>) -> Bytes {
    let Some((seq, How::Nearest { score, differences, .. })) = nearest else {
        let text = format!("the recording has no {title}");
        return compose::failure_with(Some(id), compose::METHOD_NOT_FOUND, &text, None);
    };
    let first = differences.first().map_or_else(String::new, |difference| {
        let (was, is) = (brief(difference.was.as_ref()), brief(difference.is.as_ref()));
        format!(", which has {was} at {} where this has {is}", difference.path)
    });
    let text =
        format!("the recording has no such {title}; the nearest is #{seq} (similarity {score:.2}){first}");
    let data = json!({
        "nearest": seq,
        "score": score,
        "differences": differences.iter().map(|difference| &difference.path).collect::<Vec<_>>(),
    });
    compose::failure_with(Some(id), compose::INVALID_PARAMS, &text, Some(&data))
}
