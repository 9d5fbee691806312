//! The tables of the README are those of the program. `UPDATE_README=1 cargo test readme` writes
//! them.

use std::path::Path;

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

#[test]
fn the_tables_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let before = std::fs::read_to_string(&path).unwrap();
    let mut text = before.clone();
    for (name, table) in [("keys", keys()), ("queries", queries())] {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let start = text.find(&open).unwrap() + open.len();
        let end = text.find(&close).unwrap();
        text.replace_range(start..end, &table);
    }
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &text).unwrap();
    } else {
        assert!(text == before, "the README's tables are old; UPDATE_README=1 cargo test readme writes them");
    }
}
