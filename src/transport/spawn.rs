//! Start of a server's process, and the reasons why a command line cannot be run.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;

use super::child::{Child, Process, Spec};
use super::stdio::Blocking;

/// The reason why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The command line is empty.
    #[error("no command was given")]
    Empty,
    /// Several words were given as one.
    #[error("`{word}` is one word with spaces in it, and there is no program of that name")]
    OneWord {
        /// The word.
        word: String,
    },
    /// No directory of `PATH` has such a program.
    #[error("`{command}` was not found in PATH")]
    NotInPath {
        /// The name of the program.
        command: String,
    },
    /// The file does not exist.
    #[error("there is no file `{command}`")]
    NoFile {
        /// The path.
        command: String,
    },
    /// The path is that of a directory.
    #[error("`{command}` is a directory")]
    Directory {
        /// The path.
        command: String,
    },
    /// The file may not be executed.
    #[error("`{command}` may not be executed")]
    NotExecutable {
        /// The path.
        command: String,
    },
    /// The program that the first line of the script names does not exist.
    #[error("`{command}` cannot run: its interpreter `{interpreter}` is missing")]
    NoInterpreter {
        /// The path of the script.
        command: String,
        /// The program that its first line names.
        interpreter: String,
    },
    /// The file is no program for this machine.
    #[error("`{command}` is neither a program for this machine nor a script")]
    WrongFormat {
        /// The path.
        command: String,
    },
    /// The process could not be started or watched.
    #[error("start `{command}`: {source}")]
    Failed {
        /// The name of the program.
        command: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Bytes of a file that tell what it is.
const BEGINNING: u64 = 256;

impl SpawnError {
    /// Returns what to do about it, as a sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "name the command of the server after --".to_owned(),
            Self::OneWord { word } => {
                let words: Vec<&str> = word.split_whitespace().collect();
                let arguments: Vec<String> = words[1..].iter().map(|word| format!("{word:?}")).collect();
                format!(
                    "write each word by itself: {}; in a client's file \"command\": {:?}, \"args\": [{}]",
                    words.join(" "),
                    words.first().copied().unwrap_or_default(),
                    arguments.join(", ")
                )
            }
            Self::NotInPath { command } | Self::NoFile { command } if command.starts_with('~') => {
                "only a shell expands `~`: write the whole path".to_owned()
            }
            Self::NotInPath { command } | Self::NoFile { command }
                if command.contains(['"', '\'', '$', '\\']) =>
            {
                "the command is run without a shell, which would remove quotes and expand variables"
                    .to_owned()
            }
            Self::NotInPath { .. } => {
                "install it, or write its whole path; the command is run directly, without a shell".to_owned()
            }
            Self::NoFile { .. } | Self::Directory { .. } => "write the path of the program".to_owned(),
            Self::NotExecutable { command } => format!("chmod +x {command}"),
            Self::NoInterpreter { .. } => "install it, or correct the first line (#!) of the file".to_owned(),
            Self::WrongFormat { .. } => "write the program that runs it before it".to_owned(),
            Self::Failed { .. } => "the command is run directly, without a shell".to_owned(),
        }
    }
}

impl Spec {
    /// Checks that the program can be run, without starting it.
    ///
    /// # Errors
    /// The [`SpawnError`] that [`Spec::spawn`] would give, as far as the file tells.
    pub fn find(&self) -> Result<(), SpawnError> {
        let program = self.command.first().filter(|program| !program.is_empty()).ok_or(SpawnError::Empty)?;
        let Some(path) = self.resolved(program) else {
            return Err(self.explain(program, io::Error::from(io::ErrorKind::NotFound)));
        };
        if path.is_dir() || !is_executable(&path) {
            return Err(self.explain(program, io::Error::from(io::ErrorKind::PermissionDenied)));
        }
        match interpreter(&path).filter(|interpreter| !Path::new(interpreter).exists()) {
            Some(_) => Err(self.explain(program, io::Error::from(io::ErrorKind::NotFound))),
            None => Ok(()),
        }
    }

    /// Starts the command with piped streams, in a process group of its own so that all processes that it
    /// starts can be ended with it. A text file without `#!` is given to `sh`, as execvp(3) and shells do.
    ///
    /// # Errors
    /// A [`SpawnError`] if the command cannot be run or watched.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let (program, arguments) = self.command.split_first().ok_or(SpawnError::Empty)?;
        if program.is_empty() {
            return Err(SpawnError::Empty);
        }
        match self.run(Path::new(program), arguments) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => {
                let script = self.resolved(program).filter(|path| is_text(path));
                let script = script.ok_or_else(|| SpawnError::WrongFormat { command: program.clone() })?;
                let words = [[script.display().to_string()].as_slice(), arguments].concat();
                self.run(Path::new("/bin/sh"), &words).map_err(|error| self.explain(program, error))
            }
            started => started.map_err(|error| self.explain(program, error)),
        }
    }

    fn run(&self, program: &Path, arguments: &[String]) -> io::Result<Child> {
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the standard streams are missing"));
        };
        let process = Process::watch(child, self.grace)?;
        let (stdin, stdout, stderr) = (Blocking::new(stdin), Blocking::new(stdout), Blocking::new(stderr));
        Ok(Child { process, stdin, stdout, stderr })
    }

    /// Returns the file that is run: a path itself, else the first file of that name in `PATH` that may be executed,
    /// as execvp(3) looks for it; if none may be, the first file.
    fn resolved(&self, program: &str) -> Option<PathBuf> {
        let base = self.directory.clone().unwrap_or_default();
        if program.contains('/') {
            let path = base.join(program);
            return path.exists().then_some(path);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let files = || {
            std::env::split_paths(&path)
                .map(|directory| directory.join(program))
                .filter(|path| path.is_file())
        };
        files().find(|path| is_executable(path)).or_else(|| files().next())
    }

    fn explain(&self, program: &str, source: io::Error) -> SpawnError {
        let command = program.to_owned();
        let path = self.resolved(program);
        match (source.kind(), path) {
            (io::ErrorKind::NotFound, Some(path)) => match interpreter(&path) {
                Some(interpreter) if !Path::new(&interpreter).exists() => {
                    SpawnError::NoInterpreter { command, interpreter }
                }
                // The loader of a program for another machine, or the working directory.
                _ => SpawnError::Failed { command, source },
            },
            (io::ErrorKind::NotFound, None) if program.contains(char::is_whitespace) => {
                SpawnError::OneWord { word: command }
            }
            (io::ErrorKind::NotFound, None) if program.contains('/') => SpawnError::NoFile { command },
            (io::ErrorKind::NotFound, None) => SpawnError::NotInPath { command },
            (io::ErrorKind::PermissionDenied, Some(path)) if path.is_dir() => {
                SpawnError::Directory { command }
            }
            (io::ErrorKind::PermissionDenied, _) => SpawnError::NotExecutable { command },
            _ => SpawnError::Failed { command, source },
        }
    }
}

/// Returns `true` if somebody may execute the file. Only the start itself tells whether we may.
fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
}

fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A file that cannot be read has nothing to tell.
    let _ = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut bytes));
    bytes
}

/// Returns the program that the first line of a script names.
fn interpreter(path: &Path) -> Option<String> {
    let bytes = beginning(path);
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}

/// Returns `true` for a file whose first line has no NUL byte: so bash tells scripts from programs.
fn is_text(path: &Path) -> bool {
    let bytes = beginning(path);
    bytes.split(|byte| *byte == b'\n').next().is_some_and(|line| !line.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, name: &str, text: &[u8], mode: u32) -> String {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn both(word: &str) -> (SpawnError, SpawnError) {
        let spec = Spec::new(vec![word.to_owned()]);
        (spec.spawn().map(drop).unwrap_err(), spec.find().unwrap_err())
    }

    #[test]
    fn causes_are_told_apart_before_the_start_and_at_it() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &[u8], mode| file(directory.path(), name, text, mode);
        for (word, expected) in [
            (of("bad", b"#!/no/such/interp -x\n", 0o755), "its interpreter `/no/such/interp` is missing"),
            (of("closed", b"#!/bin/sh\n", 0o644), "may not be executed"),
            (directory.path().display().to_string(), "is a directory"),
            ("/no/such/file".to_owned(), "there is no file"),
            ("no-such-program".to_owned(), "was not found in PATH"),
            ("npx -y server".to_owned(), "is one word with spaces in it"),
            (String::new(), "no command was given"),
        ] {
            let (spawned, found) = both(&word);
            assert!(spawned.to_string().contains(expected), "{spawned}");
            assert_eq!(spawned.to_string(), found.to_string());
        }
        let garbage = of("garbage", b"\x7f\0\x01\x02\n", 0o755);
        let error = Spec::new(vec![garbage]).spawn().map(drop).unwrap_err();
        assert!(matches!(error, SpawnError::WrongFormat { .. }), "{error}");
        let hint = SpawnError::OneWord { word: "npx -y server".to_owned() }.hint();
        assert!(hint.contains(r#""command": "npx", "args": ["-y", "server"]"#), "{hint}");
        assert!(both("~/bin/server").0.hint().contains('~'));
        // A path with spaces is one word, and fine.
        let spaced = of("with space", b"#!/bin/sh\nexit 0\n", 0o755);
        assert!(Spec::new(vec![spaced]).spawn().is_ok());
        let script = of("start", b"exit 4\n", 0o755);
        assert!(Spec::new(vec![script]).spawn().is_ok());
    }
}
