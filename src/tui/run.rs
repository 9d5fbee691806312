//! Event loop: feeds inputs to the screen, carries out its effects, and redraws after changes, at
//! most about sixty times a second.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::Event;
use futures_util::{Stream, StreamExt};
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::app::{App, AppEvent, Effect};
use super::{background, view};

/// Terminal that the event loop uses.
pub trait Console {
    /// Ratatui backend that draws to the terminal.
    type Backend: Backend<Error = io::Error>;

    /// Returns the terminal to draw to.
    fn terminal(&mut self) -> &mut Terminal<Self::Backend>;
    /// Opens the stream of terminal events. The loop drops it while an external editor uses the
    /// terminal.
    fn events(&mut self) -> Pin<Box<dyn Stream<Item = io::Result<Event>> + Send>>;
    /// Starts a drawing, which the terminal shows all at once.
    ///
    /// # Errors
    /// Fails if the terminal is gone.
    fn begin(&mut self) -> io::Result<()>;
    /// Ends a drawing.
    ///
    /// # Errors
    /// Fails if the terminal is gone.
    fn end(&mut self) -> io::Result<()>;
    /// Copies a text to the clipboard of the terminal.
    ///
    /// # Errors
    /// Fails if the terminal is gone.
    fn copy(&mut self, text: &str) -> io::Result<()>;
    /// Opens an external editor on a text, waits for its end and returns the edited text.
    ///
    /// # Errors
    /// Fails if the editor cannot be run or reports a failure.
    fn edit(&mut self, text: &str) -> io::Result<String>;
}

/// Minimum interval between two redraws.
const FRAME: Duration = Duration::from_millis(16);
/// Maximum number of results that wait for the loop.
const INBOX: usize = 256;

/// Runs the screen until the user leaves it, the terminal goes away or `stop` completes. Returns
/// the final state of the screen.
///
/// # Errors
/// Fails if the terminal cannot be drawn to any more.
pub async fn run(
    console: &mut impl Console,
    mut app: App,
    stop: impl Future<Output = ()>,
) -> io::Result<App> {
    let (sender, mut inbox) = mpsc::channel::<AppEvent>(INBOX);
    let mut events = Some(console.events());
    let mut records = app.log().tail(1);
    let mut next_frame = Instant::now();
    let mut dirty = true;
    tokio::pin!(stop);
    let mut outbox: Vec<Effect> = app.update(AppEvent::Records);
    loop {
        for effect in std::mem::take(&mut outbox) {
            let Some(effect) = background::run(effect, &app.engine, &sender) else { continue };
            match effect {
                Effect::Quit => return Ok(app),
                Effect::Copy(text) => console.copy(&text)?,
                Effect::Editor(text) => {
                    // Dropping the stream is the only way to leave the keyboard to the editor.
                    drop(events.take());
                    let edited = console.edit(&text).map_err(|error| error.to_string());
                    events = Some(console.events());
                    outbox = app.update(AppEvent::Edited(edited));
                    dirty = true;
                }
                // Other effects were carried out in the background.
                _ => {}
            }
        }
        if dirty && Instant::now() >= next_frame {
            outbox.extend(app.update(AppEvent::Records));
            records.seek(app.log().last() + 1);
            let moved = draw(console, &mut app)?;
            next_frame = Instant::now() + FRAME;
            // Redraw if a flood is not folded in completely, or if an area has changed, since
            // scrolling depends on its size.
            dirty = moved || app.behind() > 0 || app.is_scanning();
            if !outbox.is_empty() {
                continue;
            }
        }
        let wake = app.wake();
        let pressed = async {
            match &mut events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        let input = tokio::select! {
            biased;
            () = &mut stop => AppEvent::Terminated,
            event = pressed => match event {
                Some(Ok(event)) => match input(event) {
                    Some(input) => input,
                    None => continue,
                },
                // The terminal is gone.
                Some(Err(_)) | None => AppEvent::Terminated,
            },
            Some(input) = inbox.recv() => input,
            () = records.changed(), if !dirty => {
                dirty = true;
                continue;
            }
            () = sleep_until(next_frame), if dirty => continue,
            () = sleep(wake.unwrap_or(FRAME)), if !dirty && wake.is_some() => AppEvent::Tick,
        };
        outbox.extend(app.update(input));
        dirty |= app.take_changed();
    }
}

fn input(event: Event) -> Option<AppEvent> {
    match event {
        Event::Key(key) => Some(AppEvent::Key(key)),
        Event::Mouse(mouse) => Some(AppEvent::Mouse(mouse)),
        Event::Paste(text) => Some(AppEvent::Paste(text)),
        Event::Resize(width, height) => Some(AppEvent::Resize(width, height)),
        Event::FocusGained | Event::FocusLost => None,
    }
}

/// Draws the screen. Returns `true` if an area has moved or changed its size.
fn draw(console: &mut impl Console, app: &mut App) -> io::Result<bool> {
    console.begin()?;
    let mut areas = app.areas;
    console.terminal().draw(|frame| areas = view::draw(frame, app))?;
    let moved = std::mem::replace(&mut app.areas, areas) != areas;
    console.end()?;
    Ok(moved)
}
