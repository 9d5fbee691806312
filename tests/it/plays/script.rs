//! The text of a play.

use std::time::Duration;

use serde_json::Value;

/// A parsed play.
pub struct Play {
    pub stage: StageKind,
    /// The steps with their line numbers, which count from 1.
    pub steps: Vec<(usize, Step)>,
}

/// The surroundings of a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// A session with two lanes in memory, without threads.
    Session,
    /// A proxy service for HTTP in front of a scripted server.
    Http,
    /// A session with a real server process that can be restarted.
    Process,
    /// Several clients of one real server process.
    Shared,
}

/// A step of a play.
#[derive(Debug, Clone)]
pub enum Step {
    /// A peer sends a message.
    Send(Peer, String),
    /// A peer has received this message next.
    Receive(Peer, String),
    /// A peer does something else than sending a message.
    Act(Peer, String),
    /// The user does something.
    User(String),
    /// An interceptor is set, or decides.
    Rule(String),
    /// The clock advances.
    Clock(Duration),
    /// The messages of these numbers wait for the user.
    Held(Vec<usize>),
    /// The log has a record with these members, after the one that was expected last.
    Record(Value),
}

/// A client or a server; over HTTP, its side of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    pub is_server: bool,
    /// The name after `@`; empty without one.
    pub name: String,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_server { "server" } else { "client" })?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "@{}", self.name) }
    }
}

impl Peer {
    fn parse(text: &str) -> Option<Self> {
        let (side, name) = text.split_once('@').unwrap_or((text, ""));
        let is_server = match side {
            "server" => true,
            "client" => false,
            _ => return None,
        };
        Some(Self { is_server, name: name.to_owned() })
    }
}

impl Play {
    /// Parses the text of a play.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut stage = None;
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match (line.strip_prefix("on "), stage) {
                (Some(name), None) => {
                    stage = Some(match name.trim() {
                        "session" => StageKind::Session,
                        "http" => StageKind::Http,
                        "process" => StageKind::Process,
                        "shared" => StageKind::Shared,
                        other => return Err(format!("{number}: no stage {other:?}")),
                    });
                }
                (_, None) => return Err(format!("{number}: a play begins with its stage")),
                (_, Some(_)) => {
                    let step = Step::parse(line).ok_or_else(|| format!("{number}: not a step: {line}"))?;
                    steps.push((number, step));
                }
            }
        }
        let stage = stage.ok_or("1: a play begins with its stage")?;
        Ok(Self { stage, steps })
    }
}

impl Step {
    fn parse(line: &str) -> Option<Self> {
        let (subject, rest) = line.split_once(' ')?;
        let (verb, object) = rest.split_once(' ').unwrap_or((rest, ""));
        let peer = Peer::parse(subject);
        Some(match (subject, peer, verb) {
            (_, Some(peer), ">") => Self::Send(peer, object.to_owned()),
            (_, Some(peer), "<") => Self::Receive(peer, object.to_owned()),
            (_, Some(peer), "!") => Self::Act(peer, object.to_owned()),
            ("user", _, "!") => Self::User(object.to_owned()),
            ("rule", _, "!") => Self::Rule(object.to_owned()),
            ("clock", _, "+") => Self::Clock(shadowcat::clock::duration(object)?),
            ("held", _, "=") => {
                Self::Held(object.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?)
            }
            ("record", _, "=") => Self::Record(serde_json::from_str(object).ok()?),
            _ => return None,
        })
    }
}
