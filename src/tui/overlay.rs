//! Overlays, which open over a screen: prompts, menus, the palette, questions and reviews.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher};
use ratatui_textarea::TextArea;

use super::ask::Questions;
use super::command::{Cmd, Pane};
use super::form;
use crate::clients::ConfigChange;
use crate::engine::Tell;
use crate::log::query::{Completion, Query, QueryError};
use crate::log::record::{Seq, SessionId};

/// Number of newest frames that a query is matched against while it is typed: enough to be useful,
/// few enough not to delay typing.
pub const COUNTED: usize = 20_000;

/// Overlay that is open.
#[derive(Debug)]
pub enum Overlay {
    /// Input of one line.
    Prompt(Prompt),
    /// Menu of a few choices.
    Menu(Menu),
    /// Command palette.
    Palette(Palette),
    /// Questions of a server.
    Ask(Box<Questions>),
    /// Review of a planned change.
    Review(Box<Review>),
}

/// Change of a client's configuration file, reviewed before it is made.
#[derive(Debug)]
pub struct Review {
    /// Planned change.
    pub change: ConfigChange,
    /// Lines of the difference, each with its sign: `-`, `+` or a space.
    pub lines: Vec<(char, String)>,
    /// Index of the first row on the screen.
    pub top: usize,
}

/// Input of one line.
#[derive(Debug)]
pub struct Prompt {
    /// Purpose of the text.
    pub wants: Wants,
    /// Text as typed so far.
    pub input: TextArea<'static>,
    /// Mistake in a query.
    pub error: Option<QueryError>,
    /// Number of frames that a query matches.
    pub count: Option<usize>,
    /// Completion at the cursor of a query.
    pub completion: Option<Completion>,
    /// Index of the candidate that Tab inserts next.
    pub candidate: usize,
    /// `true` if a filter hides other frames, `false` if it only highlights matches.
    pub narrow: bool,
}

/// Purpose of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// Query to filter or highlight frames with.
    Filter,
    /// Query of a new breakpoint.
    Breakpoint,
    /// Number of a breakpoint to enable or disable.
    ToggleBreakpoint,
    /// Note on this frame, or on the session.
    Note(Option<Seq>),
    /// Seconds after which this held frame is released.
    Delay(Seq),
    /// Number of a frame to go to.
    FrameNumber,
    /// Time to go to.
    Time,
    /// Letter and label of a bookmark on this frame.
    Mark(Seq),
    /// Letter of a bookmark to go to.
    Letter,
    /// Recording, or sessions, to compare.
    Other,
    /// Command line of a server.
    Launch,
    /// Name or path of a recording.
    Recording,
}

/// Menu of a few choices.
#[derive(Debug, Clone)]
pub struct Menu {
    /// Title of the menu.
    pub title: String,
    /// Items: key, text and action.
    pub items: Vec<(char, String, Choice)>,
}

/// Action of a menu item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Drops this held frame. [`Tell`] decides what its sender gets.
    Drop(Seq, Tell),
    /// Sets a breakpoint on this query.
    Break(String),
    /// Holds every frame from now on.
    HoldEverything,
    /// Wraps or unwraps the server at this index of the list.
    Wrap(usize),
    /// Restarts the server of this session, even if other sessions share it.
    Restart(SessionId),
    /// Leaves; held frames stay held for as long as their breakpoints allow.
    QuitKeeping,
    /// Leaves and releases held frames.
    QuitReleasing,
    /// Leaves and drops held frames.
    QuitDropping,
}

/// Command palette, which finds any command by name.
#[derive(Debug)]
pub struct Palette {
    /// Text to search for.
    pub input: TextArea<'static>,
    /// Commands that match, best match first.
    pub found: Vec<Cmd>,
    /// Index of the selected command.
    pub cursor: usize,
}

impl Review {
    /// Returns the lines on a screen of `width` columns. Longer lines are wrapped, and each part
    /// keeps the sign of its line.
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
    /// Creates a prompt with an initial text.
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

    /// Returns the text as typed so far.
    pub fn text(&self) -> &str {
        self.input.lines().first().map_or("", String::as_str)
    }

    /// Returns `true` if the prompt takes a query.
    pub fn is_query(&self) -> bool {
        matches!(self.wants, Wants::Filter | Wants::Breakpoint)
    }

    /// Parses the text as a query. Returns `None` if it has a mistake, which is kept in
    /// [`Prompt::error`].
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

    /// Returns the label of the prompt. `number` returns the number by which a frame is known.
    pub fn title(&self, number: impl Fn(Seq) -> String) -> String {
        match &self.wants {
            Wants::Filter if self.narrow => "filter".into(),
            Wants::Filter => "highlight".into(),
            Wants::Breakpoint => "break on".into(),
            Wants::ToggleBreakpoint => "breakpoint number".into(),
            Wants::Note(Some(seq)) => format!("note on {}", number(*seq)),
            Wants::Note(None) => "note".into(),
            Wants::Delay(seq) => format!("delay in seconds before {} is released", number(*seq)),
            Wants::FrameNumber => "go to #".into(),
            Wants::Time => "go to time (12:03:04, +30s, -2m, 40%)".into(),
            Wants::Mark(seq) => format!("bookmark on {}: letter and label", number(*seq)),
            Wants::Letter => "go to bookmark".into(),
            Wants::Other => "compare with recording (or sessions #1 #2)".into(),
            Wants::Launch => "launch".into(),
            Wants::Recording => "open recording".into(),
        }
    }
}

impl Palette {
    /// Creates a palette that lists the commands of `place` first.
    pub fn new(place: Pane) -> Self {
        let mut palette = Self { input: form::line(""), found: Vec::new(), cursor: 0 };
        palette.search(place);
        palette
    }

    /// Finds the commands that match the text, those of `place` first.
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
