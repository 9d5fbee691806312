//! Known clients: the places of their files, and the members that hold their servers.

use crate::places;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// MCP client, and the places of its servers.
#[derive(Debug, Clone, Copy)]
pub struct KnownClient {
    /// Name of the client on the command line.
    pub name: &'static str,
    /// Name of the client for people.
    pub title: &'static str,
    /// Instruction for the user to make the client read its file again.
    pub restart: &'static str,
    /// Format of its files.
    pub form: ConfigFormat,
    /// Paths of members that hold servers by name; `*` stands for any name.
    pub servers: &'static [&'static [&'static str]],
    places: fn(&Homes) -> Vec<(ConfigScope, PathBuf)>,
}

/// Format of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigFormat {
    /// JSON with comments and trailing commas.
    Json,
    /// TOML.
    Toml,
}

/// Scope of the servers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigScope {
    /// Servers of the user.
    User,
    /// Servers of the project directory.
    Project,
}

/// Configuration file of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Client that reads the file.
    pub client: &'static KnownClient,
    /// Scope of its servers.
    pub level: ConfigScope,
    /// Path of the file.
    pub path: PathBuf,
}

/// Directories that are searched for configuration files.
#[derive(Debug, Clone)]
pub struct Homes {
    /// Home directory of the user.
    pub home: PathBuf,
    /// Directory for configuration on this platform, such as `$XDG_CONFIG_HOME` or `~/.config`.
    pub config: PathBuf,
    /// Directory that the user works in.
    pub project: PathBuf,
}

/// Known clients.
pub static CLIENTS: [KnownClient; 8] = [
    KnownClient {
        name: "claude-desktop",
        title: "Claude Desktop",
        restart: "quit Claude Desktop (not only its window) and open it again",
        form: ConfigFormat::Json,
        servers: &[&["mcpServers"]],
        places: |homes| vec![(ConfigScope::User, homes.config.join("Claude/claude_desktop_config.json"))],
    },
    KnownClient {
        name: "claude-code",
        title: "Claude Code",
        restart: "start `claude` again, or /mcp and reconnect",
        form: ConfigFormat::Json,
        servers: &[&["mcpServers"], &["projects", "*", "mcpServers"]],
        places: |homes| {
            vec![
                (ConfigScope::User, homes.home.join(".claude.json")),
                (ConfigScope::Project, homes.project.join(".mcp.json")),
            ]
        },
    },
    KnownClient {
        name: "cursor",
        title: "Cursor",
        restart: "switch the server off and on in Cursor's settings, under MCP",
        form: ConfigFormat::Json,
        servers: &[&["mcpServers"]],
        places: |homes| both(homes, homes.home.join(".cursor/mcp.json"), ".cursor/mcp.json"),
    },
    KnownClient {
        name: "vscode",
        title: "VS Code",
        restart: "run `MCP: List Servers` in VS Code and restart the server",
        form: ConfigFormat::Json,
        servers: &[&["servers"]],
        places: |homes| both(homes, homes.config.join("Code/User/mcp.json"), ".vscode/mcp.json"),
    },
    KnownClient {
        name: "windsurf",
        title: "Windsurf",
        restart: "press Refresh in Windsurf's Cascade, under MCP",
        form: ConfigFormat::Json,
        servers: &[&["mcpServers"]],
        places: |homes| vec![(ConfigScope::User, homes.home.join(".codeium/windsurf/mcp_config.json"))],
    },
    KnownClient {
        name: "gemini",
        title: "Gemini CLI",
        restart: "start `gemini` again",
        form: ConfigFormat::Json,
        servers: &[&["mcpServers"]],
        places: |homes| both(homes, homes.home.join(".gemini/settings.json"), ".gemini/settings.json"),
    },
    KnownClient {
        name: "codex",
        title: "Codex CLI",
        restart: "start `codex` again",
        form: ConfigFormat::Toml,
        servers: &[&["mcp_servers"]],
        places: |homes| both(homes, homes.home.join(".codex/config.toml"), ".codex/config.toml"),
    },
    KnownClient {
        name: "zed",
        title: "Zed",
        restart: "Zed starts it again by itself",
        form: ConfigFormat::Json,
        servers: &[&["context_servers"]],
        places: |homes| both(homes, homes.home.join(".config/zed/settings.json"), ".zed/settings.json"),
    },
];

fn both(homes: &Homes, user: PathBuf, project: &str) -> Vec<(ConfigScope, PathBuf)> {
    vec![(ConfigScope::User, user), (ConfigScope::Project, homes.project.join(project))]
}

impl PartialEq for KnownClient {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for KnownClient {}

impl KnownClient {
    /// Returns the client called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        CLIENTS.iter().find(|client| client.name == name)
    }
}

/// Error because a directory to look in is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Homeless {
    /// The password database has no home directory for this user.
    #[error("this user has no home directory")]
    User,
    /// The working directory cannot be read.
    #[error("cannot read the working directory: {0}")]
    Here(#[from] std::io::Error),
}

impl Homes {
    /// Returns the directories of the user of this process, in its working directory.
    /// `SHADOWCAT_HOME` replaces the home directory.
    ///
    /// # Errors
    /// Fails if the user has no home directory, or the working directory cannot be read.
    pub fn own() -> Result<Self, Homeless> {
        // Tests have a home directory of their own.
        let home = std::env::var_os("SHADOWCAT_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = home.or_else(places::home);
        Ok(Self::of(&home.ok_or(Homeless::User)?, &std::env::current_dir()?))
    }

    /// Returns the directories of a user whose home directory is `home`, working in `project`.
    pub fn of(home: &Path, project: &Path) -> Self {
        let config = match cfg!(target_os = "macos") {
            true => home.join("Library/Application Support"),
            false => std::env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(".config")),
        };
        Self { home: home.to_owned(), config, project: project.to_owned() }
    }

    /// Lists the existing configuration files, of one client or of all. A file is listed once, even
    /// if the project is the home directory.
    pub fn files(&self, only: Option<&KnownClient>) -> Vec<ConfigFile> {
        let mut files: Vec<ConfigFile> = Vec::new();
        let mut seen = HashSet::new();
        for client in CLIENTS.iter().filter(|client| only.is_none_or(|only| only == *client)) {
            for (level, path) in (client.places)(self) {
                // Symbolic links lead to the same file: compare canonical paths.
                let real = path.canonicalize().unwrap_or_else(|_| path.clone());
                if path.is_file() && seen.insert(real) {
                    files.push(ConfigFile { client, level, path });
                }
            }
        }
        files
    }
}
