//! Tests of the source layout: which modules may use which, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules, each with the modules that it may use. `cli` may use all of them.
pub const ROOMS: [(&str, &[&str]); 23] = [
    ("clock", &[]),
    ("mcp", &[]),
    ("places", &[]),
    ("log", &["mcp", "clock"]),
    ("tape", &["mcp", "clock", "places", "log"]),
    ("oauth", &["clock"]),
    ("transport", &["mcp", "clock", "oauth"]),
    ("intercept", &["mcp", "clock", "log", "transport"]),
    ("engine", &["mcp", "log"]),
    ("control", &["mcp", "clock", "places", "log", "tape", "engine"]),
    ("session", &["mcp", "clock", "log", "transport", "intercept"]),
    ("stdio", &["mcp", "clock", "log", "transport", "session"]),
    ("client", &["mcp", "log", "transport"]),
    ("host", &["mcp", "clock", "log", "transport", "intercept", "engine", "session", "stdio", "client"]),
    ("http", &["mcp", "clock", "log", "transport", "intercept", "session", "client", "host"]),
    ("serve", &["mcp", "clock", "log", "transport", "session", "stdio", "client", "host", "http"]),
    ("replay", &["mcp", "clock", "log", "tape", "transport"]),
    ("gateway", &["mcp", "clock", "log", "transport", "session", "host", "http", "serve"]),
    ("clients", &["places", "tape"]),
    ("demo", &["mcp", "clock", "transport"]),
    ("doctor", &["mcp", "clock", "log"]),
    ("tui", &["mcp", "clock", "places", "log", "tape", "clients", "engine", "doctor"]),
    (
        "cli",
        &[
            "mcp",
            "clock",
            "places",
            "log",
            "tape",
            "oauth",
            "transport",
            "intercept",
            "engine",
            "control",
            "session",
            "stdio",
            "client",
            "host",
            "http",
            "serve",
            "replay",
            "gateway",
            "clients",
            "demo",
            "doctor",
            "tui",
        ],
    ),
];
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

fn all() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_owned(), text)
    };
    sources(&root).into_iter().map(read).collect()
}

#[test]
fn modules_use_only_their_allowed_modules() {
    for (path, text) in all() {
        let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs");
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            assert!(matches!(room, "lib" | "main"), "{room} is missing from ROOMS");
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("crate::") {
                let used: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let known = ROOMS.iter().any(|(name, _)| *name == used);
                let fine = !known || used == room || allowed.contains(&used.as_str());
                assert!(fine, "{}:{}: {room} must not use {used}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn mcp_module_does_no_io() {
    for (path, text) in all().into_iter().filter(|(path, _)| path.starts_with("mcp")) {
        for forbidden in ["tokio", "std::fs", "std::net", "std::process", "std::thread"] {
            assert!(!text.contains(forbidden), "{} mentions {forbidden}", path.display());
        }
    }
}

#[test]
fn source_files_stay_below_the_line_limit() {
    /// Files that may be longer, each with the reason.
    const LONG: [(&str, &str); 1] = [("tape/format.rs", "writing and reading a line side by side")];
    for (path, text) in all() {
        let name = path.to_string_lossy().into_owned();
        let limit = if LONG.iter().any(|(long, _)| *long == name) { 700 } else { 470 };
        let lines = text.lines().count();
        assert!(lines <= limit, "{name} has {lines} lines; split it or name the reason here");
    }
}

#[test]
fn no_source_file_uses_print_macros() {
    for (path, text) in all() {
        for forbidden in ["println!", "print!(", "eprintln!", "eprint!(", "dbg!("] {
            assert!(!text.contains(forbidden), "{} has a {forbidden}", path.display());
        }
    }
}

/// Rooms with layers: their modules, highest first. A module uses only modules below it. Modules on one line
/// do not use each other.
const LAYERS: [(&str, &[&[&str]]); 5] = [
    (
        "http",
        &[
            &["built_in"],
            &["bridge"],
            &["service"],
            &["exchange"],
            &["injected"],
            &["relay"],
            &["sessions"],
            &["call"],
            &["context", "body", "facts"],
            &["fit"],
        ],
    ),
    (
        "stdio",
        &[
            &["restart", "multiplex", "process"],
            &["lifecycle"],
            &["router", "supervisor"],
            &["reply_queue", "drive", "link"],
        ],
    ),
    ("gateway", &[&["hop", "metrics"], &["health"]]),
    (
        "mcp",
        &[
            &["era", "patch", "schema", "id_map", "handshake"],
            &["remap", "mirror"],
            &["compose", "listing"],
            &["message"],
            &["quirks", "sensitive"],
            &["method", "id"],
            &["json_path"],
            &["tree"],
            &["leaf"],
            &["decimal"],
            &["sse"],
            &["layout"],
            &["json"],
            &["revision", "line", "secret", "token"],
        ],
    ),
    ("replay", &[&["rehearsal", "standin"]]),
];

#[test]
fn modules_use_only_the_layers_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in all() {
        let name = path.to_string_lossy().into_owned();
        let mut parts = name.trim_end_matches(".rs").split('/');
        let (room, module) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some((_, layers)) = LAYERS.iter().find(|(layered, _)| *layered == room) else { continue };
        let level = |module: &str| layers.iter().position(|layer| layer.contains(&module));
        let Some(own) = level(module) else { continue };
        for (number, line) in (1..).zip(text.lines().take_while(|line| !line.contains("#[cfg(test)]"))) {
            let code = line.split("//").next().unwrap_or_default();
            let depth = name.matches('/').count();
            let above = if depth == 1 { "super::".to_owned() } else { "super::super::".to_owned() };
            for prefix in [format!("crate::{room}::"), above] {
                for used in code.split(&prefix).skip(1) {
                    let used: String =
                        used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                    let is_wrong = used != module && level(&used).is_some_and(|used| used <= own);
                    if is_wrong {
                        wrong.push(format!("{name}:{number}: {module} must not use {used}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the comments of a source text: each with its line, its first word, and whether it is documentation.
/// Lines of one comment count once.
fn comments(text: &str) -> Vec<(usize, String, bool)> {
    let mut comments = Vec::new();
    let mut before = "";
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let mark = ["///", "//!", "//"].into_iter().find(|mark| line.starts_with(mark)).unwrap_or_default();
        let body = line[mark.len()..].trim();
        if !mark.is_empty() && mark != before && body.chars().next().is_some_and(char::is_alphabetic) {
            let word: String = body.chars().take_while(|c| c.is_alphanumeric() || *c == '\'').collect();
            comments.push((number, word, mark != "//"));
        }
        before = mark;
    }
    comments
}

#[test]
fn comments_name_their_subject() {
    const PRONOUNS: [&str; 26] = [
        "It",
        "Its",
        "They",
        "Their",
        "Them",
        "Who",
        "Whoever",
        "Nobody",
        "Somebody",
        "Someone",
        "Everybody",
        "Everything",
        "Many",
        "Some",
        "Others",
        "Another",
        "One",
        "Nothing",
        "Those",
        "These",
        "This",
        "That",
        "None",
        "Both",
        "Neither",
        "Such",
    ];
    const CLAUSES: [&str; 8] = ["What", "Whatever", "Whether", "How", "Where", "Why", "Which", "Whose"];
    let (mut count, mut hidden) = (0, Vec::new());
    for (path, text) in all() {
        for (number, word, _) in comments(&text) {
            count += 1;
            if PRONOUNS.contains(&word.as_str()) || CLAUSES.contains(&word.as_str()) {
                hidden.push(format!("{}:{number}: {word} ...", path.display()));
            }
        }
    }
    assert!(count > 3000, "only {count} comments were found");
    let share = 100 * hidden.len() / count;
    assert!(share < 3, "{} of {count} comments hide their subject:\n{}", hidden.len(), hidden.join("\n"));
}
