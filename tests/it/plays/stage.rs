//! A play on its stage: what every stage offers, and how the steps are carried out on it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use shadowcat::clock::Clock;
use shadowcat::engine::{Command, Engine, Reply, Tell};
use shadowcat::host::{Host, Settings};
use shadowcat::intercept::{Breakpoints, Chain, priority};
use shadowcat::log::Log;
use shadowcat::log::record::{Body, HELD_BY_ORDER, Origin, Seq, SessionId};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::mcp::Direction;
use tokio::runtime::Runtime;

use super::rules::{Owed, ToolRule, verdict};
use super::script::{Peer, Play, Step};

/// The peers of a play, and the engine between them.
pub trait Stage {
    /// The engine.
    fn engine(&self) -> &EngineParts;

    /// Sends a message of a peer.
    fn send(&mut self, peer: &Peer, text: &str) -> Result<(), String>;

    /// Does something else for a peer.
    fn act(&mut self, peer: &Peer, words: &str) -> Result<(), String>;

    /// Writes what the engine has decided to write, on a stage without threads.
    fn flush(&mut self) {}

    /// Takes out the next message that a peer has received.
    fn received(&mut self, peer: &Peer) -> Option<String>;

    /// Ends every connection, and returns the messages that no step expected.
    fn finish(&mut self) -> Vec<(Peer, String)>;

    /// Returns the session of a message to be injected.
    fn session(&self) -> SessionId {
        SessionId(1)
    }
}

/// An engine with its runtime.
pub struct EngineParts {
    pub runtime: Runtime,
    pub log: Arc<Log>,
    pub host: Arc<Host>,
    pub engine: Engine,
    pub clock: Clock,
    breakpoints: Arc<Breakpoints>,
}

impl EngineParts {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Clock::manual(1_700_000_000_000_000);
        let log = Log::new(clock.clone(), DEFAULT_BOUND);
        let breakpoints = Breakpoints::new();
        let settings = Settings { breakpoints: Arc::clone(&breakpoints), ..Settings::default() };
        let chain = Chain::of_breakpoints(&breakpoints);
        let entered = runtime.enter();
        let (host, engine) = Host::start(Arc::clone(&log), settings, chain);
        drop(entered);
        Self { runtime, log, host, engine, clock, breakpoints }
    }

    /// Sends a command to the engine.
    pub fn command(&self, command: Command) -> Result<Reply, String> {
        self.runtime.block_on(self.engine.send(command)).map_err(|refusal| refusal.to_string())
    }
}

/// The time that a step may take. Steps wait for what they expect, so only a play that fails takes it.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A play that is being run.
pub struct Run {
    stage: Box<dyn Stage>,
    /// The frames of the messages that the play has sent, in their order.
    frames: Vec<Seq>,
    /// Position after the last record that belongs to a step.
    seen: Seq,
    /// Position of the record that was expected last.
    expected: Seq,
    controller: Option<u32>,
    owed: Owed,
    /// Texts that stood in the place of `<name>` in messages.
    names: Names,
}

impl Run {
    pub fn new(stage: Box<dyn Stage>) -> Self {
        Self {
            stage,
            frames: Vec::new(),
            seen: 0,
            expected: 0,
            controller: None,
            owed: Owed::default(),
            names: Names::default(),
        }
    }

    /// Carries out all steps.
    ///
    /// # Errors
    /// The line that fails, and why.
    pub fn play(&mut self, play: &Play) -> Result<(), String> {
        self.attach()?;
        let mut last = 1;
        for (line, step) in &play.steps {
            last = *line;
            self.step(step).map_err(|why| format!("{line}: {why}"))?;
        }
        match self.stage.finish().first() {
            Some((peer, text)) => Err(format!("{last}: nothing expects that {peer} received {text}")),
            None => Ok(()),
        }
    }

    fn attach(&mut self) -> Result<(), String> {
        if let Reply::Seat(id) = self.command(Command::Attend { name: "user".into() })? {
            self.controller = Some(id);
        }
        Ok(())
    }

    fn command(&self, command: Command) -> Result<Reply, String> {
        self.stage.engine().command(command)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(peer, text) => {
                let text = self.names.fill(text);
                self.stage.send(peer, &text)?;
                self.await_frame()?;
            }
            Step::Act(peer, words) => self.stage.act(peer, words)?,
            Step::Receive(peer, text) => {
                let received = self.eventually(|run| run.stage.received(peer));
                let received = received.ok_or_else(|| format!("{peer} received nothing"))?;
                if !self.names.matches(text, &received) {
                    return Err(format!("{peer} received {received}"));
                }
            }
            Step::User(words) => self.user(words)?,
            Step::Rule(words) => self.rule(words)?,
            Step::Clock(by) => self.stage.engine().clock.advance(*by),
            Step::Held(numbers) => self.held(numbers)?,
            Step::Record(expected) => {
                let found = self.eventually(|run| run.find_record(expected));
                self.expected = found.ok_or_else(|| format!("no record has {expected}"))?;
            }
        }
        self.stage.flush();
        Ok(())
    }

    /// Waits until `found` returns something, on a stage whose peers are not done yet.
    fn eventually<T>(&mut self, mut found: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let clock = Clock::system();
        let started = clock.now();
        loop {
            self.stage.flush();
            if let Some(found) = found(self) {
                return Some(found);
            }
            if clock.now().since(started) > STEP_TIMEOUT {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the frame of the message that was sent last, and numbers it.
    fn await_frame(&mut self) -> Result<(), String> {
        let seen = self.seen;
        let found = self.eventually(|run| {
            let records = run.stage.engine().log.window(seen + 1, usize::MAX);
            let is_sent = |origin| matches!(origin, Origin::Wire | Origin::Injected);
            records.iter().find_map(|record| {
                let frame = record.frame()?;
                (is_sent(frame.origin) && !run.frames.contains(&record.seq)).then_some(record.seq)
            })
        });
        let seq = found.ok_or("the message was not recorded")?;
        self.seen = seq;
        self.frames.push(seq);
        Ok(())
    }

    fn find_record(&self, expected: &Value) -> Option<Seq> {
        let records = self.stage.engine().log.window(self.expected + 1, usize::MAX);
        records.iter().find_map(|record| {
            let mut line = Vec::new();
            shadowcat::tape::format::write_record(&mut line, record, 0);
            let line: Value = serde_json::from_slice(&line).ok()?;
            has_members(&line, expected).then_some(record.seq)
        })
    }

    fn held(&mut self, numbers: &[usize]) -> Result<(), String> {
        let mut held = Vec::new();
        let same = self.eventually(|run| {
            held = run.undecided();
            (held == *numbers).then_some(())
        });
        same.ok_or_else(|| format!("held are {held:?}"))
    }

    /// Returns the numbers of the messages that wait for the user.
    fn undecided(&self) -> Vec<usize> {
        let mut held: Vec<Seq> = Vec::new();
        for record in self.stage.engine().log.window(1, usize::MAX) {
            match &record.body {
                Body::Held(hold) if &*hold.by != HELD_BY_ORDER => held.push(hold.frame),
                Body::Sent(sent) => held.retain(|frame| *frame != sent.frame),
                _ => {}
            }
        }
        let number = |frame: &Seq| self.frames.iter().position(|known| known == frame).map(|at| at + 1);
        held.iter().filter_map(number).collect()
    }

    fn frame(&self, number: &str) -> Result<Seq, String> {
        let at: usize = number.parse().map_err(|_| format!("not a number of a message: {number:?}"))?;
        self.frames
            .get(at.wrapping_sub(1))
            .copied()
            .ok_or_else(|| format!("the play has sent no message {at}"))
    }

    fn user(&mut self, words: &str) -> Result<(), String> {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let line = Bytes::copy_from_slice(text.as_bytes());
        match verb {
            "break" => drop(self.command(Command::Break { query: rest.into(), patience: None })?),
            "attach" => self.attach()?,
            "detach" => {
                let controller = self.controller.take().ok_or("no user is attached")?;
                self.command(Command::Leave { controller })?;
            }
            "hold" => drop(self.command(Command::HoldEverything { on: rest == "everything" })?),
            "arm" => drop(self.command(Command::Arm { armed: rest == "on" })?),
            "accept-all" => drop(self.command(Command::AcceptAll {})?),
            "amend" => drop(self.command(Command::Amend { frame: self.frame(first)?, line })?),
            // The stage starts the server in the background, which can be restarted a moment later.
            "restart" => {
                let command = Command::Restart { session: self.stage.session() };
                let done = self.eventually(|run| run.command(command.clone()).ok());
                done.ok_or("the server cannot be restarted")?;
            }
            "inject" => {
                let to = match first {
                    "server" => Direction::ToServer,
                    "client" => Direction::ToClient,
                    _ => return Err(format!("inject to client or server, not to {first:?}")),
                };
                self.command(Command::Inject { session: self.stage.session(), to, line })?;
                self.await_frame()?;
            }
            "release" => self.release(self.frame(first)?, text)?,
            _ => return Err(format!("user cannot {words:?}")),
        }
        Ok(())
    }

    /// Decides on a held frame.
    fn release(&self, frame: Seq, words: &str) -> Result<(), String> {
        let (verb, text) = words.split_once(' ').unwrap_or((words, ""));
        let line = Bytes::copy_from_slice(text.as_bytes());
        let command = match verb {
            "" | "pass" => Command::Accept { frame },
            "and-hold-reply" => Command::AcceptAndHoldReply { frame },
            "replace" => Command::Edit { frame, line, keeps_headers: false },
            "answer" => Command::Answer { frame, line },
            "drop" => Command::Drop { frame, tell: Tell::Silence },
            "fail" => Command::Drop { frame, tell: Tell::Error { code: -32603, message: text.into() } },
            _ => return Err(format!("a release cannot {words:?}")),
        };
        self.command(command).map(drop)
    }

    fn rule(&mut self, words: &str) -> Result<(), String> {
        if let Some(given) = words.strip_prefix("decides ") {
            let verdict = verdict(given).ok_or_else(|| format!("not a verdict: {given:?}"))?;
            let owed = self.eventually(|run| {
                let mut owed = run.owed.lock().unwrap();
                (!owed.is_empty()).then(|| owed.remove(0))
            });
            let owed = owed.ok_or("no rule owes a verdict")?;
            return owed.send(verdict).map_err(|_| "nobody waits for this verdict any more".to_owned());
        }
        let parts = self.stage.engine();
        let chain = Chain::of_breakpoints(&parts.breakpoints);
        let chain = match words {
            "none" => chain,
            _ => {
                let rule = ToolRule::parse(words, &self.owed);
                let rule = rule.ok_or_else(|| format!("a rule cannot {words:?}"))?;
                chain.with(priority::RULES, Arc::new(rule))
            }
        };
        parts.host.chain().replace(chain);
        Ok(())
    }
}

/// The values of names in a play. `<name>` in an expected message stands for any JSON token the first time,
/// and for the same token from then on.
#[derive(Default)]
struct Names(Vec<(String, String)>);

impl Names {
    /// Puts the values of names into a message.
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
    }

    /// Returns `true` if `received` is the expected message, and remembers the values of new names.
    fn matches(&mut self, expected: &str, received: &str) -> bool {
        let expected = self.fill(expected);
        let Some((before, rest)) = expected.split_once('<') else { return expected == received };
        let Some((name, after)) = rest.split_once('>') else { return expected == received };
        let Some(value) = received.strip_prefix(before) else { return false };
        let end = value.find([',', '}', ']']).unwrap_or(value.len());
        self.0.push((name.to_owned(), value[..end].to_owned()));
        let rest = format!("{before}{}{after}", &value[..end]);
        self.matches(&rest, received)
    }
}

/// Returns `true` if `value` has every member of `expected`, at any depth.
fn has_members(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| value.get(name).is_some_and(|value| has_members(value, expected))),
        _ => value == expected,
    }
}
