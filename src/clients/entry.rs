//! A server in a configuration file, with its places in the text.

use std::ops::Range;

/// A server in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub server: String,
    /// The members on the way to it, without its name.
    pub path: Vec<String>,
    /// What holds its settings.
    pub span: Range<usize>,
    pub way: Transport,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    Command(Command),
    Http(Http),
    /// Neither, and why.
    Other(String),
}

/// A server that the client starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub command: String,
    pub command_span: Range<usize>,
    pub arguments: Vec<String>,
    /// The list of arguments, where there is one.
    pub list: Option<Range<usize>>,
    /// Each argument.
    pub spans: Vec<Range<usize>>,
    /// Where a list can be inserted, and whether on a line of its own.
    pub behind: usize,
}

/// A server that is called by its URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    pub url: String,
    /// Its member, with name and value.
    pub member: Range<usize>,
    pub headers: Vec<(String, String)>,
    /// Settings that stay as they are, as they are spelled: name and value.
    pub kept: Vec<(String, String)>,
    /// Settings that cannot be kept: what they are for is ours to do then.
    pub strange: Vec<String>,
}

/// What is wrong at a place of a text.
pub(super) struct Flaw {
    pub at: usize,
    pub what: String,
}
