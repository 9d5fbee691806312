use super::*;

fn message(text: &str) -> Message {
    Message::parse(text.to_owned().into())
}

/// Returns the attribution of a stateful server after its handshake, with two more clients.
fn after_handshake() -> (Attribution, ClientId, ClientId) {
    let mut clients = Attribution::with_ids(IdMap::counting_from(100));
    clients.observe_first(&message(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#));
    let receivers =
        clients.receivers(&message(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#));
    assert_eq!(receivers, Receivers::first());
    assert!(clients.is_plain());
    let (one, other) = (clients.join([]), clients.join([]));
    (clients, one, other)
}

fn to_server(said: ToServer) -> String {
    String::from_utf8(said.to_server.expect("it goes on").to_vec()).unwrap()
}

fn others(receivers: Receivers) -> Vec<(ClientId, String)> {
    assert!(!receivers.first);
    let text = |line: Bytes| String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned();
    receivers.others.into_iter().map(|(client, line)| (client, text(line))).collect()
}

#[test]
fn same_ids_of_two_clients_are_kept_apart() {
    let (mut clients, one, other) = after_handshake();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"p"},"x":1e400}}"#;
    let first = to_server(clients.outgoing(one, &message(call)));
    let second = to_server(clients.outgoing(other, &message(call)));
    assert_eq!(first, call.replace(":1,", ":101,").replace("\"p\"", "\"sc-101\"") + "\n");
    assert_eq!(second, call.replace(":1,", ":102,").replace("\"p\"", "\"sc-102\"") + "\n");
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"sc-102","progress":1}}"#;
    assert_eq!(others(clients.receivers(&message(progress))), [(other, progress.replace("sc-102", "p"))]);
    let answer = |id: u32| message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned();
    assert_eq!(others(clients.receivers(&answer(102))), [(other, expected.clone())]);
    assert_eq!(others(clients.receivers(&answer(101))), [(one, expected)]);
    assert_eq!(clients.receivers(&answer(101)), Receivers::first(), "it is answered already");
    assert_eq!(clients.receivers(&answer(7)), Receivers::first(), "that is the first client's");
    assert!(clients.pending.is_empty());
}

#[test]
fn a_second_initialize_gets_the_answer_of_the_first() {
    let (mut clients, one, _) = after_handshake();
    let said = clients.outgoing(one, &message(r#"{"jsonrpc":"2.0","id":"i","method":"initialize"}"#));
    let answer = said.answer.unwrap();
    assert_eq!(
        answer,
        "{\"jsonrpc\":\"2.0\",\"id\":\"i\",\"result\":{\"protocolVersion\":\"2025-11-25\"}}\n"
    );
    assert_eq!(said.to_server, None);
    let said = clients.outgoing(one, &message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#));
    assert_eq!((said.to_server, said.answer), (None, None));
}

#[test]
fn a_client_that_joins_during_the_handshake_waits_for_its_answer() {
    let mut clients = Attribution::new();
    let one = clients.join([]);
    clients.observe_first(&message(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#));
    let said = clients.outgoing(one, &message(r#"{"jsonrpc":"2.0","id":5,"method":"initialize"}"#));
    assert_eq!((said.to_server, said.answer), (None, None));
    let told = clients.receivers(&message(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#));
    let line = Bytes::from("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n");
    assert_eq!(told, Receivers { others: vec![(one, line)], first: true });
}

#[test]
fn a_subscription_goes_to_its_client_and_list_changes_go_to_all() {
    let (mut clients, one, other) = after_handshake();
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}"#;
    to_server(clients.outgoing(other, &message(listen)));
    let id = r#""_meta":{"io.modelcontextprotocol/subscriptionId":101}"#;
    let told =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{id}}}}}"#);
    assert_eq!(others(clients.receivers(&message(&told))), [(other, told.replace("101", "1"))]);
    let changed = message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let all = clients.receivers(&changed);
    assert!(all.first);
    assert_eq!(all.others.iter().map(|(client, _)| *client).collect::<Vec<_>>(), [one, other]);
}

#[test]
fn a_client_cancels_only_its_own_requests() {
    let (mut clients, one, other) = after_handshake();
    to_server(clients.outgoing(one, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    let cancel = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(clients.outgoing(other, &cancel).to_server, None);
    assert!(to_server(clients.outgoing(one, &cancel)).contains(r#""requestId":101"#));
}

#[test]
fn a_request_of_the_server_goes_to_the_only_waiting_client() {
    let (mut clients, one, other) = after_handshake();
    let question = message(r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#);
    let reply = message(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#);
    assert_eq!(clients.receivers(&question), Receivers::first(), "nobody else waits for anything");
    to_server(clients.outgoing(one, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    assert_eq!(others(clients.receivers(&question))[0].0, one);
    assert_eq!(clients.outgoing(other, &reply).to_server, None);
    to_server(clients.outgoing(one, &reply));
    assert_eq!(clients.outgoing(one, &reply).to_server, None, "it was answered");
    to_server(clients.outgoing(other, &message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)));
    assert_eq!(clients.receivers(&question), Receivers::first(), "it cannot be told whose it is");
}

#[test]
fn requests_of_a_client_that_left_are_cancelled_and_answered() {
    let (mut clients, one, other) = after_handshake();
    let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    to_server(clients.outgoing(one, &call));
    clients.receivers(&message(r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#));
    to_server(clients.outgoing(other, &call));
    let lines = clients.leave(one);
    let text: Vec<String> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].contains("notifications/cancelled") && text[0].contains("101"), "{text:?}");
    assert!(text[1].contains(r#""id":9"#) && text[1].contains("error"), "{text:?}");
    assert_eq!(clients.pending.iter().count(), 1);
    let late = message(r#"{"jsonrpc":"2.0","id":101,"result":{}}"#);
    assert_eq!(clients.receivers(&late), Receivers::default(), "the first client never asked this");
}

#[test]
fn ambiguous_messages_and_batches_are_refused() {
    let (mut clients, one, _) = after_handshake();
    for refused in [
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"result":{}}]"#,
    ] {
        let said = clients.outgoing(one, &message(refused));
        assert_eq!(said.to_server, None, "{refused}");
        let answer = Message::parse(said.answer.unwrap());
        assert!(answer.is_rpc(), "{answer:?}");
        assert_eq!(answer.elements().len(), 1, "a response needs no answer");
    }
    assert_eq!(clients.outgoing(one, &message("{oops")).to_server, None);
}

#[test]
fn cancelled_and_earlier_requests_count_for_requests_of_the_server() {
    let (mut clients, one, other) = after_handshake();
    let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let cancel = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    let question = message(r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#);
    to_server(clients.outgoing(one, &call));
    to_server(clients.outgoing(one, &cancel));
    to_server(clients.outgoing(other, &call));
    assert_eq!(others(clients.receivers(&question))[0].0, other, "the other one does not wait any more");
    // The cancellation goes to the client that got the request.
    let back = message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
    assert_eq!(others(clients.receivers(&back))[0].0, other);
    // A late answer to a cancelled request still reaches its client.
    assert_eq!(others(clients.receivers(&message(r#"{"jsonrpc":"2.0","id":101,"result":{}}"#)))[0].0, one);
    assert!(clients.cancelled.is_empty());
    clients.join([Id::new("5")]);
    assert_eq!(clients.receivers(&question), Receivers::first(), "the first client was waiting before");
    clients.observe_first(&message(
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#,
    ));
    assert_eq!(others(clients.receivers(&question))[0].0, other);
}
