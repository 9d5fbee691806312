//! Wrapping and unwrapping of a server: the edits of a file's text.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::document::Document;
use super::entry::{CalledServer, LaunchedServer, ServerEntry, Transport};
use super::known::ConfigFormat;
use crate::places;

/// Command that stands in front of a server.
#[derive(Debug, Clone)]
pub struct Wrapper {
    /// Path of the `shadowcat` program.
    pub program: String,
    /// Data directory, if it is not the usual one: a client may not pass the environment on.
    pub data: Option<String>,
}

/// Reason why an entry stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The entry is neither a command nor a URL; the reason why.
    #[error("{0}")]
    Other(String),
    /// The entry has settings that the client could not apply any more; their names.
    #[error("the settings {0} would be lost, because shadowcat would connect in place of the client")]
    Strange(String),
    /// The changed text would not mean what it should.
    #[error("the file cannot be edited reliably; edit it by hand")]
    Unusual,
    /// The entry is wrapped already.
    #[error("already wrapped")]
    Already,
    /// The entry is not wrapped.
    #[error("not wrapped")]
    Not,
    /// The entry was changed after wrapping, and its old text is not known.
    #[error("it was changed after wrapping, and the original is not known")]
    Lost,
}

/// Byte range of a text, and the text that replaces it.
type Edit = (Range<usize>, String);

/// Error because the program's path cannot be written into a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Unnamed {
    /// The system does not know the path.
    #[error("the path of this program: {0}")]
    Unknown(#[from] std::io::Error),
    /// The path is not UTF-8.
    #[error("{} cannot be written into a configuration; install shadowcat at a UTF-8 path", .0.display())]
    Unusual(PathBuf),
}

impl Wrapper {
    /// Returns the wrapper that starts this program.
    ///
    /// # Errors
    /// Fails if the path of the program is unknown or not UTF-8.
    pub fn own() -> Result<Self, Unnamed> {
        let own = std::env::current_exe()?;
        let program = own.to_str().map(str::to_owned).ok_or(Unnamed::Unusual(own))?;
        let data = places::chosen().map(|directory| {
            let whole = std::path::absolute(&directory).unwrap_or(directory);
            whole.display().to_string()
        });
        Ok(Self { program, data })
    }

    fn words(&self, server: &str) -> Vec<String> {
        let place = self.data.iter().flat_map(|data| ["--data-dir".to_owned(), data.clone()]);
        // A name that begins with a dash would be taken for an option.
        let name = match server.starts_with('-') {
            true => vec![format!("--name={server}")],
            false => vec!["--name".to_owned(), server.to_owned()],
        };
        place.chain(["forward", "stdio"].map(str::to_owned)).chain(name).collect()
    }
}

impl ServerEntry {
    /// Returns `true` if shadowcat stands in front of the server.
    pub fn is_wrapped(&self) -> bool {
        match &self.way {
            Transport::Command(LaunchedServer { command, arguments, .. }) => {
                let ours = Path::new(command).file_stem().is_some_and(|name| name == "shadowcat");
                let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let words = match words[..] {
                    ["--data-dir", _, ref rest @ ..] => rest,
                    ref all => all,
                };
                match words {
                    // Only shadowcat takes these arguments, whatever the file of its program is
                    // called.
                    ["forward", "stdio", "--name", _, "--" | "--upstream", ..] => true,
                    ["forward", "stdio", ..] => ours,
                    _ => false,
                }
            }
            Transport::Http(_) | Transport::Other(_) => false,
        }
    }

    /// Describes the server in a line: its command line, its URL, or the reason for having neither.
    pub fn summary(&self) -> String {
        match &self.way {
            Transport::Command(LaunchedServer { command, arguments, .. }) => {
                std::iter::once(command).chain(arguments).cloned().collect::<Vec<_>>().join(" ")
            }
            Transport::Http(http) => http.url.clone(),
            Transport::Other(why) => format!("({why})"),
        }
    }
}

/// Wraps `entry`. Returns the new text of the file, and the text of the changed span before and
/// after.
///
/// # Errors
/// Fails if the entry cannot be wrapped, or is wrapped already.
pub fn wrapped(
    document: &Document,
    entry: &ServerEntry,
    wrapper: &Wrapper,
) -> Result<(String, String, String), WrapError> {
    if entry.is_wrapped() {
        return Err(WrapError::Already);
    }
    let spelling = Spelling { text: &document.text, form: document.form };
    let edits = match &entry.way {
        Transport::Command(command) => {
            let mut words = wrapper.words(&entry.server);
            words.extend(["--".to_owned(), command.command.clone()]);
            spelling.in_front(command, &wrapper.program, &words)
        }
        Transport::Http(http) if !http.strange.is_empty() => {
            return Err(WrapError::Strange(http.strange.join(", ")));
        }
        Transport::Http(http) => {
            let mut words = wrapper.words(&entry.server);
            words.extend(["--upstream".to_owned(), http.url.clone()]);
            spelling.instead(entry, http, &wrapper.program, &words)
        }
        Transport::Other(why) => return Err(WrapError::Other(why.clone())),
    };
    Ok(apply(&document.text, &entry.span, edits))
}

/// Unwraps `entry`. Returns the new text of the file. `stored` is the text of the entry before it was
/// wrapped, and after.
///
/// # Errors
/// Fails if the entry is not wrapped, or its old text cannot be found out.
pub fn unwrapped(
    document: &Document,
    entry: &ServerEntry,
    stored: Option<(&str, &str)>,
) -> Result<String, WrapError> {
    if !entry.is_wrapped() {
        return Err(WrapError::Not);
    }
    if let Some((before, after)) = stored {
        // The text is as wrapping left it: every byte comes back.
        let place = entry.span.start;
        let mut found = document.text.match_indices(after).map(|(at, _)| at);
        if let Some(at) = found.find(|at| (*at..at + after.len()).contains(&place)) {
            return Ok(format!("{}{before}{}", &document.text[..at], &document.text[at + after.len()..]));
        }
    }
    let Transport::Command(command) = &entry.way else { return Err(WrapError::Not) };
    // The entry was changed since: take shadowcat out of its present arguments.
    let Some(behind) = command.arguments.iter().position(|word| word == "--") else {
        // An entry with a URL had settings that a command has not: only the stored text restores it.
        let (before, _) = stored.ok_or(WrapError::Lost)?;
        let span = entry.span.clone();
        return Ok(format!("{}{before}{}", &document.text[..span.start], &document.text[span.end..]));
    };
    let program = command.arguments.get(behind + 1).ok_or(WrapError::Lost)?;
    let spelling = Spelling { text: &document.text, form: document.form };
    let from = command.spans[0].start;
    let until = match command.spans.get(behind + 2) {
        Some(next) => next.start,
        // The trailing comma goes too.
        None => {
            let end = command.spans[behind + 1].end;
            let rest = &document.text[end..];
            let bare = rest.trim_start();
            if bare.starts_with(',') { end + rest.len() - bare.len() + 1 } else { end }
        }
    };
    let edits = vec![(command.command_span.clone(), spelling.quoted(program)), (from..until, String::new())];
    Ok(apply(&document.text, &entry.span, edits).0)
}

/// Returns `true` if a change had its effect and no other: `entry` is wrapped or unwrapped in `new`,
/// starts or calls the same server, and every other server is unchanged. So an unusually written file
/// is refused rather than broken.
pub fn is_sound(old: &Document, new: &Document, entry: &ServerEntry) -> bool {
    let is_it = |other: &&ServerEntry| (&other.server, &other.path) == (&entry.server, &entry.path);
    let others = |document: &Document| {
        let others = document.entries.iter().filter(|other| !is_it(other));
        others.map(|other| (other.server.clone(), other.path.clone(), other.summary())).collect::<Vec<_>>()
    };
    let mut made = new.entries.iter().filter(is_it);
    let (Some(made), None) = (made.next(), made.next()) else { return false };
    let (inner, outer) = if made.is_wrapped() { (entry, made) } else { (made, entry) };
    let called = match (&inner.way, &outer.way) {
        (Transport::Command(inner), Transport::Command(outer)) => {
            let behind = outer.arguments.iter().position(|word| word == "--");
            let words = behind.and_then(|at| outer.arguments.get(at + 1..)).unwrap_or_default();
            words.split_first().is_some_and(|(command, arguments)| {
                *command == inner.command && arguments == &inner.arguments[..]
            })
        }
        (Transport::Http(inner), Transport::Command(outer)) => outer.arguments.contains(&inner.url),
        _ => false,
    };
    made.is_wrapped() != entry.is_wrapped() && others(old) == others(new) && called
}

/// Applies edits. Returns the new text, and the text of `span` before and after.
fn apply(text: &str, span: &Range<usize>, mut edits: Vec<Edit>) -> (String, String, String) {
    edits.sort_by_key(|(place, _)| place.start);
    let end = edits.iter().map(|(place, _)| place.end).fold(span.end, usize::max);
    let start = edits.iter().map(|(place, _)| place.start).fold(span.start, usize::min);
    let (mut after, mut at) = (String::new(), start);
    for (place, new) in edits {
        after.push_str(&text[at..place.start]);
        after.push_str(&new);
        at = place.end;
    }
    after.push_str(&text[at..end]);
    (format!("{}{after}{}", &text[..start], &text[end..]), text[start..end].to_owned(), after)
}

/// Text of a file, and the syntax of its format.
struct Spelling<'a> {
    text: &'a str,
    form: ConfigFormat,
}

impl Spelling<'_> {
    fn quoted(&self, text: &str) -> String {
        match self.form {
            ConfigFormat::Json => serde_json::Value::from(text).to_string(),
            ConfigFormat::Toml => toml_edit::Value::from(text).to_string().trim().to_owned(),
        }
    }

    fn list(&self, words: &[String]) -> String {
        let words: Vec<String> = words.iter().map(|word| self.quoted(word)).collect();
        format!("[{}]", words.join(", "))
    }

    fn named(&self, name: &str) -> String {
        match self.form {
            ConfigFormat::Json => format!("\"{name}\": "),
            ConfigFormat::Toml => format!("{name} = "),
        }
    }

    /// Returns the line break and the indentation of the line of `at`, or `None` if `at` has anything
    /// but a member's name before it on its line.
    fn line(&self, at: usize) -> Option<&str> {
        let before = &self.text[..at];
        let line = before.rfind('\n')?;
        let begin = if before[..line].ends_with('\r') { line - 1 } else { line };
        let member = before[line + 1..].trim_start_matches([' ', '\t']);
        // Only the name of a member may stand before it.
        let is_first = member.is_empty() || (!member.contains(['{', ',', '[']));
        let indent = line + 1 + (before[line + 1..].len() - member.len());
        is_first.then(|| &self.text[begin..indent])
    }

    /// Returns the edits that put `program` and `words` in front of a command.
    fn in_front(&self, command: &LaunchedServer, program: &str, words: &[String]) -> Vec<Edit> {
        let mut edits = vec![(command.command_span.clone(), self.quoted(program))];
        match (&command.list, command.spans.first()) {
            (Some(list), Some(first)) => {
                // The new elements are spaced like the list.
                let space = &self.text[list.start + 1..first.start];
                let space = if space.trim().is_empty() && space.contains('\n') { space } else { " " };
                let new: String = words.iter().map(|word| format!("{},{space}", self.quoted(word))).collect();
                edits.push((first.start..first.start, new));
            }
            (Some(list), None) => edits.push((list.clone(), self.list(words))),
            (None, _) => {
                let comma = match self.form {
                    ConfigFormat::Json => ",",
                    ConfigFormat::Toml => "",
                };
                let new = match self.line(command.command_span.start) {
                    Some(line) => format!("{comma}{line}{}{}", self.named("args"), self.list(words)),
                    None => format!(", {}{}", self.named("args"), self.list(words)),
                };
                edits.push((command.behind..command.behind, new));
            }
        }
        edits
    }

    /// Returns the edits that put a command in the place of a URL.
    fn instead(
        &self,
        entry: &ServerEntry,
        http: &CalledServer,
        program: &str,
        words: &[String],
    ) -> Vec<Edit> {
        let mut members =
            vec![("command".to_owned(), self.quoted(program)), ("args".to_owned(), self.list(words))];
        if self.form == ConfigFormat::Toml {
            let line = self.line(http.member.start);
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}{value}", self.named(name))).collect();
            return vec![(http.member.clone(), members.join(line.unwrap_or(", ")))];
        }
        if !http.headers.is_empty() {
            // Headers may be secrets: others can read a command line, but not the environment.
            let lines: Vec<String> =
                http.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let environment = format!("{{ \"SHADOWCAT_HEADERS\": {} }}", self.quoted(&lines.join("\n")));
            members.push(("env".to_owned(), environment));
        }
        members.extend(http.kept.iter().cloned());
        // The new object is spread over lines if the old one was.
        let inside = self.line(http.member.start).filter(|_| self.text[entry.span.clone()].contains('\n'));
        let end = self.text[entry.span.clone()].rfind('\n').map(|at| {
            let line = &self.text[entry.span.start + at..entry.span.end - 1];
            // The last member may stand on the line that ends the object.
            if line.trim().is_empty() { line.to_owned() } else { " ".to_owned() }
        });
        let text = match (inside, end) {
            (Some(line), Some(end)) => {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{line}\"{name}\": {value}")).collect();
                format!("{{{}{end}}}", members.join(","))
            }
            _ => {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{ {} }}", members.join(", "))
            }
        };
        vec![(entry.span.clone(), text)]
    }
}
