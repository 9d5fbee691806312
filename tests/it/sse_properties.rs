//! Property tests of the event stream parser: every byte is preserved at every chunk boundary, and
//! the events equal those of the WHATWG algorithm.

use bytes::Bytes;
use proptest::prelude::*;
use shadowcat::mcp::sse::{Event, EventPart, EventSplitter, compose};

/// Generates streams of complete fields, partial fields, and every kind of line end.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        3 => Just(b"data: {\"a\":1}".to_vec()),
        1 => Just(b"data".to_vec()),
        1 => Just(b"data:".to_vec()),
        1 => Just(b"id: 7".to_vec()),
        1 => Just(b"event: message".to_vec()),
        1 => Just(b"retry: 10".to_vec()),
        1 => Just(b": keep-alive".to_vec()),
        1 => Just(b"\xef\xbb\xbf".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn split(stream: &[u8], cuts: &[prop::sample::Index], limit: usize) -> Vec<EventPart> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.push(stream.len());
    places.sort_unstable();
    let mut splitter = EventSplitter::new(limit);
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        splitter.feed(&stream[from..place]);
        from = place;
        pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
    }
    pieces.extend(splitter.finish());
    pieces
}

fn bytes(pieces: &[EventPart]) -> Vec<u8> {
    let of = |piece: &EventPart| match piece {
        EventPart::Event(event) => event.raw.clone(),
        EventPart::Idle(bytes) | EventPart::Start(bytes) | EventPart::More(bytes) | EventPart::End(bytes) => {
            bytes.clone()
        }
    };
    pieces.iter().flat_map(of).collect()
}

/// Name, data and id of an event.
type Fields = (Option<String>, Option<Vec<u8>>, Option<String>);

/// Returns the name, data and id of each event that a client dispatches by the WHATWG algorithm.
fn dispatched(stream: &[u8]) -> Vec<Fields> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let text: String = stream.iter().map(|byte| char::from(*byte)).collect();
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    // The algorithm ignores a last line without a line end.
    let Some((whole, _)) = lines.rsplit_once('\n') else { return Vec::new() };
    let (mut all, mut now, mut any) = (Vec::new(), (None, None::<Vec<u8>>, None), false);
    let narrow = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let wide = |text: &str| String::from_utf8_lossy(&narrow(text)).into_owned();
    for line in whole.split('\n') {
        if line.is_empty() {
            if std::mem::take(&mut any) {
                all.push(std::mem::take(&mut now));
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        any |= !line.starts_with(':');
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut now.1 {
                Some(data) => {
                    data.push(b'\n');
                    data.extend(narrow(value));
                }
                none => *none = Some(narrow(value)),
            },
            "event" => now.0 = Some(wide(value)),
            "id" if !value.contains('\0') => now.2 = Some(wide(value)),
            _ => {}
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn event_splitter_preserves_every_byte(
        stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), limit in 1..60_usize,
    ) {
        prop_assert_eq!(bytes(&split(&stream, &cuts, limit)), stream);
    }

    #[test]
    fn events_match_the_whatwg_algorithm_at_every_cut(
        stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let pieces = split(&stream, &cuts, usize::MAX);
        let found: Vec<_> = pieces
            .into_iter()
            .filter_map(|piece| match piece {
                EventPart::Event(event) => Some((event.name, event.data.map(|data| data.to_vec()), event.id)),
                _ => None,
            })
            .collect();
        prop_assert_eq!(found, dispatched(&stream));
    }

    #[test]
    fn edited_event_keeps_its_other_fields(stream in stream(), data in "[ -~]{0,20}[!-~]") {
        for piece in split(&stream, &[], usize::MAX) {
            let EventPart::Event(event) = piece else { continue };
            let edited = Event::parse(event.with_data(data.as_bytes()));
            prop_assert_eq!(edited.data.as_deref(), Some(data.as_bytes()));
            if event.data.is_some() {
                prop_assert_eq!((edited.name, edited.id, edited.retry), (event.name, event.id, event.retry));
            }
        }
    }

    #[test]
    fn composed_event_parses_to_the_same_data(data in "[ -~\\n]{0,40}[!-~]") {
        let event = Event::parse(compose(data.as_bytes()));
        prop_assert_eq!(event.data, Some(Bytes::from(data)));
    }
}
