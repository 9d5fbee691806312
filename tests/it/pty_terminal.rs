//! Pseudo-terminal that runs the program, for tests that press keys and read the screen.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::support::{eventually, program};

/// Converts a number of rows or columns for the terminal parser.
pub fn cells(count: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(count).unwrap()
}

/// Program that runs in a pseudo-terminal.
pub struct Terminal {
    /// Controlling side of the pseudo-terminal; `None` once a test has closed it.
    pub master: Option<Box<dyn MasterPty + Send>>,
    /// Process of the program.
    pub child: Box<dyn Child + Send + Sync>,
    /// Writer for key presses.
    pub keys: Box<dyn Write + Send>,
    /// Parser that holds the current screen.
    pub parser: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts the program with `data` as its data directory.
    pub fn open(data: &Path, arguments: &[&str]) -> Self {
        Self::open_with(data, arguments, &[])
    }

    /// Starts the program with `more` environment variables.
    pub fn open_with(data: &Path, arguments: &[&str], more: &[(&str, &Path)]) -> Self {
        let size = PtySize { rows: 36, cols: 130, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program());
        command.args(arguments);
        command.env("SHADOWCAT_DATA_DIR", data);
        command.env("TERM", "xterm-256color");
        command.env("EDITOR", "sed -i -e s/Bern/Basel/ -e s/1111/2222/");
        more.iter().for_each(|(name, value)| command.env(name, value));
        command.cwd(data);
        let child = pair.slave.spawn_command(command).unwrap();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(cells(36), cells(130), 0)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let sink = Arc::clone(&parser);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                sink.lock().unwrap().process(&chunk[..length]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { master: Some(pair.master), child, keys, parser }
    }

    /// Returns the text of the screen.
    pub fn screen(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Waits until `text` is on the screen, and panics after about 20 seconds.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        for _ in 0..4000 {
            if self.screen().contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("no {text:?} on\n{}", self.screen());
    }

    /// Presses Escape and waits until `text` has gone, since Escape followed at once by a key reads
    /// as another key.
    #[track_caller]
    pub fn press_escape(&mut self, text: &str) {
        self.press("\x1b");
        eventually("what was open is closed", || !self.screen().contains(text));
    }

    /// Types keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the program to end and returns its exit status. Panics after about 20 seconds.
    #[track_caller]
    pub fn ends(&mut self) -> portable_pty::ExitStatus {
        for _ in 0..4000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("it does not end; on the screen is\n{}", self.screen());
    }

    /// Returns the process id of the program.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().unwrap()).unwrap()
    }

    /// Returns the ids of the processes that the program started.
    pub fn children(&self) -> Vec<i32> {
        // Linux lists child processes by the thread that started them.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>())
            .collect()
    }

    /// Waits until the program has restored the terminal.
    #[track_caller]
    pub fn terminal_is_restored(&self) {
        eventually("the terminal is given back", || {
            let parser = self.parser.lock().unwrap();
            let screen = parser.screen();
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
    }
}
