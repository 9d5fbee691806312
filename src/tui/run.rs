//! The event loop: inputs in, effects out, drawn when something changed and at most sixty times
//! a second.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::Event;
use futures_util::{Stream, StreamExt};
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::app::{App, Effect, Input};
use super::{background, view};

/// What the loop runs on: the person's terminal, or a buffer and a script of keys.
pub trait Console {
    type Backend: Backend<Error = io::Error>;

    fn terminal(&mut self) -> &mut Terminal<Self::Backend>;
    /// Opens the stream of key presses. The loop drops it while an editor has the terminal.
    fn events(&mut self) -> Pin<Box<dyn Stream<Item = io::Result<Event>> + Send>>;
    /// # Errors
    /// When the terminal is gone.
    fn begin(&mut self) -> io::Result<()>;
    /// # Errors
    /// When the terminal is gone.
    fn end(&mut self) -> io::Result<()>;
    /// # Errors
    /// When the terminal is gone.
    fn copy(&mut self, text: &str) -> io::Result<()>;
    /// # Errors
    /// When the editor could not be run or failed.
    fn edit(&mut self, text: &str) -> io::Result<String>;
}

/// The shortest time between two drawings.
const FRAME: Duration = Duration::from_millis(16);
/// Answers that may wait for the loop.
const INBOX: usize = 256;

/// Runs the screen until the person leaves it, the terminal goes away or `stop` is ready.
///
/// # Errors
/// When the terminal cannot be drawn to any more.
pub async fn run(
    console: &mut impl Console,
    mut app: App,
    stop: impl Future<Output = ()>,
) -> io::Result<App> {
    let (sender, mut inbox) = mpsc::channel::<Input>(INBOX);
    let mut events = Some(console.events());
    let mut news = app.log().tail(1);
    let mut next_frame = Instant::now();
    let mut dirty = true;
    tokio::pin!(stop);
    let mut outbox: Vec<Effect> = app.update(Input::Records);
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
                    outbox = app.update(Input::Edited(edited));
                    dirty = true;
                }
                // These are errands.
                _ => {}
            }
        }
        if dirty && Instant::now() >= next_frame {
            outbox.extend(app.update(Input::Records));
            news.seek(app.log().last() + 1);
            let moved = draw(console, &mut app)?;
            next_frame = Instant::now() + FRAME;
            // A flood is folded in part by part; what moved has another size to scroll in.
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
            () = &mut stop => Input::Terminated,
            event = pressed => match event {
                Some(Ok(event)) => match input(event) {
                    Some(input) => input,
                    None => continue,
                },
                // The terminal is gone.
                Some(Err(_)) | None => Input::Terminated,
            },
            Some(input) = inbox.recv() => input,
            () = news.changed(), if !dirty => {
                dirty = true;
                continue;
            }
            () = sleep_until(next_frame), if dirty => continue,
            () = sleep(wake.unwrap_or(FRAME)), if !dirty && wake.is_some() => Input::Tick,
        };
        outbox.extend(app.update(input));
        dirty |= app.take_changed();
    }
}

fn input(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Mouse(mouse) => Some(Input::Mouse(mouse)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(width, height) => Some(Input::Resize(width, height)),
        Event::FocusGained | Event::FocusLost => None,
    }
}

/// Draws, and tells whether something is elsewhere than it was.
fn draw(console: &mut impl Console, app: &mut App) -> io::Result<bool> {
    console.begin()?;
    let mut areas = app.areas;
    console.terminal().draw(|frame| areas = view::draw(frame, app))?;
    let moved = std::mem::replace(&mut app.areas, areas) != areas;
    console.end()?;
    Ok(moved)
}
