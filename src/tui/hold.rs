//! The Intercept screen: what is held, and editing it.

use ratatui_textarea::TextArea;

use super::composer::{not_a_message, text_area};
use super::detail::Detail;
use super::render::{Job, Slot, View};
use crate::engine::Command;
use crate::log::record::Seq;
use crate::log::world::World;
use crate::log::{Log, record::Frame};
use crate::mcp::{Kind, compose, json, layout};

/// The state of the screen.
#[derive(Debug)]
pub struct Hold {
    pub cursor: usize,
    pub detail: Detail,
    pub editing: Option<Editing>,
    /// Shows the message as it came beside the edit.
    pub compare: bool,
}

/// A text that goes in the place of a held message, or answers it.
#[derive(Debug, Clone)]
pub struct Editing {
    pub frame: Seq,
    pub text: TextArea<'static>,
    pub original: String,
    pub answers: bool,
    /// HTTP headers that repeat the body stay as they came.
    pub keeps_headers: bool,
    /// The text has the keys.
    pub inserting: bool,
    /// It is wrong, and Ctrl-s was pressed once.
    pub confirm: Option<String>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { cursor: 0, detail: Detail::new(Slot::Held, View::Pretty), editing: None, compare: false }
    }
}

impl Hold {
    /// The held frame under the cursor.
    pub fn selected(&self, world: &World) -> Option<Seq> {
        world.held.get(self.cursor.min(world.held.len().saturating_sub(1))).copied()
    }

    /// Follows what is held. An edit of something that is not held any more stays on the screen
    /// until it is left: text that a person wrote is not thrown away.
    pub fn settle(&mut self, world: &World, log: &Log, width: usize) -> Option<Job> {
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

    /// Begins to edit a held message as it was amended, or goes on where it was left.
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

    /// Begins an answer to a held request; false if it is none.
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
    pub fn written(&self) -> String {
        self.text.lines().join("\n")
    }

    /// What is wrong with it, with line and column.
    pub fn wrong(&self) -> Option<String> {
        not_a_message(&self.written())
    }

    /// The command that sends it. Sending what is wrong takes a second request: it is a test, or
    /// a slip.
    ///
    /// # Errors
    /// What is wrong with it.
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
