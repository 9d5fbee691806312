//! `shadowcat tui TAPE`: a recording on the screen, with its scrubber.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::cli::failure::Failure;
use crate::cli::screens::{self, TerminalSession};
use crate::cli::tape;
use crate::clock::Clock;
use crate::engine::{Command, Engine, Refusal, Reply, Request, Who};
use crate::log::record::{Body, Level, Note};
use crate::log::{Log, breakpoint};
use crate::tape::{OpenedTape, Status, notes};
use crate::tui::{App, Appearance};

/// Shows the recording called `name` until the user leaves.
///
/// # Errors
/// Fails if the recording cannot be found or opened, or there is no terminal.
pub async fn run(name: &str, appearance: Appearance) -> Result<ExitCode, Failure> {
    let opened = tape::opened(name)?;
    TerminalSession::alone(async |terminal| show(terminal, opened, appearance, false).await).await
}

/// Shows a recording until the user leaves, and returns a summary line. `returns_home` is `true` if
/// another screen follows.
///
/// # Errors
/// Fails if the terminal has gone.
pub async fn show(
    terminal: &mut TerminalSession,
    opened: OpenedTape,
    appearance: Appearance,
    returns_home: bool,
) -> Result<String, Failure> {
    let unfinished = tape::unfinished(&opened);
    let OpenedTape { path, world, log, bytes, seal, .. } = opened;
    let status = Status {
        path: Some(path.clone()),
        bytes,
        frames: world.rows.len() as u64,
        failing: None,
        sealed: seal.is_some(),
    };
    let recording = watch::channel(status).1;
    let breakpoints = watch::channel(breakpoint::Snapshot::default()).1;
    let (engine, requests) = Engine::new(Arc::clone(&log), breakpoints);
    let clock = Clock::system();
    tokio::spawn(Reader { path, log, clock: clock.clone() }.serve(requests));
    let size = crossterm::terminal::size().unwrap_or((80, 24));
    let mut app = App::on_tape(engine, world, recording, appearance, size, clock);
    if let Some(warning) = unfinished {
        app.say(Level::Warning, warning);
    }
    app.returns_home = returns_home;
    let app = terminal.show(app).await?;
    let status = app.recording.borrow();
    Ok(screens::farewell(&app.world, Some(&status)))
}

/// Engine of a recording: it stores notes and refuses every other command.
struct Reader {
    path: PathBuf,
    log: Arc<Log>,
    clock: Clock,
}

impl Reader {
    async fn serve(self, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { command, who, reply }) = requests.recv().await {
            // The sender of the request may be gone by now; ignore the error.
            let _ = reply.send(self.carry_out(command, &who));
        }
    }

    fn carry_out(&self, command: Command, who: &Who) -> Result<Reply, Refusal> {
        let Command::Note { session, frame, mark, text } = command else {
            return Err(Refusal("this is a recording: nothing runs that could do this".into()));
        };
        let note = Note { frame, mark, level: Level::Info, by: Arc::clone(&who.name), text };
        let now = self.clock.wall(self.clock.now());
        notes::add(&self.path, &note, now).map_err(|error| {
            Refusal(format!("the note could not be kept beside {}: {error}", self.path.display()))
        })?;
        Ok(Reply::Frame(self.log.append(session, Body::Note(note))))
    }
}
