//! `shadowcat wrap` and `unwrap`: in front of the servers of real clients, and out again.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::failure::{Failure, Kind};
use super::output::{self, Format};
use crate::clients::{
    self, CLIENTS, Client, Document, DocumentError, Entry, Homes, Level, Place, Refused, Store, StoreError,
    Way, Wrapper,
};
use crate::tape::library;

/// Arguments of `wrap` and `unwrap`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The server, as the client's configuration names it.
    server: Option<String>,
    /// Only of this client.
    #[arg(long, value_name = "NAME", value_parser = client)]
    client: Option<&'static Client>,
    /// Every server.
    #[arg(long, conflicts_with = "server")]
    all: bool,
    /// Only list the servers that are found, and which are wrapped.
    #[arg(long)]
    status: bool,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// A file, and what is to change in it.
struct Change {
    place: Place,
    before: String,
    after: String,
    /// What to remember of each entry: what it was, and what it is now. Nothing when it is taken out.
    entries: Vec<(Entry, Option<(String, String)>)>,
}

fn client(name: &str) -> Result<&'static Client, String> {
    Client::find(name).ok_or_else(|| {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        format!("the clients are {}", names.join(", "))
    })
}

/// Wraps or unwraps what is named, or lists what there is.
pub fn run(arguments: &Arguments, direction: Direction) -> Result<ExitCode, Failure> {
    let homes = homes()?;
    let files = homes.files(arguments.client);
    let (documents, broken) = read(&files);
    if arguments.status || (arguments.server.is_none() && !arguments.all) {
        return status(&documents, &broken, arguments.output);
    }
    let data = library::data()
        .ok_or_else(|| Failure::usage("this user has no home directory").hint("set SHADOWCAT_DATA_DIR"))?;
    let wanted = |entry: &Entry| arguments.server.as_ref().is_none_or(|server| *server == entry.server);
    let found = documents.iter().any(|(_, document)| document.entries.iter().any(wanted));
    if let (Some(server), false) = (&arguments.server, found) {
        return Err(nothing(server, &documents, broken));
    }
    // A broken file of another client is no reason to stop; one of the client that is meant is.
    if let (Some(error), true) = (broken.into_iter().next(), documents.is_empty()) {
        return Err(Failure::usage(error));
    }
    let chosen = library::chosen().map(|directory| {
        let whole = std::path::absolute(&directory).unwrap_or(directory);
        whole.display().to_string()
    });
    let wrapper = Wrapper { program: program()?, data: chosen };
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for (place, document) in documents {
        let names: Vec<Entry> = document.entries.iter().filter(|entry| wanted(entry)).cloned().collect();
        let change = plan(&place, document, &names, direction, &wrapper, &data, &mut refused)?;
        changes.extend(change);
    }
    for (server, client, why) in &refused {
        let is_news = arguments.server.is_some() || !matches!(why, Refused::Already | Refused::Not);
        if is_news {
            output::say(&format!("{server} of {client}: {why}"));
        }
    }
    if changes.is_empty() {
        // That it is so already is what was wanted.
        let fine = refused.iter().all(|(_, _, why)| matches!(why, Refused::Already | Refused::Not));
        output::say("nothing to change");
        return Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(Kind::Usage as u8) });
    }
    carry_out(&changes, arguments, direction, &data)
}

/// The directories that configuration files are in.
pub fn homes() -> Result<Homes, Failure> {
    // Tests have a home of their own.
    let home = std::env::var_os("SHADOWCAT_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()?;
        Some(user.dir)
    });
    let home = home.ok_or_else(|| Failure::usage("this user has no home directory"))?;
    let project = std::env::current_dir().map_err(Failure::usage)?;
    Ok(Homes::of(&home, &project))
}

/// The path of our program, as a client can start it.
fn program() -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(Failure::usage)?;
    own.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("{} cannot be written into a configuration", own.display()))
            .hint("install shadowcat at a path of plain characters")
    })
}

fn read(files: &[Place]) -> (Vec<(Place, Document)>, Vec<DocumentError>) {
    let (mut documents, mut broken) = (Vec::new(), Vec::new());
    for place in files {
        match Document::read(place) {
            Ok(document) => documents.push((place.clone(), document)),
            Err(error) => broken.push(error),
        }
    }
    (documents, broken)
}

fn nothing(server: &str, documents: &[(Place, Document)], broken: Vec<DocumentError>) -> Failure {
    let mut names: Vec<&str> =
        documents.iter().flat_map(|(_, document)| &document.entries).map(|entry| &*entry.server).collect();
    names.sort_unstable();
    names.dedup();
    let mut failure = match names.is_empty() {
        true => {
            Failure::usage(format!("no client has a server called {server:?}; none of their files has any"))
        }
        false => Failure::usage(format!("no client has a server called {server:?}"))
            .hint(format!("they have {}", names.join(", "))),
    };
    for error in broken {
        failure = failure.hint(error.to_string());
    }
    failure
}

/// What changes in one file; nothing where no entry changes.
fn plan(
    place: &Place,
    document: Document,
    entries: &[Entry],
    direction: Direction,
    wrapper: &Wrapper,
    data: &std::path::Path,
    refused: &mut Vec<(String, &'static str, Refused)>,
) -> Result<Option<Change>, Failure> {
    let store = Store::of(data, &place.path);
    let before = document.text.clone();
    let mut document = document;
    let mut done = Vec::new();
    for entry in entries {
        // Places in the text move with every change.
        let Some(entry) = document
            .entries
            .iter()
            .find(|other| (&other.server, &other.path) == (&entry.server, &entry.path))
            .cloned()
        else {
            continue;
        };
        let changed = match direction {
            Direction::In => clients::wrapped(&document, &entry, wrapper)
                .map(|(text, before, after)| (text, Some((before, after)))),
            Direction::Out => {
                clients::unwrapped(&document, &entry, store.get(&entry)).map(|text| (text, None))
            }
        };
        match changed {
            Ok((text, remembered)) => match Document::parse(place, text) {
                Ok(made) if clients::is_sound(&document, &made, &entry) => {
                    document = made;
                    done.push((entry, remembered));
                }
                // Better not at all than half.
                _ => refused.push((entry.server.clone(), place.client.title, Refused::Unusual)),
            },
            Err(why) => refused.push((entry.server.clone(), place.client.title, why)),
        }
    }
    let change = Change { place: place.clone(), before, after: document.text, entries: done };
    Ok((!change.entries.is_empty()).then_some(change))
}

fn carry_out(
    changes: &[Change],
    arguments: &Arguments,
    direction: Direction,
    data: &std::path::Path,
) -> Result<ExitCode, Failure> {
    for change in changes {
        output::print(&diff(change)).map_err(Failure::usage)?;
    }
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::usage("nobody is there to be asked whether to change this")
                .hint("--yes changes it without asking, --dry-run only shows it"));
        }
        let asked = inquire::Confirm::new("Change this?").with_default(true).prompt();
        match asked {
            Ok(true) => {}
            Ok(false) => return Ok(ExitCode::from(Kind::Check as u8)),
            Err(_) => return Ok(ExitCode::from(Kind::Interrupted as u8)),
        }
    }
    let mut failed = false;
    for change in changes {
        if let Err(error) = write(change, data) {
            let failure = match error {
                StoreError::ReadOnly { .. } => {
                    Failure::usage(error).hint("make it writable, e.g. with chmod u+w")
                }
                StoreError::Changed { .. } => Failure::usage(error).hint("try again"),
                StoreError::Io { .. } => Failure::usage(error),
            };
            // The others are no worse for it.
            match changes.len() {
                1 => return Err(failure),
                _ => output::say(&failure.to_string()),
            }
            failed = true;
            continue;
        }
        let names: Vec<&str> = change.entries.iter().map(|(entry, _)| &*entry.server).collect();
        let word = if direction == Direction::In { "wrapped" } else { "unwrapped" };
        let Change { place, .. } = change;
        output::say(&format!("{word} {} in {}", names.join(", "), place.path.display()));
        output::say(&format!("  {}: {}", place.client.title, place.client.restart));
    }
    if direction == Direction::In {
        let entries = changes.iter().flat_map(|change| &change.entries);
        if entries.into_iter().any(|(entry, _)| matches!(entry.way, Way::Http(_))) {
            output::say("  a server that asks for a login: add --login to its args, or unwrap it");
        }
        output::say("then `shadowcat tui` shows what they say; `shadowcat unwrap` takes it back");
    }
    Ok(if failed { ExitCode::from(Kind::Usage as u8) } else { ExitCode::SUCCESS })
}

/// Remembers first, then writes: what is on the disk can always be taken back.
fn write(change: &Change, data: &std::path::Path) -> Result<(), StoreError> {
    let mut store = Store::of(data, &change.place.path);
    for (entry, remembered) in &change.entries {
        if let Some((before, after)) = remembered {
            store.remember(entry, before.clone(), after.clone())?;
        }
    }
    clients::write(&change.place.path, &change.before, &change.after)?;
    for (entry, remembered) in &change.entries {
        if remembered.is_none() {
            store.forget(entry)?;
        }
    }
    Ok(())
}

/// What changes, line by line.
fn diff(change: &Change) -> String {
    let diff = TextDiff::from_lines(&change.before, &change.after);
    let mut text = format!("{}: {}\n", change.place.client.title, change.place.path.display());
    for group in diff.grouped_ops(2) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push_str(&format!(
                "{sign} {}\n",
                output::harmless(change.value().trim_end_matches(['\n', '\r']))
            ));
        }
    }
    text
}

/// Lists the servers of every client.
fn status(
    documents: &[(Place, Document)],
    broken: &[DocumentError],
    format: Format,
) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for (place, document) in documents {
        for entry in &document.entries {
            rows.push(row(place, entry));
        }
    }
    if rows.is_empty() && format == Format::Table {
        output::say("no server is in any configuration that was looked for");
    }
    output::list(format, &["CLIENT", "LEVEL", "SERVER", "WRAPPED", "REACHED BY", "FILE"], rows)
        .map_err(Failure::usage)?;
    broken.iter().for_each(|error| output::say(&format!("warning: {error}")));
    Ok(ExitCode::SUCCESS)
}

fn row(place: &Place, entry: &Entry) -> (Vec<String>, Value) {
    let level = match place.level {
        Level::User => "user",
        Level::Project => "project",
    };
    let summary = crate::transport::http::Cleaner::new().command(&[entry.summary()]).join(" ");
    let cells = vec![
        place.client.name.to_owned(),
        level.to_owned(),
        entry.server.clone(),
        if entry.is_wrapped() { "yes" } else { "" }.to_owned(),
        summary.clone(),
        place.path.display().to_string(),
    ];
    let value = json!({
        "client": place.client.name,
        "level": level,
        "server": entry.server,
        "wrapped": entry.is_wrapped(),
        "reached_by": summary,
        "path": entry.path,
        "file": place.path,
    });
    (cells, value)
}
