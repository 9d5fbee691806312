//! Property tests of the parsers: every byte is preserved, and the JSON scanner agrees with serde_json.

use bytes::Bytes;
use proptest::prelude::*;
use shadowcat::mcp::line::{LinePart, LineSplitter};
use shadowcat::mcp::{Kind, Message, json, layout};

/// Generates any JSON value.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(|number| serde_json::json!(number)),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec(("[a-c\"\\\\é]{0,3}", inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Generates texts that are JSON, almost JSON, or arbitrary.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        value().prop_map(|value| value.to_string()),
        (value(), any::<prop::sample::Index>(), "[\\PC\\n]{0,2}").prop_map(|(value, at, junk)| {
            let mut text = value.to_string();
            let mut place = at.index(text.len() + 1);
            while !text.is_char_boundary(place) {
                place -= 1;
            }
            text.insert_str(place, &junk);
            text
        }),
        "[\\[\\]{}:,\"0-9eE+.\\-tfn \\\\u]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn scanner_accepts_the_same_texts_as_serde_json(text in text()) {
        let ours = json::document(text.as_bytes());
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?} {:?}", text, ours, theirs);
        if let (Ok(span), Ok(raw)) = (ours, theirs) {
            prop_assert_eq!(&text[span], raw.get());
        }
    }

    #[test]
    fn members_and_elements_match_serde_json(value in value()) {
        let text = value.to_string();
        let bytes = text.as_bytes();
        let parse = |span: json::Span| serde_json::from_slice::<serde_json::Value>(&bytes[span]).unwrap();
        match &value {
            serde_json::Value::Array(items) => {
                let ours: Vec<_> = json::elements(bytes, 0..bytes.len()).map(parse).collect();
                prop_assert_eq!(&ours, items);
            }
            serde_json::Value::Object(members) => {
                for (key, item) in members {
                    let span = json::member(bytes, 0..bytes.len(), key);
                    prop_assert_eq!(span.map(parse), Some(item.clone()));
                }
            }
            _ => {}
        }
    }

    #[test]
    fn message_outline_matches_serde_json(
        id in value(), method in "[a-z/]{1,12}", params in value(), which in 0..4_u8,
    ) {
        let text = match which {
            0 => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#),
            1 => format!(r#"{{"params":{params},"method":"{method}","jsonrpc":"2.0"}}"#),
            2 => format!(r#"{{"result":{params},"id":{id},"jsonrpc":"2.0"}}"#),
            _ => format!(r#"{{"error":{params},"id":{id},"jsonrpc":"2.0"}}"#),
        };
        let message = Message::parse(text.clone().into());
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        let same = |span: &json::Span, key: &str| {
            serde_json::from_slice::<serde_json::Value>(message.slice(span.clone())).unwrap() == parsed[key]
        };
        match (which, message.kind()) {
            (0, Kind::Request { id, method, params: Some(params) }) => {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(id.token()).unwrap(), parsed["id"].clone());
                prop_assert_eq!(method.as_ref(), parsed["method"].as_str().unwrap());
                prop_assert!(same(params, "params"));
            }
            (1, Kind::Notification { params: Some(params), .. }) => prop_assert!(same(params, "params")),
            (2, Kind::Response { result, .. }) => prop_assert!(same(result, "result")),
            (3, Kind::Failure { error, .. }) => prop_assert!(same(error, "error")),
            (_, other) => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(message.raw(), text.as_bytes());
    }

    #[test]
    fn any_bytes_parse_to_a_message_that_keeps_them(raw in prop::collection::vec(any::<u8>(), 0..60)) {
        let message = Message::parse(Bytes::from(raw.clone()));
        prop_assert_eq!(message.raw(), &raw);
        let _ = (message.id(), message.target(), message.is_error(), message.body());
    }

    #[test]
    fn pretty_printing_changes_only_white_space(value in value()) {
        let text = value.to_string();
        let laid_out = layout::pretty(&text);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&laid_out).unwrap(), value);
        prop_assert_eq!(layout::one_line(&laid_out), text);
    }

    #[test]
    fn line_splitter_preserves_every_byte(
        stream in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..300),
        cuts in prop::collection::vec(1..40_usize, 1..20),
        limit in 1..50_usize,
    ) {
        let mut splitter = LineSplitter::new(limit);
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            splitter.feed(chunk);
            pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
        }
        pieces.extend(splitter.finish());
        let mut out = Vec::new();
        let mut inside = false;
        for piece in &pieces {
            match piece {
                LinePart::Line(bytes) => {
                    prop_assert!(!inside);
                    let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
                    prop_assert!(newlines <= 1 && (newlines == 0 || bytes.ends_with(b"\n")));
                    out.extend_from_slice(bytes);
                }
                LinePart::Start(bytes) => {
                    prop_assert!(!inside && bytes.len() > limit);
                    inside = true;
                    out.extend_from_slice(bytes);
                }
                LinePart::More(bytes) => {
                    prop_assert!(inside);
                    out.extend_from_slice(bytes);
                }
                LinePart::End(bytes) => {
                    prop_assert!(inside);
                    inside = false;
                    out.extend_from_slice(bytes);
                }
            }
        }
        prop_assert!(!inside);
        prop_assert_eq!(out, stream);
    }
}
