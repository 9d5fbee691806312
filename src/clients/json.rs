//! Servers in JSON files, which may have comments.

use super::entry::uncallable;
use std::ops::Range;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::entry::{CalledServer, ConfigSyntaxError, LaunchedServer, ServerEntry, Transport};

/// Names of the member with a server's URL, in one client or another.
const URLS: [&str; 3] = ["url", "serverUrl", "httpUrl"];
/// Settings that mean the same for a server that the client starts.
const KEPT_SETTINGS: [&str; 14] = [
    "name",
    "description",
    "disabled",
    "enabled",
    "timeout",
    "trust",
    "autoApprove",
    "alwaysAllow",
    "disabledTools",
    "includeTools",
    "excludeTools",
    "gallery",
    "icon",
    "source",
];

/// Syntax that the clients accept: JSON, comments and trailing commas. Reading more than they do
/// would let us change a file that they reject.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn entries(text: &str, servers: &[&[&str]]) -> Result<Vec<ServerEntry>, ConfigSyntaxError> {
    // Editors may write a byte order mark.
    let skipped = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let text = &text[skipped..];
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT);
    let parsed = parsed.map_err(|error| ConfigSyntaxError {
        at: error.range().start + skipped,
        what: error.kind().to_string(),
    })?;
    let Some(root) = parsed.value.as_ref().and_then(Value::as_object) else {
        return Err(ConfigSyntaxError { at: skipped, what: "the file is no object".into() });
    };
    let mut entries = Vec::new();
    for path in servers {
        collect(text, root, path, &mut Vec::new(), &mut entries);
    }
    for entry in &mut entries {
        entry.shift(skipped);
    }
    Ok(entries)
}

fn collect(
    text: &str,
    object: &Object<'_>,
    path: &[&str],
    way: &mut Vec<String>,
    found: &mut Vec<ServerEntry>,
) {
    let Some((first, rest)) = path.split_first() else {
        for property in &object.properties {
            let server = property.name.as_str().to_owned();
            let span = span(&property.value);
            found.push(ServerEntry { server, path: way.clone(), span, way: reached(text, property) });
        }
        return;
    };
    for property in
        object.properties.iter().filter(|property| *first == "*" || property.name.as_str() == *first)
    {
        if let Some(inner) = property.value.as_object() {
            way.push(property.name.as_str().to_owned());
            collect(text, inner, rest, way, found);
            way.pop();
        }
    }
}

fn span(value: &impl Ranged) -> Range<usize> {
    value.range().start..value.range().end
}

fn member<'a, 'b>(object: &'b Object<'a>, name: &str) -> Option<&'b ObjectProp<'a>> {
    object.properties.iter().find(|property| property.name.as_str() == name)
}

fn string(property: Option<&ObjectProp<'_>>) -> Option<String> {
    property?.value.as_string_lit().map(|text| text.value.to_string())
}

fn reached(text: &str, property: &ObjectProp<'_>) -> Transport {
    let other = |why: &str| Transport::Other(why.to_owned());
    let Some(object) = property.value.as_object() else { return other("its settings are no object") };
    let mut names: Vec<&str> = object.properties.iter().map(|property| property.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return other("it has a duplicate setting");
    }
    if let Some(command) = member(object, "command") {
        // Zed also takes an object with a path.
        return match (&command.value, command.value.as_object()) {
            (_, Some(inner)) => match member(inner, "path") {
                Some(path) => started(text, inner, path),
                None => other("its command has no path"),
            },
            _ => started(text, object, command),
        };
    }
    let mut urls = URLS.into_iter().filter_map(|name| member(object, name));
    match (urls.next(), urls.next()) {
        (Some(url), None) => called(text, object, url),
        (Some(_), Some(_)) => other("it has more than one URL"),
        (None, _) => other("it has neither a command nor a URL"),
    }
}

fn started(text: &str, object: &Object<'_>, command: &ObjectProp<'_>) -> Transport {
    let other = |why: &str| Transport::Other(why.to_owned());
    let Some(program) = string(Some(command)) else { return other("its command is no text") };
    let list = member(object, "args");
    let mut command = LaunchedServer {
        command: program,
        command_span: span(&command.value),
        arguments: Vec::new(),
        list: None,
        spans: Vec::new(),
        behind: command.value.range().end,
    };
    if let Some(list) = list {
        let Some(array) = list.value.as_array() else { return other("its args are no list") };
        command.list = Some(span(&list.value));
        for element in &array.elements {
            let Some(argument) = element.as_string_lit() else { return other("one of its args is no text") };
            command.arguments.push(argument.value.to_string());
            command.spans.push(span(element));
        }
    }
    debug_assert!(text.is_char_boundary(command.behind));
    Transport::Command(command)
}

fn called(text: &str, object: &Object<'_>, url: &ObjectProp<'_>) -> Transport {
    let Some(address) = string(Some(url)) else { return Transport::Other("its URL is no text".into()) };
    if let Some(why) = uncallable(&address) {
        return Transport::Other(why);
    }
    let mut http = CalledServer {
        url: address,
        member: span(url),
        headers: Vec::new(),
        kept: Vec::new(),
        strange: Vec::new(),
    };
    for property in &object.properties {
        let name = property.name.as_str();
        match name {
            _ if URLS.contains(&name) => {}
            "type" | "transport" if string(Some(property)).as_deref() == Some("sse") => {
                return Transport::Other(
                    "it uses the HTTP+SSE transport of 2024-11-05, which is not supported".into(),
                );
            }
            "type" | "transport" => {}
            "headers" => {
                for header in property.value.as_object().into_iter().flat_map(|headers| &headers.properties) {
                    match string(Some(header)) {
                        Some(value) => http.headers.push((header.name.as_str().to_owned(), value)),
                        None => http.strange.push(format!("headers.{}", header.name.as_str())),
                    }
                }
            }
            _ if KEPT_SETTINGS.contains(&name) => {
                http.kept.push((name.to_owned(), text[span(&property.value)].to_owned()));
            }
            _ => http.strange.push(name.to_owned()),
        }
    }
    Transport::Http(http)
}

impl ServerEntry {
    /// Moves every place by `by` bytes.
    fn shift(&mut self, by: usize) {
        let moved = |span: &mut Range<usize>| *span = span.start + by..span.end + by;
        moved(&mut self.span);
        match &mut self.way {
            Transport::Command(command) => {
                moved(&mut command.command_span);
                command.list.iter_mut().for_each(moved);
                command.spans.iter_mut().for_each(moved);
                command.behind += by;
            }
            Transport::Http(http) => moved(&mut http.member),
            Transport::Other(_) => {}
        }
    }
}
