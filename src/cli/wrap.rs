//! `shadowcat wrap` and `unwrap`: shadowcat in front of the servers of real clients, and out again.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, FailureKind};
use super::output::{self, Format};
use crate::clients::{
    self, CLIENTS, ConfigChange, ConfigFile, ConfigScope, Document, DocumentError, Homes, KnownClient,
    ServerEntry, StoreError, Transport, WrapError, Wrapper, Wrapping,
};
use crate::mcp::{secret, sensitive};
use crate::places;

/// Arguments of `wrap` and `unwrap`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the server in the client's configuration.
    server: Option<String>,
    /// Only servers of this client.
    #[arg(long, value_name = "NAME", value_parser = client)]
    client: Option<&'static KnownClient>,
    /// Every server.
    #[arg(long, conflicts_with = "server")]
    all: bool,
    /// Only list the servers that are found, and which are wrapped.
    #[arg(long)]
    status: bool,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn client(name: &str) -> Result<&'static KnownClient, String> {
    KnownClient::find(name).ok_or_else(|| {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        format!("the clients are {}", names.join(", "))
    })
}

/// Wraps or unwraps the named servers, or lists all servers if none is named.
///
/// # Errors
/// Fails if no client has the named server, no configuration can be read or one cannot be written, or
/// no terminal is there to confirm at.
pub fn run(arguments: &Arguments, direction: Wrapping) -> Result<ExitCode, Failure> {
    let files = Homes::own().map_err(Failure::usage)?.files(arguments.client);
    let (documents, broken) = clients::read(&files);
    if arguments.status || (arguments.server.is_none() && !arguments.all) {
        return status(&documents, &broken, arguments.output);
    }
    let data = places::data();
    if data.is_empty() {
        return Err(Failure::usage("this user has no home directory").hint("set SHADOWCAT_DATA_DIR"));
    }
    let wanted = |entry: &ServerEntry| arguments.server.as_ref().is_none_or(|server| *server == entry.server);
    let found = documents.iter().any(|(_, document)| document.entries.iter().any(wanted));
    if let (Some(server), false) = (&arguments.server, found) {
        return Err(nothing(server, &documents, broken));
    }
    // A broken file of another client is skipped. Without any file that can be read, it is an error.
    if let (Some(error), true) = (broken.into_iter().next(), documents.is_empty()) {
        return Err(Failure::usage(error));
    }
    let wrapper = Wrapper::own().map_err(Failure::usage)?;
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for (place, document) in documents {
        let names: Vec<ServerEntry> =
            document.entries.iter().filter(|entry| wanted(entry)).cloned().collect();
        let plan = clients::plan(&place, document, &names, direction, &wrapper, &data);
        changes.extend(plan.change);
        refused.extend(plan.refused.into_iter().map(|(entry, why)| (entry.server, place.client.title, why)));
    }
    for (server, client, why) in &refused {
        let is_news = arguments.server.is_some() || !matches!(why, WrapError::Already | WrapError::Not);
        if is_news {
            output::say(&format!("{server} of {client}: {why}"));
        }
    }
    if changes.is_empty() {
        // An entry that was in the wanted state already is a success.
        let fine = refused.iter().all(|(_, _, why)| matches!(why, WrapError::Already | WrapError::Not));
        output::say("nothing to change");
        return Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(FailureKind::Usage as u8) });
    }
    carry_out(&changes, arguments, direction, &data)
}

fn nothing(server: &str, documents: &[(ConfigFile, Document)], broken: Vec<DocumentError>) -> Failure {
    let mut names: Vec<&str> =
        documents.iter().flat_map(|(_, document)| &document.entries).map(|entry| &*entry.server).collect();
    names.sort_unstable();
    names.dedup();
    let mut failure = match names.is_empty() {
        true => Failure::usage(format!(
            "no client has a server called {server:?}; no configuration file has any server"
        )),
        false => Failure::usage(format!("no client has a server called {server:?}"))
            .hint(format!("known servers: {}", names.join(", "))),
    };
    for error in broken {
        failure = failure.hint(error.to_string());
    }
    failure
}

fn carry_out(
    changes: &[ConfigChange],
    arguments: &Arguments,
    direction: Wrapping,
    data: &[std::path::PathBuf],
) -> Result<ExitCode, Failure> {
    for change in changes {
        output::print(&diff(change)).map_err(Failure::usage)?;
    }
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::usage("cannot ask for confirmation without a terminal")
                .hint("use --yes to change without confirmation, or --dry-run to only show the change"));
        }
        let asked = inquire::Confirm::new("Change this?").with_default(true).prompt();
        match asked {
            Ok(true) => {}
            Ok(false) => return Ok(ExitCode::from(FailureKind::Check as u8)),
            Err(_) => return Ok(ExitCode::from(FailureKind::Interrupted as u8)),
        }
    }
    let mut failed = false;
    for change in changes {
        if let Err(error) = change.write(data) {
            let failure = match error {
                StoreError::ReadOnly { .. } => {
                    Failure::usage(error).hint("make it writable, e.g. with chmod u+w")
                }
                StoreError::Changed { .. } => Failure::usage(error).hint("try again"),
                StoreError::Io { .. } => Failure::usage(error),
            };
            // A failure in one file does not affect the other files.
            match changes.len() {
                1 => return Err(failure),
                _ => output::say(&failure.to_string()),
            }
            failed = true;
            continue;
        }
        let names: Vec<&str> = change.entries.iter().map(|changed| &*changed.entry.server).collect();
        let word = if direction == Wrapping::In { "wrapped" } else { "unwrapped" };
        let ConfigChange { place, .. } = change;
        output::say(&format!("{word} {} in {}", names.join(", "), place.path.display()));
        output::say(&format!("  {}: {}", place.client.title, place.client.restart));
    }
    if direction == Wrapping::In {
        let entries = changes.iter().flat_map(|change| &change.entries);
        if entries.into_iter().any(|changed| matches!(changed.entry.way, Transport::Http(_))) {
            output::say("  if a server needs a login, add --login to its args, or unwrap it");
        }
        output::say("`shadowcat tui` shows the traffic; `shadowcat unwrap` undoes this");
    }
    Ok(if failed { ExitCode::from(FailureKind::Usage as u8) } else { ExitCode::SUCCESS })
}

/// Formats a change as a diff, line by line.
fn diff(change: &ConfigChange) -> String {
    let mut text = format!("{}: {}\n", change.place.client.title, change.place.path.display());
    for (sign, line) in change.lines() {
        text.push_str(&format!("{sign} {}\n", output::harmless(&without_secrets(&line))));
    }
    text
}

/// Hides the values in a line of a configuration that are secrets by their names or by their form: the diff may be
/// shown to others. The file keeps them.
fn without_secrets(line: &str) -> String {
    let mut places: Vec<_> = sensitive::find(line);
    places.extend(secret::find(line).into_iter().map(|(place, _)| place));
    places.sort_by_key(|place| (place.start, std::cmp::Reverse(place.end)));
    let (mut text, mut at) = (String::new(), 0);
    for place in places {
        if place.start < at {
            continue;
        }
        text.push_str(line.get(at..place.start).unwrap_or_default());
        text.push_str("[hidden]");
        at = place.end;
    }
    text.push_str(line.get(at..).unwrap_or_default());
    text
}

/// Lists the servers of every client.
fn status(
    documents: &[(ConfigFile, Document)],
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
        output::say("no server found in any client configuration");
    }
    output::list(format, &["CLIENT", "LEVEL", "SERVER", "WRAPPED", "REACHED BY", "FILE"], rows)
        .map_err(Failure::usage)?;
    broken.iter().for_each(|error| output::say(&format!("warning: {error}")));
    Ok(ExitCode::SUCCESS)
}

fn row(place: &ConfigFile, entry: &ServerEntry) -> (Vec<String>, Value) {
    let level = match place.level {
        ConfigScope::User => "user",
        ConfigScope::Project => "project",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_configuration_are_not_shown() {
        for line in [
            r#"      "GITHUB_TOKEN": "ghp_abcdefghijklmnopqrstuvwxyz0123456789","#,
            r#"      "Authorization": "Bearer hush-hush-hush""#,
            r#"      "--header", "Authorization: Bearer hush-hush-hush","#,
            r#"API_KEY = "hush-hush-hush""#,
        ] {
            let shown = without_secrets(line);
            assert!(!shown.contains("hush") && !shown.contains("ghp_"), "{shown}");
        }
        let plain = r#"      "command": "npx", "args": ["-y", "tokens"]"#;
        assert_eq!(without_secrets(plain), plain);
    }
}
