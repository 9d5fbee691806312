//! The directory of control sockets, which only its owner can enter: each engine creates one socket
//! in it.
//!
//! The path does not depend on the environment that a client gives its servers, which is often
//! trimmed: an engine and a screen must find the same directory.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::getuid;

use crate::places;
use crate::tape::writer::create_private_directory;

/// File name suffix of sockets.
const ENDING: &str = ".sock";
/// Maximum length in bytes of a socket's path, without its terminator (unix(7): `sun_path` has 108
/// bytes; 104 on macOS).
const LONGEST_PATH: usize = 103;
/// Maximum length of an engine's name in the path of its socket.
const LONGEST_NAME: usize = 40;

/// The socket of an engine, as described by its file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineSocket {
    /// Path of the socket.
    pub path: PathBuf,
    /// Process id of the engine.
    pub pid: u32,
    /// Name of the engine: shortened, and with `-` for characters that are unsafe in file names.
    pub name: String,
}

/// Error from choosing or preparing the place of a socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The password database has no home directory for this user.
    #[error("this user has no home directory; set SHADOWCAT_DATA_DIR")]
    Homeless,
    /// The directory is a link or a file, or belongs to another user.
    #[error("{} is not a private directory: {why}", path.display())]
    Unsafe {
        /// Path of the directory.
        path: PathBuf,
        /// Reason why it is rejected, as a clause.
        why: &'static str,
    },
    /// The directory or the socket cannot be created or accessed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the directory or the socket.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The path of the directory leaves no room for the name of a socket.
    #[error("the socket path {} is too long", path.display())]
    TooLong {
        /// Path of the socket, with an empty name.
        path: PathBuf,
    },
}

/// Returns the directory in which engines of this user create their sockets.
///
/// # Errors
/// If this user has no home directory.
pub fn directory() -> Result<PathBuf, SocketError> {
    directories().into_iter().next().ok_or(SocketError::Homeless)
}

/// Returns every directory to search: the one of this process, and those that another environment leads to.
pub fn directories() -> Vec<PathBuf> {
    places::run()
}

/// Creates `directory` if it does not exist, and makes sure that only this user can enter it.
///
/// # Errors
/// If it belongs to another user, is a link or a file, or cannot be created or restricted.
pub fn prepare(directory: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: directory.to_owned(), source };
    let unsafe_because = |why| SocketError::Unsafe { path: directory.to_owned(), why };
    if fs::symlink_metadata(directory).is_err() {
        create_private_directory(directory).map_err(failed)?;
    }
    // A link could lead to a directory in which other users read and write.
    let metadata = fs::symlink_metadata(directory).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(unsafe_because("it is a link or a file"));
    }
    if metadata.uid() != getuid().as_raw() {
        return Err(unsafe_because("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Returns the path of a socket for an engine of this process that is called `name`.
///
/// # Errors
/// If the path of the directory leaves no room for a file name.
pub fn socket(directory: &Path, name: &str) -> Result<PathBuf, SocketError> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = name.chars().map(safe).take(LONGEST_NAME).collect();
    let pid = std::process::id();
    let of = |name: &str| directory.join(format!("{pid}-{name}{ENDING}"));
    let room = LONGEST_PATH.saturating_sub(of("").as_os_str().len());
    match room {
        0 => Err(SocketError::TooLong { path: of("") }),
        room => Ok(of(&name[..name.len().min(room)])),
    }
}

/// Returns the sockets that exist, in order of process id. Their engines may have ended.
pub fn engine_sockets() -> Vec<EngineSocket> {
    let mut engine_sockets: Vec<EngineSocket> = directories()
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|files| files.flatten())
        .filter_map(|file| engine_socket(&file.path()))
        .collect();
    engine_sockets.sort_by(|a, b| a.pid.cmp(&b.pid).then_with(|| a.path.cmp(&b.path)));
    engine_sockets
}

/// Returns the socket at `path`; `None` if the file is not a socket of this user and program.
fn engine_socket(path: &Path) -> Option<EngineSocket> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    let (pid, name) = name.split_once('-')?;
    let (pid, name) = (pid.parse().ok()?, name.to_owned());
    is_ours(path).then(|| EngineSocket { path: path.to_owned(), pid, name })
}

/// Returns `true` if `path` is a socket that belongs to this user, so that no other user can have
/// put it there.
pub fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_socket() && metadata.uid() == getuid().as_raw())
}

/// Removes the sockets on which no process listens any more, because it was killed.
pub fn sweep() {
    /// Age below which a refusing socket of a running process is kept: it may not listen yet.
    const NEW: Duration = Duration::from_secs(10);
    for socket in engine_sockets() {
        let is_new = || {
            let made = fs::symlink_metadata(&socket.path).and_then(|metadata| metadata.modified());
            // `elapsed` fails if the clock was set back; the socket then counts as old.
            made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < NEW))
        };
        let refused = std::os::unix::net::UnixStream::connect(&socket.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused && !(is_running(socket.pid) && is_new()) {
            // Another process may have removed it at the same time; ignore the error.
            let _ = fs::remove_file(&socket.path);
        }
    }
}

/// Returns `true` if this user runs a process with this id, which may have been reused since.
pub fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(nix::unistd::Pid::from_raw);
    pid.is_ok_and(|pid| nix::sys::signal::kill(pid, None).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        prepare(&place).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
        prepare(&place).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700, "it is closed to others");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&place, &link).unwrap();
        assert!(matches!(prepare(&link), Err(SocketError::Unsafe { .. })));
    }

    #[test]
    fn paths_of_sockets_are_short_enough() {
        let long = "n".repeat(200);
        for depth in [0, 40, 80] {
            let directory = PathBuf::from(format!("/{}", "d".repeat(depth)));
            match socket(&directory, &long) {
                Ok(path) => assert!(path.as_os_str().len() <= LONGEST_PATH, "{}", path.display()),
                Err(error) => panic!("{error}"),
            }
        }
        let deep = PathBuf::from(format!("/{}", "d".repeat(120)));
        assert!(matches!(socket(&deep, "x"), Err(SocketError::TooLong { .. })));
        let path = socket(Path::new("/r"), "a b/c").unwrap();
        assert!(path.to_str().unwrap().ends_with("-a-b-c.sock"), "{}", path.display());
    }
}
