//! What happens to a screen, and what it wants to be done.

use crossterm::event::{KeyEvent, MouseEvent};

use crate::clients;
use crate::engine::{Command, Refusal, Reply};
use crate::log::record::{Seq, SessionId};
use crate::tape::compare::Report;
use crate::tape::library::Entry;
use crate::tui::diff::Comparison;
use crate::tui::render::{Job, Rendered};

/// Something that happened to the screen.
#[derive(Debug)]
pub enum Input {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize(u16, u16),
    /// There may be new records.
    Records,
    /// Time has passed.
    Tick,
    Replied(Purpose, Result<Reply, Refusal>),
    Rendered(Rendered),
    /// An outside editor has been left; none when it failed.
    Edited(Result<String, String>),
    /// Two recordings were compared, or could not be.
    Compared(Result<Box<Report>, String>),
    /// The recordings of the library, the newest first.
    Tapes(Vec<Entry>),
    /// The servers in the configurations of clients.
    Servers(Result<clients::Servers, String>),
    /// A change of such a configuration, to be looked at.
    Planned(Result<clients::Change, String>),
    /// It was made, or could not be.
    Changed(Result<String, String>),
    /// The process was asked to end.
    Terminated,
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Effect {
    Send(Command, Purpose),
    Render(Job),
    Copy(String),
    /// Opens the person's own editor on a text.
    Editor(String),
    Compare(Box<Comparison>),
    /// Reads the library.
    ListTapes,
    /// Reads the configurations of clients.
    FindServers,
    /// Plans to put us in front of a server of a client, or to take us out.
    Plan(Box<clients::ConfigFile>, Box<clients::Entry>),
    /// Writes a configuration.
    Change(Box<clients::Change>),
    Quit,
}

/// What the person wants to look at next, after this screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextScreen {
    /// A recording, by its file or name.
    Recording(String),
    /// A server, by its command line.
    Launch(Vec<String>),
    Demo,
}

/// What a command was for, so that its answer finds its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Only a refusal is worth a word.
    Quiet,
    /// This is said when it is done.
    Say(String),
    /// A call of the composer.
    Call(SessionId),
    /// The edit or answer of a held frame, whose text is kept until it is taken.
    Edit(Seq),
}
