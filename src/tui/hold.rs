//! Intercept screen: held frames, and editing them.

use ratatui_textarea::TextArea;

use super::composer::{not_a_message, text_area};
use super::detail::Detail;
use super::render::{RenderJob, Slot, View};
use crate::engine::Command;
use crate::log::record::Seq;
use crate::log::world::World;
use crate::log::{Log, record::Frame};
use crate::mcp::{Kind, compose, json, layout};

/// State of the Intercept screen.
#[derive(Debug)]
pub struct Hold {
    /// Index of the held frame under the cursor.
    pub cursor: usize,
    /// Pane that shows the held message.
    pub detail: Detail,
    /// Edit or answer that is being written.
    pub editing: Option<Editing>,
    /// `true` if the original message is shown beside the edit.
    pub compare: bool,
}

/// Text that replaces a held message, or answers it.
#[derive(Debug, Clone)]
pub struct Editing {
    /// Held frame.
    pub frame: Seq,
    /// Text as written so far.
    pub text: TextArea<'static>,
    /// Text before the first change: the message as it arrived, or the template of an answer.
    pub original: String,
    /// `true` if the text is an answer rather than a replacement.
    pub answers: bool,
    /// `true` if the HTTP headers that repeat the body stay as they arrived.
    pub keeps_headers: bool,
    /// `true` if the text has the keyboard focus.
    pub inserting: bool,
    /// Mistake for which the first Ctrl-s was refused. The next one sends the text all the same.
    pub confirm: Option<String>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { cursor: 0, detail: Detail::new(Slot::Held, View::Pretty), editing: None, compare: false }
    }
}

impl Hold {
    /// Returns the held frame under the cursor.
    pub fn selected(&self, world: &World) -> Option<Seq> {
        world.held.get(self.cursor.min(world.held.len().saturating_sub(1))).copied()
    }

    /// Follows the held frames and returns a job if a message must be rendered. An edit of a frame
    /// that is no longer held stays open while its text has the keyboard focus or no other frame is
    /// held, so that the user's text is not lost.
    pub fn settle(&mut self, world: &World, log: &Log, width: usize) -> Option<RenderJob> {
        self.cursor = self.cursor.min(world.held.len().saturating_sub(1));
        let selected = self.selected(world);
        if let Some(editing) = &self.editing
            && !editing.inserting
            && selected.is_some()
            && selected != Some(editing.frame)
            && !world.held.contains(&editing.frame)
        {
            self.editing = None;
        }
        let shown = self.detail.show(selected, log);
        self.detail.resize(width, log).or(shown)
    }

    /// Starts to edit a held message, as amended so far, or resumes an edit of the same frame.
    pub fn edit(&mut self, seq: Seq, frame: &Frame, amended: Option<&[u8]>) {
        if let Some(editing) = &mut self.editing
            && editing.frame == seq
            && !editing.answers
        {
            editing.inserting = true;
            return;
        }
        let pretty = |body: &[u8]| {
            let body = String::from_utf8_lossy(body).into_owned();
            match json::document(body.as_bytes()) {
                Ok(_) => layout::pretty(&body),
                Err(_) => body,
            }
        };
        self.begin(seq, pretty(frame.message.body()), false);
        if let (Some(amended), Some(editing)) = (amended, &mut self.editing) {
            editing.text = text_area(&pretty(amended));
        }
    }

    /// Starts an answer to a held request. Returns `false` if the frame is not a request.
    pub fn answer(&mut self, seq: Seq, frame: &Frame) -> bool {
        let Kind::Request { id, method, .. } = frame.message.kind() else { return false };
        let result = match method.as_ref() {
            "tools/call" => {
                serde_json::json!({ "content": [{ "type": "text", "text": "" }], "isError": false })
            }
            "tools/list" => serde_json::json!({ "tools": [] }),
            "elicitation/create" => serde_json::json!({ "action": "accept", "content": {} }),
            _ => serde_json::json!({}),
        };
        let line = compose::response(id, &result);
        self.begin(seq, layout::pretty(&String::from_utf8_lossy(&line)), true);
        true
    }

    fn begin(&mut self, frame: Seq, original: String, answers: bool) {
        let text = text_area(&original);
        let (keeps_headers, inserting, confirm) = (false, true, None);
        self.editing = Some(Editing { frame, text, original, answers, keeps_headers, inserting, confirm });
    }
}

impl Editing {
    /// Returns the text as written so far.
    pub fn written(&self) -> String {
        self.text.lines().join("\n")
    }

    /// Returns the mistake in the text, with line and column, if it is not a JSON-RPC message.
    pub fn wrong(&self) -> Option<String> {
        not_a_message(&self.written())
    }

    /// Returns the command that sends the text. Text with a mistake takes a second call, since it
    /// is either a test or an accident.
    ///
    /// # Errors
    /// Returns the mistake on the first call.
    pub fn send(&mut self) -> Result<Command, String> {
        let confirmed = self.confirm.take().is_some();
        if let Some(wrong) = self.wrong().filter(|_| !confirmed) {
            self.confirm = Some(wrong.clone());
            return Err(wrong);
        }
        let line = layout::one_line(&self.written()).into();
        Ok(match self.answers {
            true => Command::Answer { frame: self.frame, line },
            false => Command::Edit { frame: self.frame, line, keeps_headers: self.keeps_headers },
        })
    }
}
