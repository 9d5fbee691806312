//! Interceptors of plays.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shadowcat::intercept::{Inspected, Interceptor, Outgoing, Ruling, Verdict};
use tokio::sync::oneshot;

/// Decides on the calls of one tool, or on their answers.
pub struct ToolRule {
    tool: String,
    kind: Kind,
}

enum Kind {
    /// Gives this verdict at once.
    Now(Verdict),
    /// Gives a verdict when the play says so.
    Later(Arc<Mutex<Vec<oneshot::Sender<Verdict>>>>),
}

/// The verdicts that interceptors still owe, in the order of their frames.
pub type Owed = Arc<Mutex<Vec<oneshot::Sender<Verdict>>>>;

impl ToolRule {
    /// Parses `drop TOOL`, `close TOOL`, `answer TOOL TEXT`, `replace TOOL TEXT` or `later TOOL`.
    pub fn parse(words: &str, owed: &Owed) -> Option<Self> {
        let (verb, rest) = words.split_once(' ')?;
        let (tool, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let kind = match verb {
            "later" => Kind::Later(Arc::clone(owed)),
            verb => Kind::Now(verdict(&format!("{verb} {text}"))?),
        };
        Some(Self { tool: tool.to_owned(), kind })
    }
}

impl Interceptor for ToolRule {
    fn name(&self) -> &str {
        "rule"
    }

    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
        let is_mine = |message: shadowcat::intercept::InspectedMessage<'_>| {
            message.target() == Some(self.tool.as_str())
        };
        if frame.direction != shadowcat::mcp::Direction::ToServer || !frame.messages().any(is_mine) {
            return None;
        }
        match &self.kind {
            Kind::Now(verdict) => Some(verdict.clone().into()),
            Kind::Later(owed) => {
                let (sender, receiver) = oneshot::channel();
                owed.lock().unwrap().push(sender);
                Some(Ruling::later(async move { receiver.await.unwrap_or(Verdict::Pass) }))
            }
        }
    }
}

/// Parses a verdict: `pass`, `drop`, `close`, `replace TEXT` or `answer TEXT`. Several texts are separated
/// by ` | `. `answer STATUS TEXT` sets the status of a response over HTTP.
pub fn verdict(words: &str) -> Option<Verdict> {
    let (verb, text) = words.trim().split_once(' ').unwrap_or((words.trim(), ""));
    let all = || -> Vec<Outgoing> {
        let (status, text) = match text.split_once(' ') {
            Some((status, rest)) if status.parse::<u16>().is_ok() => (status.parse().ok(), rest),
            _ => (None, text),
        };
        let mut all: Vec<Outgoing> =
            text.split(" | ").map(|text| Bytes::copy_from_slice(text.as_bytes()).into()).collect();
        if let (Some(status), Some(first)) = (status, all.first_mut()) {
            *first = first.clone().with_head(status, &[]);
        }
        all
    };
    Some(match verb {
        "pass" => Verdict::Pass,
        "drop" => Verdict::Drop,
        "close" => Verdict::Close,
        "replace" => Verdict::Deliver(all()),
        "answer" => Verdict::Answer(all()),
        _ => return None,
    })
}
