//! Tests of rendered messages.

use super::*;

fn rows(view: View, text: &str) -> Vec<Vec<(StyleRole, String)>> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let job = RenderJob {
        slot: Slot::Detail,
        seq: 1,
        generation: 1,
        view,
        bytes,
        http: None,
        is_text: false,
        toggled: HashSet::new(),
        width: 80,
    };
    render(&job).rows.into_iter().map(|row| row.spans).collect()
}

fn texts(view: View, text: &str) -> Vec<String> {
    let join = |spans: Vec<(StyleRole, String)>| spans.into_iter().map(|(_, text)| text).collect::<String>();
    rows(view, text).into_iter().map(join).collect()
}

#[test]
fn the_tree_names_every_value_by_its_path() {
    let bytes = Bytes::from_static(br#"{"a":{"b c":[1,"x"]}}"#);
    let job = RenderJob {
        slot: Slot::Detail,
        seq: 1,
        generation: 1,
        view: View::Tree,
        bytes,
        http: None,
        is_text: false,
        toggled: HashSet::new(),
        width: 80,
    };
    let paths: Vec<String> = render(&job).rows.into_iter().filter_map(|row| Some(row.node?.path)).collect();
    assert_eq!(paths, ["$", "$.a", "$.a['b c']", "$.a['b c'][0]", "$.a['b c'][1]"]);
}

#[test]
fn json_is_coloured_by_what_it_is() {
    let roles: Vec<(StyleRole, String)> = rows(View::Pretty, r#"{"k":"v","n":1,"t":true}"#).concat();
    let has = |role: StyleRole, text: &str| roles.iter().any(|(r, t)| *r == role && t.contains(text));
    assert!(has(StyleRole::JsonKey, "k"), "{roles:?}");
    assert!(has(StyleRole::JsonString, "v"), "{roles:?}");
    assert!(has(StyleRole::JsonNumber, "1") && has(StyleRole::JsonLiteral, "true"), "{roles:?}");
}

#[test]
fn non_json_is_shown_with_the_reason() {
    let texts = texts(View::Tree, "DB connected\n");
    assert_eq!(texts[0], "DB connected");
    assert_eq!(texts.last().map(String::as_str), Some("not JSON: expected a value at byte 0"));
}

#[test]
fn hex_shows_bytes_and_their_text() {
    assert_eq!(
        texts(View::Hex, "AB\n")[0],
        "00000000  41 42 0a                                          AB."
    );
}
