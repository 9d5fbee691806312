//! The documentation and the program agree: generated tables, shell blocks, links and lengths.
//! `UPDATE_DOCS=1 cargo test --test it guide` writes the tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shadowcat::log::query::Field;
use shadowcat::tui::command::{Cmd, Pane};

fn keys() -> String {
    let mut table = String::from("| keys | what they do | where |\n|---|---|---|\n");
    for command in Cmd::ALL {
        let keys: Vec<String> =
            command.keys().iter().map(|keys| format!("`{}`", keys.replace('|', "\\|"))).collect();
        let places: Vec<&str> = command.places().iter().map(|place| place.title()).collect();
        let places =
            if places.len() == Pane::ALL.len() { "everywhere".to_owned() } else { places.join(", ") };
        table.push_str(&format!("| {} | {} | {places} |\n", keys.join(" "), command.help()));
    }
    table
}

fn queries() -> String {
    let mut table = String::from("| field | what it looks at |\n|---|---|\n");
    for field in Field::ALL {
        let values = match field.values() {
            [] => String::new(),
            values => {
                format!(": {}", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" "))
            }
        };
        table.push_str(&format!("| `{}:` | {}{values} |\n", field.word(), field.help()));
    }
    table
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the pages of the guide, and the README.
fn pages() -> Vec<PathBuf> {
    fn collect(directory: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, pages),
                false if path.extension().is_some_and(|ending| ending == "md") => pages.push(path),
                false => {}
            }
        }
    }
    let mut pages = vec![root().join("README.md")];
    collect(&root().join("docs/src"), &mut pages);
    pages.sort();
    pages
}

#[test]
fn tables_are_generated_from_the_program() {
    for (page, name, table) in [
        ("keys", "keys", keys()),
        ("queries", "queries", queries()),
        ("doctor", "checks", checks()),
        ("doctor", "causes", causes()),
    ] {
        let path = root().join(format!("docs/src/{page}.md"));
        let before = fs::read_to_string(&path).unwrap();
        let mut text = before.clone();
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let start = text.find(&open).expect("the table has an opening mark") + open.len();
        let end = text.find(&close).expect("the table has a closing mark");
        text.replace_range(start..end, &table);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        } else {
            let command = "UPDATE_DOCS=1 cargo test --test it guide";
            assert!(text == before, "the table of {page}.md is out of date; {command} writes it");
        }
    }
}

/// Returns the table of the doctor's checks.
fn checks() -> String {
    let rows = shadowcat::doctor::CHECKS.iter().map(|check| format!("| `{}` | {} |\n", check.id, check.text));
    format!("| id | question |\n|---|---|\n{}", rows.collect::<String>())
}

/// Returns the table of the causes that the doctor can name.
fn causes() -> String {
    let rows = shadowcat::doctor::CAUSES.iter().map(|cause| {
        let cells = [cause.check, cause.id, cause.verdict.as_str(), cause.what, cause.fix];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| `{}` | `{}` | {} | {} | {} |\n", cells[0], cells[1], cells[2], cells[3], cells[4])
    });
    format!(
        "| check | id | result | what is wrong | what to do |\n|---|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// Returns the bodies of the fenced blocks whose info string is `info`.
fn blocks(text: &str, info: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.trim_start().strip_prefix("```") else { continue };
        let body: Vec<&str> =
            lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
        if found == info {
            blocks.push(body.join("\n"));
        }
    }
    blocks
}

/// Runs the shell blocks of a page in order, as one script in a scratch directory that has `my-server`, a
/// real stdio server. Returns the number of blocks.
fn run_blocks(page: &Path) -> usize {
    let blocks = blocks(&fs::read_to_string(page).unwrap(), "sh");
    if blocks.is_empty() {
        return 0;
    }
    let scratch = tempfile::tempdir().unwrap();
    let home = scratch.path();
    let program = Path::new(crate::support::program());
    // Cargo builds the examples beside the program.
    let server = program.parent().unwrap().join("examples/fixture_server");
    assert!(server.exists(), "{} was not built", server.display());
    fs::create_dir(home.join("bin")).unwrap();
    std::os::unix::fs::symlink(program, home.join("bin/shadowcat")).unwrap();
    let script = format!("#!/bin/sh\nexec '{}' stdio\n", server.display());
    fs::write(home.join("my-server"), script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(home.join("my-server"), executable).unwrap();
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    let script = blocks.join("\n");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(home)
        .env("HOME", home)
        .env("PATH", path)
        .env("SHADOWCAT_DATA_DIR", home.join("data"))
        .env("SHADOWCAT_HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the shell blocks of {} fail with {}:\n{}\n{}",
        page.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    blocks.len()
}

#[test]
fn shell_blocks_run() {
    let run: usize = pages().iter().map(|page| run_blocks(page)).sum();
    assert!(run >= 10, "only {run} blocks were found");
}

#[test]
fn pages_are_in_the_summary_and_links_resolve() {
    let source = root().join("docs/src");
    let summary = fs::read_to_string(source.join("SUMMARY.md")).unwrap();
    let mut linked = BTreeSet::from([source.join("SUMMARY.md"), root().join("README.md")]);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: no file {file}", page.display());
        }
    }
    for link in summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        linked.insert(source.join(link));
    }
    for page in pages() {
        assert!(linked.contains(&page), "{} is not in SUMMARY.md", page.display());
    }
}

#[test]
fn readme_stays_below_the_line_limit() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 130, "README.md has {lines} lines; move details to docs/src");
}

/// Returns the text of a source file, or of all files in a directory.
fn source(path: &Path) -> String {
    match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| source(&entry.unwrap().path())).collect(),
        Err(_) => fs::read_to_string(path).unwrap_or_default(),
    }
}

#[test]
fn types_of_the_design_pages_are_defined_where_they_say() {
    let code = regex::Regex::new(r"`([\w/.]+)`").unwrap();
    let mut missing = Vec::new();
    for (room, _) in crate::house::ROOMS {
        let page = fs::read_to_string(root().join(format!("docs/src/design/{room}.md"))).unwrap();
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').collect();
            let words = |cell: &str| -> Vec<String> {
                code.captures_iter(cell).map(|found| found[1].to_owned()).collect()
            };
            let files: Vec<String> =
                words(cells[2]).into_iter().filter(|file| file.starts_with("src/")).collect();
            let text: String = files.iter().map(|file| source(&root().join(file))).collect();
            let is_type = |name: &String| name.starts_with(char::is_uppercase) && !files.is_empty();
            for name in words(cells[1]).into_iter().filter(is_type) {
                let defined =
                    ["struct", "enum", "trait", "type", "const", "static", "use", "mod"].iter().any(|word| {
                        regex::Regex::new(&format!(r"{word} [^\n]*\b{name}\b")).unwrap().is_match(&text)
                    });
                if !defined {
                    missing.push(format!("{room}.md: {name} is not in {files:?}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_module_has_a_design_page() {
    for (room, _) in crate::house::ROOMS {
        let page = root().join(format!("docs/src/design/{room}.md"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for heading in ["Purpose", "Main types", "Invariants", "How it fails"] {
            assert!(text.contains(&format!("## {heading}")), "{} has no section {heading}", page.display());
        }
    }
}
