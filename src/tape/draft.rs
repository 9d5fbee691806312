//! A file that gets its name only when it is complete. Until then it is unnamed, so that a killed
//! program leaves nothing behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

/// File mode: only the owner may access recordings, whatever the umask is.
const OWN: u32 = 0o600;

/// An unnamed file in the directory of its future name.
pub struct Draft {
    file: File,
    directory: PathBuf,
}

impl Draft {
    /// Creates an unnamed file in the directory of `path`, accessible to its owner only.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be written to.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(directory)?;
        file.set_permissions(Permissions::from_mode(OWN))?;
        Ok(Self { file, directory: directory.to_owned() })
    }

    /// Returns another handle of the file.
    ///
    /// # Errors
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Names the file `path`. An existing file of that name is replaced atomically.
    ///
    /// # Errors
    /// Returns an error if the file cannot be given that name; an existing file of that name is
    /// unchanged then.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        let chance = uuid::Uuid::new_v4().simple().to_string();
        let between = self.directory.join(format!(".{}.new", &chance[..12]));
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        if linkat(AT_FDCWD, own.as_str(), AT_FDCWD, &between, AtFlags::AT_SYMLINK_FOLLOW).is_err() {
            // An unnamed file cannot be linked on this system: copy it to a named one.
            let mut from = &self.file;
            io::Seek::rewind(&mut from)?;
            let mut named = OpenOptions::new().write(true).create_new(true).mode(OWN).open(&between)?;
            io::copy(&mut from, &mut named).and_then(|_| named.sync_data()).inspect_err(|_| {
                // An incomplete copy is useless.
                let _ = std::fs::remove_file(&between);
            })?;
        }
        std::fs::rename(&between, path).inspect_err(|_| {
            // Best effort: the error of the rename is the one to report.
            let _ = std::fs::remove_file(&between);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_has_no_name_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let draft = Draft::beside(&path).unwrap();
        draft.file().unwrap().write_all(b"new").unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        draft.persist(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
