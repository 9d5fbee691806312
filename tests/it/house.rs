//! Tests that guard taste: who may use whom, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Every room and the rooms it may use. `cli` may use all.
const ROOMS: [(&str, &[&str]); 22] = [
    ("clock", &[]),
    ("mcp", &[]),
    ("log", &["mcp", "clock"]),
    ("tape", &["mcp", "clock", "log"]),
    ("oauth", &["clock"]),
    ("transport", &["mcp", "clock", "oauth"]),
    ("intercept", &["mcp", "clock", "log"]),
    ("engine", &["mcp", "log"]),
    ("control", &["mcp", "clock", "log", "tape", "engine"]),
    ("session", &["mcp", "clock", "log", "transport", "intercept"]),
    ("stdio", &["mcp", "clock", "log", "transport", "session"]),
    ("client", &["mcp", "log", "transport"]),
    ("host", &["mcp", "clock", "log", "transport", "intercept", "engine", "session", "stdio", "client"]),
    ("http", &["mcp", "clock", "log", "transport", "session", "client", "host"]),
    ("serve", &["mcp", "clock", "log", "transport", "session", "stdio", "client", "host", "http"]),
    ("replay", &["mcp", "clock", "log", "tape", "transport"]),
    ("gateway", &["mcp", "clock", "log", "transport", "session", "host", "http", "serve"]),
    ("clients", &["tape"]),
    ("demo", &["mcp", "clock", "transport"]),
    ("doctor", &["mcp", "log"]),
    ("tui", &["mcp", "clock", "log", "tape", "clients", "engine", "doctor"]),
    (
        "cli",
        &[
            "mcp",
            "clock",
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
fn rooms_use_only_the_rooms_below_them() {
    for (path, text) in all() {
        let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs");
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            assert!(matches!(room, "lib" | "main"), "{room} is in no table");
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
fn the_protocol_room_does_no_io() {
    for (path, text) in all().into_iter().filter(|(path, _)| path.starts_with("mcp")) {
        for forbidden in ["tokio", "std::fs", "std::net", "std::process", "std::thread"] {
            assert!(!text.contains(forbidden), "{} mentions {forbidden}", path.display());
        }
    }
}

#[test]
fn files_fit_one_head() {
    /// Longer files, each with its reason.
    const LONG: [(&str, &str); 1] = [("tape/format.rs", "writing and reading a line side by side")];
    for (path, text) in all() {
        let name = path.to_string_lossy().into_owned();
        let limit = if LONG.iter().any(|(long, _)| *long == name) { 700 } else { 470 };
        let lines = text.lines().count();
        assert!(lines <= limit, "{name} has {lines} lines; split it or name the reason here");
    }
}

#[test]
fn only_the_output_module_prints() {
    for (path, text) in all() {
        for forbidden in ["println!", "print!(", "eprintln!", "eprint!(", "dbg!("] {
            assert!(!text.contains(forbidden), "{} has a {forbidden}", path.display());
        }
    }
}
