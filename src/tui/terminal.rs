//! Terminal of the user: set up for the screen, and restored whatever happens.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::pin::Pin;

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event, EventStream,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute};
use futures_util::Stream;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::run::Console;

/// Terminal of the user, in raw mode and on its alternate screen.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Sets up the terminal. It is restored when the value is dropped, and on a panic.
    ///
    /// # Errors
    /// Fails if standard input or output is not a terminal, or if the terminal cannot be set up.
    pub fn open() -> io::Result<Self> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other("standard input and output must be a terminal"));
        }
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        take_over()?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        match Terminal::new(backend) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

fn take_over() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, cursor::Hide)
}

/// Restores the terminal. Errors mean that the terminal is gone and are ignored.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

impl Screen {
    /// Clears the terminal and forgets its contents, because something else was drawn on it.
    ///
    /// # Errors
    /// Fails if the terminal is gone.
    pub fn renew(&mut self) -> io::Result<()> {
        // Send no query to the terminal: its answer would be taken for keys.
        execute!(self.terminal.backend_mut(), Clear(ClearType::All))?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        self.terminal = Terminal::new(backend)?;
        Ok(())
    }
}

impl Console for Screen {
    type Backend = CrosstermBackend<BufWriter<Stdout>>;

    fn terminal(&mut self) -> &mut Terminal<Self::Backend> {
        &mut self.terminal
    }

    fn events(&mut self) -> Pin<Box<dyn Stream<Item = io::Result<Event>> + Send>> {
        Box::pin(EventStream::new())
    }

    fn begin(&mut self) -> io::Result<()> {
        crossterm::queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)
    }

    fn end(&mut self) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        use crossterm::clipboard::CopyToClipboard;
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }

    fn edit(&mut self, text: &str) -> io::Result<String> {
        give_back();
        let edited = edit_outside(text);
        take_over()?;
        self.renew()?;
        edited
    }
}

/// Opens `$VISUAL`, `$EDITOR` or `vi` on a text and returns the edited text.
fn edit_outside(text: &str) -> io::Result<String> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    let path = std::env::temp_dir().join(format!("shadowcat-{}.json", uuid::Uuid::now_v7()));
    let write = || {
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())
    };
    write()?;
    // The variable may contain arguments, as in `code --wait`; the user sets it, never a peer.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = std::process::Command::new(program).args(words).arg(&path).status();
    let result = match status {
        Ok(status) if status.success() => std::fs::read_to_string(&path),
        Ok(status) => Err(io::Error::other(format!("{editor} failed with {status}; the text is unchanged"))),
        Err(error) => Err(io::Error::other(format!("cannot start {editor}: {error}; set EDITOR"))),
    };
    let _ = std::fs::remove_file(&path);
    result
}
