use super::*;

fn message(text: &str) -> Message {
    Message::parse(text.to_owned().into())
}

/// A ids with a stateful server that was greeted, and two more clients.
fn greeted_board() -> (IdMap, ClientId, ClientId) {
    let mut ids = IdMap { next: 100, ..IdMap::new() };
    ids.first_says(&message(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#));
    let heard = ids.hears(&message(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#));
    assert_eq!(heard, Heard::first());
    assert!(ids.is_plain());
    let (one, other) = (ids.join([]), ids.join([]));
    (ids, one, other)
}

fn to_server(said: Said) -> String {
    String::from_utf8(said.to_server.expect("it goes on").to_vec()).unwrap()
}

fn heard(heard: Heard) -> Vec<(ClientId, String)> {
    assert!(!heard.first);
    let text = |line: Bytes| String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned();
    heard.others.into_iter().map(|(client, line)| (client, text(line))).collect()
}

#[test]
fn the_same_ids_of_two_clients_do_not_meet() {
    let (mut ids, one, other) = greeted_board();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"p"},"x":1e400}}"#;
    let first = to_server(ids.says(one, &message(call)));
    let second = to_server(ids.says(other, &message(call)));
    assert_eq!(first, call.replace(":1,", ":101,").replace("\"p\"", "\"sc-101\"") + "\n");
    assert_eq!(second, call.replace(":1,", ":102,").replace("\"p\"", "\"sc-102\"") + "\n");
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"sc-102","progress":1}}"#;
    assert_eq!(heard(ids.hears(&message(progress))), [(other, progress.replace("sc-102", "p"))]);
    let answer = |id: u32| message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned();
    assert_eq!(heard(ids.hears(&answer(102))), [(other, expected.clone())]);
    assert_eq!(heard(ids.hears(&answer(101))), [(one, expected)]);
    assert_eq!(ids.hears(&answer(101)), Heard::first(), "it is answered already");
    assert_eq!(ids.hears(&answer(7)), Heard::first(), "that is the first client's");
    assert!(ids.tokens.is_empty() && ids.asked.is_empty());
}

#[test]
fn a_greeting_is_answered_from_the_first_one() {
    let (mut ids, one, _) = greeted_board();
    let said = ids.says(one, &message(r#"{"jsonrpc":"2.0","id":"i","method":"initialize"}"#));
    let answer = said.answer.unwrap();
    assert_eq!(
        answer,
        "{\"jsonrpc\":\"2.0\",\"id\":\"i\",\"result\":{\"protocolVersion\":\"2025-11-25\"}}\n"
    );
    assert_eq!(said.to_server, None);
    let said = ids.says(one, &message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#));
    assert_eq!((said.to_server, said.answer), (None, None));
}

#[test]
fn who_comes_while_the_server_is_greeted_waits_for_its_answer() {
    let mut ids = IdMap::new();
    let one = ids.join([]);
    ids.first_says(&message(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#));
    let said = ids.says(one, &message(r#"{"jsonrpc":"2.0","id":5,"method":"initialize"}"#));
    assert_eq!((said.to_server, said.answer), (None, None));
    let told = ids.hears(&message(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#));
    let line = Bytes::from("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n");
    assert_eq!(told, Heard { others: vec![(one, line)], first: true });
}

#[test]
fn a_subscription_is_its_listeners_and_what_concerns_all_is_everybodys() {
    let (mut ids, one, other) = greeted_board();
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}"#;
    to_server(ids.says(other, &message(listen)));
    let id = r#""_meta":{"io.modelcontextprotocol/subscriptionId":101}"#;
    let told =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{id}}}}}"#);
    assert_eq!(heard(ids.hears(&message(&told))), [(other, told.replace("101", "1"))]);
    let changed = message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let all = ids.hears(&changed);
    assert!(all.first);
    assert_eq!(all.others.iter().map(|(client, _)| *client).collect::<Vec<_>>(), [one, other]);
}

#[test]
fn a_client_cancels_only_what_it_asked() {
    let (mut ids, one, other) = greeted_board();
    to_server(ids.says(one, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    let cancel = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(ids.says(other, &cancel).to_server, None);
    assert!(to_server(ids.says(one, &cancel)).contains(r#""requestId":101"#));
}

#[test]
fn a_question_goes_to_the_only_client_that_waits_and_is_answered_by_it_alone() {
    let (mut ids, one, other) = greeted_board();
    let question = message(r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#);
    let reply = message(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#);
    assert_eq!(ids.hears(&question), Heard::first(), "nobody else waits for anything");
    to_server(ids.says(one, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    assert_eq!(heard(ids.hears(&question))[0].0, one);
    assert_eq!(ids.says(other, &reply).to_server, None);
    to_server(ids.says(one, &reply));
    assert_eq!(ids.says(one, &reply).to_server, None, "it was answered");
    to_server(ids.says(other, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    assert_eq!(ids.hears(&question), Heard::first(), "it cannot be told whose it is");
}

#[test]
fn what_a_client_leaves_behind_is_cancelled_and_answered() {
    let (mut ids, one, other) = greeted_board();
    let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    to_server(ids.says(one, &call));
    ids.hears(&message(r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#));
    to_server(ids.says(other, &call));
    let lines = ids.leave(one);
    let text: Vec<String> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].contains("notifications/cancelled") && text[0].contains("101"), "{text:?}");
    assert!(text[1].contains(r#""id":9"#) && text[1].contains("error"), "{text:?}");
    assert_eq!(ids.asked.len(), 1);
}

#[test]
fn what_could_be_read_in_two_ways_and_batches_are_refused() {
    let (mut ids, one, _) = greeted_board();
    for refused in [
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"}]"#,
    ] {
        let said = ids.says(one, &message(refused));
        assert_eq!(said.to_server, None, "{refused}");
        let answer = Message::parse(said.answer.unwrap());
        assert!(answer.is_rpc(), "{answer:?}");
    }
    assert_eq!(ids.says(one, &message("{oops")).to_server, None);
}

#[test]
fn what_is_cancelled_or_was_under_way_before_counts_for_what_the_server_asks() {
    let (mut ids, one, other) = greeted_board();
    let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let cancel = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    let question = message(r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#);
    to_server(ids.says(one, &call));
    to_server(ids.says(one, &cancel));
    to_server(ids.says(other, &call));
    assert_eq!(heard(ids.hears(&question))[0].0, other, "the other one does not wait any more");
    // It is taken back from whoever was asked.
    let back = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
    assert_eq!(heard(ids.hears(&back))[0].0, other);
    // A late answer to what was cancelled still finds its client.
    assert_eq!(heard(ids.hears(&message(r#"{"jsonrpc":"2.0","id":101,"result":{}}"#)))[0].0, one);
    assert!(ids.cancelled.is_empty());
    ids.join([Id::new("5")]);
    assert_eq!(ids.hears(&question), Heard::first(), "the first client was waiting before");
    ids.first_says(&message(
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#,
    ));
    assert_eq!(heard(ids.hears(&question))[0].0, other);
}
