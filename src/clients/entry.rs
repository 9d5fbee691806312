//! Servers in a configuration file, with their places in the text.

use std::ops::Range;

/// Server in a configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEntry {
    /// Name of the server.
    pub server: String,
    /// Names of the members on the way to the server, without its own.
    pub path: Vec<String>,
    /// Byte range of its settings in the text.
    pub span: Range<usize>,
    /// Transport of the server, with its settings.
    pub way: Transport,
}

/// Returns the reason why shadowcat cannot call the server at `url`. A URL with a variable of the client (`$`)
/// may be anything.
pub(super) fn uncallable(url: &str) -> Option<String> {
    let url = url.trim();
    if url.is_empty() {
        return Some("its URL is empty".to_owned());
    }
    if url.contains('$') {
        return None;
    }
    let Some((scheme, rest)) = url.split_once(':').filter(|(_, rest)| rest.starts_with("//")) else {
        return Some("its URL has no scheme; write http:// or https:// before it".to_owned());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => rest
            .trim_start_matches('/')
            .starts_with([':', '?', '#'])
            .then(|| "its URL has no host".to_owned())
            .or_else(|| (rest == "//").then(|| "its URL has no host".to_owned())),
        "unix" | "pipe" => Some(format!(
            "it is reached through a Unix socket ({scheme}://), which shadowcat does not connect to"
        )),
        "ws" | "wss" => Some(format!(
            "it is a WebSocket server ({scheme}://); MCP defines stdio and Streamable HTTP only"
        )),
        other => Some(format!("its URL begins with {other}://; only http:// and https:// can be called")),
    }
}

/// Transport by which a client reaches a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// stdio: the client starts a command.
    Command(LaunchedServer),
    /// HTTP: the client calls a URL.
    Http(CalledServer),
    /// Unknown transport, and the reason.
    Other(String),
}

/// Server that the client starts.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchedServer {
    /// Program to start.
    pub command: String,
    /// Byte range of the program's value in the text.
    pub command_span: Range<usize>,
    /// Arguments of the program.
    pub arguments: Vec<String>,
    /// Byte range of the list of arguments, if there is one.
    pub list: Option<Range<usize>>,
    /// Byte ranges of the arguments in the text.
    pub spans: Vec<Range<usize>>,
    /// Byte offset behind the program's value, where a list can be inserted.
    pub behind: usize,
}

/// Server that the client calls by its URL.
#[derive(Debug, Clone, PartialEq)]
pub struct CalledServer {
    /// URL of the server.
    pub url: String,
    /// Byte range of the member with the URL, its name and its value.
    pub member: Range<usize>,
    /// Names and values of the headers that the client sends.
    pub headers: Vec<(String, String)>,
    /// Settings that stay as they are: names, and values as they are spelled.
    pub kept: Vec<(String, String)>,
    /// Names of settings that cannot be kept, because the client applies them to a call that
    /// shadowcat makes after wrapping.
    pub strange: Vec<String>,
}

/// Syntax error at a place of a text.
pub(super) struct ConfigSyntaxError {
    /// Byte offset of the error.
    pub at: usize,
    /// Description of the error.
    pub what: String,
}
