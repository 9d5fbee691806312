//! Answers to questions of a server to its client: elicitation by a form or URL, and sampling by
//! hand.

use ratatui_textarea::TextArea;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::text::clean;
use crate::log::record::{Frame, Seq, SessionId};
use crate::mcp::Kind;
use crate::mcp::compose::file_uri;
use crate::mcp::tree::exact_value;

/// Questions of one frame, answered one after the other.
#[derive(Debug)]
pub struct Questions {
    /// Session of the frame.
    pub session: SessionId,
    /// Frame that asks.
    pub frame: Seq,
    /// Unanswered questions, each with its key in `inputRequests`.
    open: Vec<(Option<String>, Value)>,
    answers: Map<String, Value>,
    /// Question on the screen.
    pub question: Question,
    /// Mistake in the last answer.
    pub error: Option<String>,
}

/// Question on the screen.
#[derive(Debug)]
pub enum Question {
    /// Elicitation with a form (2025-06-18, client/elicitation).
    Form {
        /// Text of the question.
        message: String,
        /// Form made from the `requestedSchema`.
        form: Form,
    },
    /// Elicitation that sends the user to a web page (2025-11-25, client/elicitation).
    Url {
        /// Text of the question.
        message: String,
        /// Address of the page.
        url: String,
    },
    /// Sampling request: the user writes the message in the place of a model.
    Sampling {
        /// Messages of the request, one per line, each after its role.
        prompt: String,
        /// Result as JSON, to be completed by the user.
        text: Box<TextArea<'static>>,
    },
}

/// User's reaction to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sends the answer.
    Accept,
    /// Declines the question.
    Decline,
    /// Closes the question without a decision.
    Cancel,
}

/// Answer to the whole frame: a result, or the code and message of a JSON-RPC error.
pub type FrameAnswer = Result<Value, (i64, String)>;

impl Questions {
    /// Reads the questions of a frame. Returns `None` if it asks for nothing that a user can give.
    /// `root` is the working directory of the server.
    pub fn new(session: SessionId, seq: Seq, frame: &Frame, root: &str) -> Option<Self> {
        let value = |token: Option<&[u8]>| exact_value(token?).ok();
        let mut open = match frame.message.kind() {
            Kind::Request { method, .. } => {
                let params = frame.message.params().map(|span| frame.message.slice(span));
                vec![(None, json!({ "method": method, "params": value(params).unwrap_or_default() }))]
            }
            Kind::Response { .. } => {
                let requests = value(frame.message.outcome(&["inputRequests"]))?;
                requests
                    .as_object()?
                    .iter()
                    .map(|(key, request)| (Some(key.clone()), request.clone()))
                    .collect()
            }
            _ => return None,
        };
        let mut answers = Map::new();
        // `roots/list` is answered with the working directory, without asking the user.
        open.retain(|(key, request)| {
            let roots = request["method"] == "roots/list";
            if let (true, Some(key)) = (roots, key) {
                answers.insert(key.clone(), json!({ "roots": [{ "uri": file_uri(root.as_bytes()) }] }));
            }
            !roots
        });
        let question = Question::new(&open.first()?.1);
        Some(Self { session, frame: seq, open, answers, question, error: None })
    }

    /// Answers the question on the screen. Returns the answer to the whole frame after the last
    /// question. A mistake in the answer is kept in [`Questions::error`].
    pub fn answer(&mut self, action: Action) -> Option<FrameAnswer> {
        let answer = match self.question.answer(action) {
            Ok(answer) => answer,
            Err(error) => {
                self.error = Some(error);
                return None;
            }
        };
        self.error = None;
        let (key, _) = self.open.remove(0);
        let Some(key) = key else { return Some(answer) };
        // A result has no place for an error; a declined question is the nearest.
        self.answers.insert(key, answer.unwrap_or_else(|_| json!({ "action": "decline" })));
        match self.open.first() {
            Some((_, next)) => {
                self.question = Question::new(next);
                None
            }
            None => Some(Ok(std::mem::take(&mut self.answers).into())),
        }
    }
}

impl Question {
    fn new(request: &Value) -> Self {
        let params = &request["params"];
        let text = |value: &Value| clean(value.as_str().unwrap_or_default());
        if request["method"] == "sampling/createMessage" {
            let reply = json!({
                "role": "assistant",
                "content": { "type": "text", "text": "" },
                "model": "shadowcat-human",
                "stopReason": "endTurn",
            });
            let lines = format!("{reply:#}").lines().map(str::to_owned).collect();
            let said = params["messages"].as_array().into_iter().flatten();
            let said = said.map(|message| {
                format!("{}: {}", text(&message["role"]), clean(&message["content"].to_string()))
            });
            return Self::Sampling {
                prompt: said.collect::<Vec<_>>().join("\n"),
                text: Box::new(TextArea::new(lines)),
            };
        }
        match params["mode"].as_str() {
            Some("url") => Self::Url { message: text(&params["message"]), url: text(&params["url"]) },
            _ => {
                Self::Form { message: text(&params["message"]), form: Form::new(&params["requestedSchema"]) }
            }
        }
    }

    fn answer(&self, action: Action) -> Result<FrameAnswer, String> {
        match (self, action) {
            (Self::Sampling { text, .. }, Action::Accept) => {
                let text = text.lines().join("\n");
                serde_json::from_str(&text).map(Ok).map_err(|error| error.to_string())
            }
            (Self::Sampling { .. }, _) => Ok(Err((-1, "the user declined".to_owned()))),
            (Self::Form { form, .. }, Action::Accept) => {
                Ok(Ok(json!({ "action": "accept", "content": form.value()? })))
            }
            (Self::Url { .. }, Action::Accept) => Ok(Ok(json!({ "action": "accept" }))),
            (_, Action::Decline) => Ok(Ok(json!({ "action": "decline" }))),
            (_, Action::Cancel) => Ok(Ok(json!({ "action": "cancel" }))),
        }
    }
}
