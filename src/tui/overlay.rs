//! What opens over a screen: prompts, menus, the palette.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher};
use ratatui_textarea::TextArea;

use super::ask::Ask;
use super::command::{Cmd, Pane};
use super::form;
use crate::clients::Change;
use crate::engine::Tell;
use crate::log::query::{Completion, Query, QueryError};
use crate::log::record::{Seq, SessionId};

/// Frames that are asked while a query is typed: enough to be useful, few enough not to be felt.
pub const COUNTED: usize = 20_000;

/// What is open over the screen.
#[derive(Debug)]
pub enum Overlay {
    Prompt(Prompt),
    Menu(Menu),
    Palette(Palette),
    Ask(Box<Ask>),
    Review(Box<Review>),
}

/// A change of a file of a client, to be looked at before it is made.
#[derive(Debug)]
pub struct Review {
    pub change: Change,
    pub lines: Vec<(char, String)>,
    pub top: usize,
}

/// One line to be written.
#[derive(Debug)]
pub struct Prompt {
    pub wants: Wants,
    pub input: TextArea<'static>,
    /// For a query: what is wrong with it.
    pub error: Option<QueryError>,
    /// For a query: how many frames it matches.
    pub count: Option<usize>,
    pub completion: Option<Completion>,
    /// Which candidate was put in last.
    pub candidate: usize,
    /// For a filter: hide what does not match, or only mark what does.
    pub narrow: bool,
}

/// What a prompt is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    Filter,
    Breakpoint,
    ToggleBreakpoint,
    Note(Option<Seq>),
    Delay(Seq),
    FrameNumber,
    Time,
    Mark(Seq),
    Letter,
    Other,
    /// The command line of a server.
    Launch,
    /// A recording, by its name or file.
    Recording,
}

/// A few choices, each with its key.
#[derive(Debug, Clone)]
pub struct Menu {
    pub title: String,
    pub items: Vec<(char, String, Choice)>,
}

/// What a menu item does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Drop(Seq, Tell),
    Break(String),
    HoldEverything,
    /// Puts us in front of a server of a client, or takes us out, by its place in the list.
    Wrap(usize),
    /// Starts the server of a session again, whoever shares it.
    Restart(SessionId),
    /// Leaves, and what is held stays held as long as its breakpoint lets it.
    QuitKeeping,
    QuitReleasing,
    QuitDropping,
}

/// Every command, found by name.
#[derive(Debug)]
pub struct Palette {
    pub input: TextArea<'static>,
    pub found: Vec<Cmd>,
    pub cursor: usize,
}

impl Review {
    /// Its lines on a screen of this many columns: longer ones go on below, without a sign.
    pub fn rows(&self, width: usize) -> Vec<(char, String)> {
        let width = width.saturating_sub(2).max(1);
        let mut rows = Vec::new();
        for (sign, line) in &self.lines {
            let characters: Vec<char> = line.chars().collect();
            rows.push((*sign, characters.iter().take(width).collect()));
            let rest = characters.get(width..).unwrap_or_default();
            rows.extend(rest.chunks(width).map(|part| (*sign, part.iter().collect())));
        }
        rows
    }
}

impl Prompt {
    pub fn new(wants: Wants, text: &str) -> Self {
        Self {
            wants,
            input: form::line(text),
            error: None,
            count: None,
            completion: None,
            candidate: 0,
            narrow: true,
        }
    }

    pub fn text(&self) -> &str {
        self.input.lines().first().map_or("", String::as_str)
    }

    /// Whether it takes a query.
    pub fn is_query(&self) -> bool {
        matches!(self.wants, Wants::Filter | Wants::Breakpoint)
    }

    /// The query as far as it is written, and keeps what is wrong with it.
    pub fn query(&mut self) -> Option<Query> {
        match Query::parse(self.text()) {
            Ok(query) => {
                self.error = None;
                Some(query)
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    /// What it asks for; `number` is what frames are called.
    pub fn title(&self, number: impl Fn(Seq) -> String) -> String {
        match &self.wants {
            Wants::Filter if self.narrow => "filter".into(),
            Wants::Filter => "highlight".into(),
            Wants::Breakpoint => "break on".into(),
            Wants::ToggleBreakpoint => "breakpoint number".into(),
            Wants::Note(Some(seq)) => format!("note on {}", number(*seq)),
            Wants::Note(None) => "note".into(),
            Wants::Delay(seq) => format!("seconds until {} goes on", number(*seq)),
            Wants::FrameNumber => "go to #".into(),
            Wants::Time => "go to time (12:03:04, +30s, -2m, 40%)".into(),
            Wants::Mark(seq) => format!("bookmark on {}: a letter, and what it is", number(*seq)),
            Wants::Letter => "go to bookmark".into(),
            Wants::Other => "compare with a tape (or #1 #2: two sessions)".into(),
            Wants::Launch => "launch".into(),
            Wants::Recording => "open recording".into(),
        }
    }
}

impl Palette {
    pub fn new(place: Pane) -> Self {
        let mut palette = Self { input: form::line(""), found: Vec::new(), cursor: 0 };
        palette.search(place);
        palette
    }

    /// Finds the commands that fit what is written, those of this place first.
    pub fn search(&mut self, place: Pane) {
        let text = self.input.lines().first().cloned().unwrap_or_default();
        let pattern = Pattern::parse(&text, CaseMatching::Ignore, Normalization::Smart);
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut scored: Vec<(bool, u32, Cmd)> = Cmd::ALL
            .iter()
            .filter_map(|command| {
                let words = format!("{} {} {}", command.id(), command.short(), command.help());
                let mut buffer = Vec::new();
                let words = nucleo_matcher::Utf32Str::new(&words, &mut buffer);
                let score = pattern.score(words, &mut matcher)?;
                Some((command.places().contains(&place), score, *command))
            })
            .collect();
        scored.sort_by_key(|(here, score, _)| std::cmp::Reverse((*here, *score)));
        self.found = scored.into_iter().map(|(_, _, command)| command).collect();
        self.cursor = 0;
    }
}
