//! Servers in TOML files.

use super::entry::uncallable;
use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::entry::{CalledServer, ConfigSyntaxError, LaunchedServer, ServerEntry, Transport};

/// Settings that mean the same for a server that the client starts.
const KEPT_SETTINGS: [&str; 6] = [
    "enabled",
    "startup_timeout_sec",
    "startup_timeout_ms",
    "tool_timeout_sec",
    "enabled_tools",
    "disabled_tools",
];

pub(super) fn entries(text: &str, servers: &[&[&str]]) -> Result<Vec<ServerEntry>, ConfigSyntaxError> {
    let document = Document::parse(text).map_err(|error| ConfigSyntaxError {
        at: error.span().map_or(0, |span| span.start),
        what: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    for path in servers {
        let mut item = Some(document.as_item());
        for name in *path {
            item = item.and_then(|item| item.get(name));
        }
        let Some(table) = item.and_then(Item::as_table_like) else { continue };
        let way: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        for (server, item) in table.iter() {
            let Some(settings) = item.as_table_like() else { continue };
            let reached = reached(text, settings);
            let span = match &reached {
                Transport::Command(command) => {
                    let list = command.list.clone().unwrap_or(command.command_span.clone());
                    command.command_span.start.min(list.start)..command.command_span.end.max(list.end)
                }
                Transport::Http(http) => http.member.clone(),
                Transport::Other(_) => 0..0,
            };
            entries.push(ServerEntry { server: server.to_owned(), path: way.clone(), span, way: reached });
        }
    }
    Ok(entries)
}

fn reached(text: &str, settings: &dyn TableLike) -> Transport {
    let other = |why: &str| Transport::Other(why.to_owned());
    if let Some(command) = settings.get("command") {
        let (Some(program), Some(command_span)) = (command.as_str(), command.span()) else {
            return other("its command is no text");
        };
        let mut found = LaunchedServer {
            command: program.to_owned(),
            behind: command_span.end,
            command_span,
            arguments: Vec::new(),
            list: None,
            spans: Vec::new(),
        };
        if let Some(list) = settings.get("args") {
            let (Some(array), Some(span)) = (list.as_array(), list.span()) else {
                return other("its args are no list");
            };
            found.list = Some(span);
            for element in array {
                let (Some(argument), Some(span)) = (element.as_str(), element.span()) else {
                    return other("one of its args is no text");
                };
                found.arguments.push(argument.to_owned());
                found.spans.push(span);
            }
        }
        return Transport::Command(found);
    }
    let url = settings.get_key_value("url");
    let Some((key, item)) = url else { return other("it has neither a command nor a URL") };
    let place = key.span().zip(item.span());
    let (Some(address), Some((key, value))) = (item.as_str(), place) else {
        return other("its URL is no text");
    };
    if let Some(why) = uncallable(address) {
        return other(&why);
    }
    let mut http = CalledServer {
        url: address.to_owned(),
        member: Range { start: key.start, end: value.end },
        headers: Vec::new(),
        kept: Vec::new(),
        strange: Vec::new(),
    };
    for (name, item) in settings.iter() {
        match name {
            "url" => {}
            _ if KEPT_SETTINGS.contains(&name) => {
                let spelled = item.as_value().and_then(Value::span).map(|span| text[span].to_owned());
                http.kept.push((name.to_owned(), spelled.unwrap_or_default()));
            }
            _ => http.strange.push(name.to_owned()),
        }
    }
    Transport::Http(http)
}
