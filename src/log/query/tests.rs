use super::*;

struct Call {
    message: Message,
    target: &'static str,
}

impl Call {
    fn new() -> Self {
        let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search","arguments":{"q":"is:open","n":3}}}"#;
        Self { message: Message::parse(text.into()), target: "search" }
    }
}

impl Subject for Call {
    fn seq(&self) -> Seq {
        12
    }
    fn direction(&self) -> Direction {
        Direction::ToServer
    }
    fn kind(&self) -> &str {
        "req"
    }
    fn method(&self) -> Option<&str> {
        self.message.method()
    }
    fn target(&self) -> Option<&str> {
        Some(self.target)
    }
    fn size(&self) -> u64 {
        12_000
    }
    fn message(&self) -> Option<Message> {
        Some(self.message.clone())
    }
    fn origin(&self) -> &str {
        "wire"
    }
    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        yes("pending");
        yes("held");
    }
    fn duration(&self) -> Option<Duration> {
        Some(Duration::from_millis(700))
    }
    fn session(&self) -> (u32, &str) {
        (1, "github")
    }
    fn time_of_day(&self) -> u32 {
        12 * 3600 + 3 * 60 + 11
    }
}

fn matches(query: &str) -> bool {
    Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(&Call::new())
}

#[test]
fn terms_match() {
    for query in [
        "",
        "tool:search",
        "tool:sea*",
        "tool:~^se.rch$",
        "tool:x|search",
        "status:error|pending",
        "dur:>500ms",
        "dur:<1s",
        "size:>10k",
        "tok:=3000",
        "id:7",
        "seq:>11",
        "sess:github",
        "sess:1",
        "after:12:03",
        "before:12:04",
        "body:is:open",
        "body:~is:(open|closed)",
        r#"json:$.params.arguments.q=="is:open""#,
        "json:$.params.arguments.n>=3",
        "json:$.params.arguments.q",
        "json:$.params.arguments.q=~^is",
        "search",
        "kind:req dir:c2s",
        "method:ping OR tool:search",
        "method:ping | tool:search",
        "method:ping || tool:search",
        "NOT method:ping",
        "-method:ping (tool:x OR tool:search) AND era:2025 | kind:req",
    ] {
        assert!(matches(query), "{query}");
    }
}

#[test]
fn terms_do_not_match() {
    for query in [
        "tool:searc",
        "-tool:search",
        "NOT (tool:search kind:req)",
        "status:error",
        "dur:>2s",
        "era:2025",
        "after:12:04",
        "json:$.params.arguments.n>3",
        "nowhere",
        "lint:*",
    ] {
        assert!(!matches(query), "{query}");
    }
}

#[test]
fn errors_point_at_the_bad_part() {
    let error = |query: &str| {
        let error = Query::parse(query).unwrap_err();
        (error.span.clone(), error.message)
    };
    assert_eq!(error("tool:x stauts:ok"), (7..13, "no field 'stauts'; did you mean status: ?".into()));
    assert_eq!(error("meth:x").1, "no field 'meth'; did you mean method: ?");
    assert_eq!(error("dur:>soon"), (4..9, "needs a duration such as >500ms, 2s or 1m".into()));
    assert_eq!(error("(tool:x"), (7..7, "a '(' is not closed".into()));
    assert_eq!(error("tool:x)"), (6..7, "unexpected ')'".into()));
    assert_eq!(error("tool:x OR").1, "an operand is missing at the end");
    assert_eq!(error("body:~(").0, 5..7);
    assert!(error("json:nope").1.starts_with("no JSONPath"));
    assert!(error("status:error|method:x").1.starts_with("write status:a|b"));
    for deep in ["(", "-", "NOT "] {
        assert_eq!(error(&deep.repeat(4_000)).1, "nested too deeply");
    }
    let error = error(&"-".repeat(100_000)).1;
    assert!(error.contains("16 KiB") || error.contains("16384"), "{error}");
}

#[test]
fn only_a_literal_method_names_it() {
    let names = |query: &str| Query::parse(query).unwrap().names_method("ping");
    assert!(names("method:ping") && names("kind:req (tool:x OR method:ping|tools/list)"));
    assert!(!names("method:*") && !names("-method:ping") && !names(""));
}

#[test]
fn completes_fields_and_values_seen() {
    let seen = |field: Field| match field {
        Field::Tool => vec!["search".to_owned(), "send".to_owned()],
        _ => Vec::new(),
    };
    let words = |text: &str| {
        let completion = complete(text, text.len(), &seen);
        (completion.span, completion.candidates.into_iter().map(|(word, _)| word).collect::<Vec<_>>())
    };
    assert_eq!(words("kind:req st"), (9..11, vec!["status:".to_owned()]));
    assert_eq!(words("-tool:se"), (6..8, vec!["search".to_owned(), "send".to_owned()]));
    assert_eq!(words("status:ok|er"), (10..12, vec!["error".to_owned()]));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = Query::parse(&text);
        let _ = complete(&text, text.len(), &|_| Vec::new());
    }
}

#[test]
fn a_closed_field_refuses_values_that_it_never_has() {
    for query in ["status:bogus", "dir:up", "kind:request", "origin:wirre", "era:2024", "status:ok|bogus"] {
        let error = Query::parse(query).unwrap_err();
        assert!(error.message.contains(" is one of "), "{query}: {error}");
    }
    for query in ["status:404", "status:5*", "status:OK", "kind:re*", "dir:~^c2", "http:anything", "tool:x"] {
        assert!(Query::parse(query).is_ok(), "{query}");
    }
}

#[test]
fn quotes_protect_separators() {
    assert!(!matches(r#"tool:"search|x""#));
    assert!(matches(r#"tool:"search"|x"#));
    assert!(matches(r#""is:open""#));
    assert!(matches(r#""\"q\":""#));
    assert_eq!(value::unquote(r#""C:\dir""#), r"C:\dir");
}

#[test]
fn a_query_for_arrival_names_what_comes_later() {
    for query in ["dur:>1s", "tool:x -note:y", "rule:r OR tool:x", "status:ok|dropped", "(status:held)"] {
        let error = Query::parse_for_arrival(query).unwrap_err();
        assert!(error.message.contains("not known yet"), "{query}: {error}");
    }
    for query in ["status:error", "lint:*", "status:pending tool:x", "status:4*", ""] {
        assert!(Query::parse_for_arrival(query).is_ok(), "{query}");
    }
}
