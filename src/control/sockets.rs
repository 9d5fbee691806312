//! Where engines are found: a directory of sockets, one an engine, that only its owner may enter.
//!
//! It does not depend on the environment that a client gives its servers, which is often trimmed:
//! an engine and a screen must find the same place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::getuid;

use crate::tape::library;
use crate::tape::writer::create_private_directory;

/// What the name of a socket ends with.
const ENDING: &str = ".sock";
/// The longest path that a socket's address takes, with its terminator (unix(7): 108 bytes; 104 on
/// macOS).
const LONGEST_PATH: usize = 103;
/// The longest name of an engine in a path.
const LONGEST_NAME: usize = 40;

/// The socket of an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineSocket {
    pub path: PathBuf,
    /// The engine's process.
    pub pid: u32,
    /// What the engine calls itself, as far as a file name can say it.
    pub name: String,
}

/// Why there is no place for sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("this user has no home directory; set SHADOWCAT_DATA_DIR")]
    Homeless,
    #[error("{} is no directory of ours alone: {why}", path.display())]
    Unsafe { path: PathBuf, why: &'static str },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is too long for the path of a socket", path.display())]
    TooLong { path: PathBuf },
}

/// The directory that engines of this user make their sockets in.
///
/// # Errors
/// When this user has no home.
pub fn directory() -> Result<PathBuf, SocketError> {
    if let Some(data) = library::chosen() {
        return Ok(data.join("run"));
    }
    let runtime = PathBuf::from(format!("/run/user/{}", getuid()));
    if fs::metadata(&runtime).is_ok_and(|metadata| metadata.uid() == getuid().as_raw()) {
        return Ok(runtime.join("shadowcat"));
    }
    Ok(home()?.join(".local/state/shadowcat/run"))
}

/// Every directory that is looked in: our own, and where a full environment would have put it.
pub fn directories() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = directory().into_iter().collect();
    if library::chosen().is_none() {
        places.extend(set("XDG_RUNTIME_DIR").map(|runtime| runtime.join("shadowcat")));
        places.extend(set("XDG_STATE_HOME").map(|state| state.join("shadowcat/run")));
        places.extend(home().ok().map(|home| home.join(".local/state/shadowcat/run")));
    }
    let mut seen = Vec::new();
    places.retain(|place| {
        !seen.contains(place) && {
            seen.push(place.clone());
            true
        }
    });
    places
}

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The home directory as the password database has it.
fn home() -> Result<PathBuf, SocketError> {
    let user = nix::unistd::User::from_uid(getuid()).ok().flatten();
    user.map(|user| user.dir).ok_or(SocketError::Homeless)
}

/// Makes `directory` if it is not there, and checks that it is ours alone.
///
/// # Errors
/// When it belongs to somebody else, is a link, or cannot be made.
pub fn prepare(directory: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: directory.to_owned(), source };
    let unsafe_because = |why| SocketError::Unsafe { path: directory.to_owned(), why };
    if fs::symlink_metadata(directory).is_err() {
        create_private_directory(directory).map_err(failed)?;
    }
    // A link could lead to where others read and write.
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

/// The path of a socket for an engine of this process called `name`.
///
/// # Errors
/// When the directory's own path leaves no room.
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

/// The sockets that are there, the oldest process first. Whether anybody answers is not known.
pub fn doors() -> Vec<EngineSocket> {
    let mut doors: Vec<EngineSocket> = directories()
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|files| files.flatten())
        .filter_map(|file| door(&file.path()))
        .collect();
    doors.sort_by(|a, b| a.pid.cmp(&b.pid).then_with(|| a.path.cmp(&b.path)));
    doors
}

/// The socket at `path`; none for what is no socket of ours.
fn door(path: &Path) -> Option<EngineSocket> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    let (pid, name) = name.split_once('-')?;
    let (pid, name) = (pid.parse().ok()?, name.to_owned());
    is_ours(path).then(|| EngineSocket { path: path.to_owned(), pid, name })
}

/// Whether this is a socket that nobody else can have planted.
pub fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_socket() && metadata.uid() == getuid().as_raw())
}

/// Removes the sockets that nobody listens on any more: their processes were killed.
pub fn sweep() {
    /// A socket refuses for a moment when it has been made and is not listened on yet.
    const NEW: Duration = Duration::from_secs(10);
    for door in doors() {
        let is_new = || {
            let made = fs::symlink_metadata(&door.path).and_then(|metadata| metadata.modified());
            // A clock that was set back makes it new for longer, which harms nobody.
            made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < NEW))
        };
        let refused = std::os::unix::net::UnixStream::connect(&door.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused && !(is_running(door.pid) && is_new()) {
            // Another may have swept it at the same time.
            let _ = fs::remove_file(&door.path);
        }
    }
}

/// Whether there is a process of this number. It may be another one than it was.
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
