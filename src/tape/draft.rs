//! A file that gets its name when it is whole. Until then it has none, so that a program that is
//! killed leaves nothing behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

/// Recordings are for their owner alone, whatever the umask says.
const OWN: u32 = 0o600;

/// A file without a name, in the directory in which it will have one.
pub struct Draft {
    file: File,
    directory: PathBuf,
}

impl Draft {
    /// A file that will be at `path` or beside it, readable by its owner alone.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(directory)?;
        file.set_permissions(Permissions::from_mode(OWN))?;
        Ok(Self { file, directory: directory.to_owned() })
    }

    /// Another handle on it.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives it its name. Whatever had that name is replaced at once.
    ///
    /// # Errors
    /// When it cannot have that name; then whatever has it is as it was.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        let chance = uuid::Uuid::new_v4().simple().to_string();
        let between = self.directory.join(format!(".{}.new", &chance[..12]));
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        if linkat(AT_FDCWD, own.as_str(), AT_FDCWD, &between, AtFlags::AT_SYMLINK_FOLLOW).is_err() {
            // No such way on this system: it is written once more, under a name.
            let mut from = &self.file;
            io::Seek::rewind(&mut from)?;
            let mut named = OpenOptions::new().write(true).create_new(true).mode(OWN).open(&between)?;
            io::copy(&mut from, &mut named).and_then(|_| named.sync_data()).inspect_err(|_| {
                // Half of it is of no use to anybody.
                let _ = std::fs::remove_file(&between);
            })?;
        }
        std::fs::rename(&between, path).inspect_err(|_| {
            // It may not be there.
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
