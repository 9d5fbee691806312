//! Directories of the user (XDG Base Directory Specification).
//!
//! The first directory of each list is where this process writes. Readers search all of them, since clients may
//! trim the environment of the engines that they start.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Data directory named on the command line, the same for the whole program.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// What the directories depend on.
struct Environment<'a> {
    /// Returns the value of a variable.
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
    /// Directory that the system makes for the user's processes, if it belongs to the user.
    runtime: Option<PathBuf>,
    /// Data directory that is named, which then has everything.
    chosen: Option<PathBuf>,
}

/// Sets the data directory of the program. Only the first call has an effect.
pub fn choose(directory: &Path) {
    // `Err` means that it was set before: there is only one command line.
    let _ = CHOSEN.set(directory.to_owned());
}

/// Returns the data directory that the command line or `SHADOWCAT_DATA_DIR` names, if any.
pub fn chosen() -> Option<PathBuf> {
    let named =
        || std::env::var_os("SHADOWCAT_DATA_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    CHOSEN.get().cloned().or_else(named)
}

/// Returns the home directory of the password database, since clients trim the environment of the servers that they
/// start; `HOME` if the database does not know this user, as in many containers.
pub fn home() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let named = || std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    user.map(|user| user.dir).or_else(named)
}

/// Returns the directories of data; empty if the user has no home directory.
pub fn data() -> Vec<PathBuf> {
    with_own(|own| own.data())
}

/// Returns the directories of sockets; empty if the user has no home directory.
pub fn run() -> Vec<PathBuf> {
    with_own(|own| own.run())
}

/// Returns the directory of the user's configuration; `None` if the user has no home directory.
pub fn config() -> Option<PathBuf> {
    with_own(|own| own.config())
}

fn with_own<T>(list: impl Fn(&Environment<'_>) -> T) -> T {
    let uid = nix::unistd::getuid();
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let is_own = |place: &PathBuf| std::fs::metadata(place).is_ok_and(|found| found.uid() == uid.as_raw());
    list(&Environment {
        variable: &|name| std::env::var_os(name),
        home: home(),
        runtime: Some(runtime).filter(is_own),
        chosen: chosen(),
    })
}

impl Environment<'_> {
    /// Returns the directory that a variable names. The specification has relative paths ignored.
    fn named(&self, variable: &str) -> Option<PathBuf> {
        (self.variable)(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn in_home(&self, path: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(path))
    }

    fn data(&self) -> Vec<PathBuf> {
        if let Some(chosen) = &self.chosen {
            return vec![chosen.clone()];
        }
        let own = self.named("XDG_DATA_HOME").map(|data| data.join("shadowcat"));
        once(own.into_iter().chain(self.in_home(".local/share/shadowcat")))
    }

    fn run(&self) -> Vec<PathBuf> {
        if let Some(chosen) = &self.chosen {
            return vec![chosen.join("run")];
        }
        let runtime = [self.named("XDG_RUNTIME_DIR"), self.runtime.clone()];
        // A runtime directory that does not exist was inherited from another user (`su`, `sudo -E`).
        let runtime = runtime.into_iter().flatten().filter(|place| is_ours(place));
        let state = self.named("XDG_STATE_HOME").map(|state| state.join("shadowcat/run"));
        let places = runtime.map(|place| place.join("shadowcat")).chain(state);
        once(places.chain(self.in_home(".local/state/shadowcat/run")))
    }

    fn config(&self) -> Option<PathBuf> {
        let own = self.named("XDG_CONFIG_HOME").or_else(|| self.in_home(".config"));
        own.map(|config| config.join("shadowcat"))
    }
}

/// Returns `true` for a directory of this user.
fn is_ours(place: &Path) -> bool {
    let uid = nix::unistd::getuid().as_raw();
    std::fs::metadata(place).is_ok_and(|found| found.is_dir() && found.uid() == uid)
}

/// Collects paths without repetitions.
fn once(places: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for place in places {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(
        variable: &'a dyn Fn(&str) -> Option<OsString>,
        chosen: Option<&str>,
    ) -> Environment<'a> {
        Environment {
            variable,
            home: Some("/home/a".into()),
            runtime: None,
            chosen: chosen.map(PathBuf::from),
        }
    }

    #[test]
    fn writers_follow_the_variables_and_readers_look_where_a_trimmed_environment_writes() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().to_owned();
        let of = |name: &str| Some(own.join(name.trim_start_matches("XDG_")).into_os_string());
        let set = environment(&of, None);
        assert_eq!(set.data(), [own.join("DATA_HOME/shadowcat"), "/home/a/.local/share/shadowcat".into()]);
        assert_eq!(set.config(), Some(own.join("CONFIG_HOME/shadowcat")));
        let state = [own.join("STATE_HOME/shadowcat/run"), "/home/a/.local/state/shadowcat/run".into()];
        assert_eq!(set.run(), state, "the runtime directory does not exist");
        std::fs::create_dir(own.join("RUNTIME_DIR")).unwrap();
        assert_eq!(set.run()[0], own.join("RUNTIME_DIR/shadowcat"));
        let none = |_: &str| None;
        let trimmed = environment(&none, None);
        assert_eq!(trimmed.data(), [PathBuf::from("/home/a/.local/share/shadowcat")]);
        assert_eq!(trimmed.config(), Some("/home/a/.config/shadowcat".into()));
    }

    #[test]
    fn relative_and_empty_variables_are_ignored_and_a_chosen_directory_has_everything() {
        for value in ["", "data", "./x"] {
            let odd = |_: &str| Some(OsString::from(value));
            assert_eq!(environment(&odd, None).data(), [PathBuf::from("/home/a/.local/share/shadowcat")]);
        }
        let set = |_: &str| Some(OsString::from("/x"));
        let chosen = environment(&set, Some("/d"));
        assert_eq!((chosen.data(), chosen.run()), (vec!["/d".into()], vec!["/d/run".into()]));
    }
}
