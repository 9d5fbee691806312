//! Configuration file of the user, for every command: `~/.config/shadowcat/config.toml`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::log::Query;

/// Contents of the configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Breakpoints that every engine begins with.
    #[serde(default, rename = "break", deserialize_with = "queries")]
    pub breaks: Vec<Query>,
    /// Time that held messages wait while no controller is there to decide.
    #[serde(default, deserialize_with = "duration")]
    pub hold_unattended: Option<Duration>,
}

/// Error that makes the configuration file unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is not valid TOML, or has an invalid setting.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Message of the parser, with line and column.
        what: String,
    },
}

/// Path that the command line names; it applies to the whole process.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Selects the file at `path` in the place of the usual one.
pub fn choose(path: &Path) {
    // The first call wins; there is only one command line.
    let _ = CHOSEN.set(path.to_owned());
}

/// Returns the directory of the user's configuration: `$XDG_CONFIG_HOME/shadowcat`, or
/// `~/.config/shadowcat`. `None` if the user has no home directory.
pub fn directory() -> Option<PathBuf> {
    crate::places::config()
}

/// Reads the configuration file. A missing file gives the defaults, unless the command line names it.
///
/// # Errors
/// Fails if the file cannot be read, or has an invalid setting; the message gives line and column.
pub fn load() -> Result<Config, ConfigError> {
    let chosen = CHOSEN.get().cloned();
    let Some(path) = chosen.clone().or_else(|| Some(directory()?.join("config.toml"))) else {
        return Ok(Config::default());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path, what: error.to_string().trim().to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && chosen.is_none() => {
            Ok(Config::default())
        }
        Err(source) => Err(ConfigError::Io { path, source }),
    }
}

fn queries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Query>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let query = |text: &String| {
        Query::parse_for_arrival(text).map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
    };
    texts.iter().map(query).collect()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::values::duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_wrong_is_named() {
        let config: Config =
            toml::from_str("break = [\"method:initialize\"]\nhold_unattended = \"30s\"").unwrap();
        assert_eq!(config.breaks[0].text(), "method:initialize");
        assert_eq!(config.hold_unattended, Some(Duration::from_secs(30)));
        let wrong = toml::from_str::<Config>("break = [\"nonsense:x\"]").unwrap_err().to_string();
        assert!(wrong.contains("line 1") && wrong.contains("nonsense"), "{wrong}");
        assert!(toml::from_str::<Config>("brake = []").is_err());
    }
}
