//! Inputs of the screen, and the effects that the screen asks for.

use crossterm::event::{KeyEvent, MouseEvent};

use crate::clients;
use crate::engine::{Command, Refusal, Reply};
use crate::log::record::{Seq, SessionId};
use crate::tape::compare::Report;
use crate::tape::library::ListedTape;
use crate::tui::diff::DiffJob;
use crate::tui::render::{RenderJob, Rendered};

/// Event that the screen reacts to.
#[derive(Debug)]
pub enum AppEvent {
    /// Key press or release.
    Key(KeyEvent),
    /// Mouse click or movement of the wheel.
    Mouse(MouseEvent),
    /// Text pasted by the terminal.
    Paste(String),
    /// New width and height of the terminal, in cells.
    Resize(u16, u16),
    /// Possible new records in the log.
    Records,
    /// Passage of time, after the delay that [`App::wake`](super::App::wake) returned.
    Tick,
    /// Reply of the engine to a command that was sent for a purpose.
    Replied(Purpose, Result<Reply, Refusal>),
    /// Rows rendered for a pane.
    Rendered(Rendered),
    /// Text as the external editor left it, or the reason why the editor failed.
    Edited(Result<String, String>),
    /// Result of a comparison of two recordings, or the reason why it failed.
    Compared(Result<Box<Report>, String>),
    /// Recordings of the library, newest first.
    Tapes(Vec<ListedTape>),
    /// Servers in the configurations of MCP clients, or the reason why these cannot be found.
    Servers(Result<clients::Servers, String>),
    /// Planned change of a client's configuration, to be reviewed, or the reason why there is none.
    Planned(Result<clients::ConfigChange, String>),
    /// Message that the planned change was written, or the reason why it was not.
    Changed(Result<String, String>),
    /// Request to end the process, or loss of the terminal.
    Terminated,
}

/// Work to be done outside the screen.
#[derive(Debug)]
pub enum Effect {
    /// Sends a command to the engine.
    Send(Command, Purpose),
    /// Renders a message into rows.
    Render(RenderJob),
    /// Copies a text to the clipboard.
    Copy(String),
    /// Opens the user's own editor on a text.
    Editor(String),
    /// Compares two recordings.
    Compare(Box<DiffJob>),
    /// Reads the library.
    ListTapes,
    /// Reads the configurations of MCP clients.
    FindServers,
    /// Plans to wrap a server in a client's configuration, or to unwrap a wrapped one.
    Plan(Box<clients::ConfigFile>, Box<clients::ServerEntry>),
    /// Writes a planned change to a client's configuration.
    Change(Box<clients::ConfigChange>),
    /// Leaves the screen.
    Quit,
}

/// Screen that the user wants to see after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextScreen {
    /// Recording with this path or name.
    Recording(String),
    /// Server that is launched with this command line.
    Launch(Vec<String>),
    /// Built-in demo.
    Demo,
}

/// Purpose of a command, which decides how its reply is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Command without a message: only a refusal is shown.
    Quiet,
    /// Command with a message that is shown on success.
    Say(String),
    /// Call of the Composer in this session, whose answer is then shown.
    Call(SessionId),
    /// Edit or answer of this held frame. The editor keeps the text until the engine accepts it.
    Edit(Seq),
}
