//! Tests of the links between messages, on sequences of messages.

use super::*;
use Direction::{ToClient, ToServer};

struct Story {
    operations: OperationTracker,
    seq: Seq,
}

impl Story {
    fn new() -> Self {
        Self { operations: OperationTracker::default(), seq: 0 }
    }

    fn say(&mut self, direction: Direction, text: &str) -> Link {
        self.seq += 1;
        let message = Message::parse(format!(r#"{{"jsonrpc":"2.0",{text}}}"#).into());
        assert!(message.is_rpc(), "{text}");
        self.operations.observe(self.seq, direction, None, Correlation::Presumed, &message, false).link
    }
}

#[test]
fn a_call_with_progress_and_answer_is_one_operation() {
    let mut story = Story::new();
    let call =
        story.say(ToServer, r#""id":1,"method":"tools/call","params":{"_meta":{"progressToken":"p"}}"#);
    let progress = story.say(ToClient, r#""method":"notifications/progress","params":{"progressToken":"p"}"#);
    let answer = story.say(ToClient, r#""id":1,"result":{}"#);
    assert_eq!(call.op, Some(OpId(1)));
    assert_eq!((progress.op, progress.role), (call.op, Role::Progress));
    assert_eq!((answer.op, answer.role, answer.to), (call.op, Role::Response, Some(1)));
    assert!(answer.flags.is_empty());
}

#[test]
fn both_sides_may_use_the_same_id() {
    let mut story = Story::new();
    let ours = story.say(ToServer, r#""id":1,"method":"tools/call""#);
    let theirs = story.say(ToClient, r#""id":1,"method":"roots/list""#);
    assert_ne!(ours.op, theirs.op);
    assert_eq!(story.say(ToServer, r#""id":1,"result":{}"#).op, theirs.op);
    assert_eq!(story.say(ToClient, r#""id":1,"result":{}"#).op, ours.op);
}

#[test]
fn late_orphan_duplicate_and_respelled_answers_are_told_apart() {
    let mut story = Story::new();
    story.say(ToServer, r#""id":1,"method":"tools/call""#);
    let cancel = story.say(ToServer, r#""method":"notifications/cancelled","params":{"requestId":1}"#);
    assert_eq!((cancel.op, cancel.role), (Some(OpId(1)), Role::Cancel));
    let late = story.say(ToClient, r#""id":1.0,"result":{}"#);
    assert!(late.flags.has(Flags::LATE) && late.flags.has(Flags::RESPELLED));
    let again = story.say(ToClient, r#""id":1,"result":{}"#);
    assert_eq!((again.op, again.flags), (Some(OpId(1)), Flags::DUPLICATE));
    assert_eq!(story.say(ToClient, r#""id":"1","result":{}"#).flags, Flags::ORPHAN);
}

#[test]
fn an_id_in_flight_twice_is_flagged_and_answered_in_order() {
    let mut story = Story::new();
    let first = story.say(ToServer, r#""id":1,"method":"a""#);
    let second = story.say(ToServer, r#""id":1,"method":"b""#);
    assert_eq!(second.flags, Flags::DUPLICATE);
    assert_eq!(story.say(ToClient, r#""id":1,"result":{}"#).op, first.op);
    assert_eq!(story.say(ToClient, r#""id":1,"result":{}"#).op, second.op);
    let reused = story.say(ToServer, r#""id":1,"method":"a""#);
    assert!(reused.flags.is_empty(), "an ended request's id may be used again");
}

#[test]
fn retry_is_linked_by_its_request_state() {
    let ask = |id: u8, state: &str| {
        format!(r#""id":{id},"result":{{"resultType":"input_required","inputRequests":{{"q":{{}}}}{state}}}"#)
    };
    let mut story = Story::new();
    let call = story.say(ToServer, r#""id":1,"method":"tools/call","params":{"name":"t"}"#);
    let asked = story.say(ToClient, &ask(1, r#","requestState":"s""#));
    assert_eq!((asked.op, asked.role), (call.op, Role::InputRequired));
    let retry =
        r#""id":2,"method":"tools/call","params":{"name":"t","inputResponses":{"q":{}},"requestState":"s"}"#;
    let retry = story.say(ToServer, retry);
    assert_eq!((retry.op, retry.role, retry.to), (call.op, Role::Retry, Some(1)));
    assert_eq!(story.say(ToClient, r#""id":2,"result":{"resultType":"complete"}"#).op, call.op);
}

#[test]
fn server_request_belongs_to_the_only_call_in_flight() {
    let mut story = Story::new();
    let ask = |id: u8| format!(r#""id":{id},"method":"elicitation/create""#);
    assert_eq!(story.say(ToClient, &ask(1)).cause, None, "nothing is in flight");
    let call = story.say(ToServer, r#""id":1,"method":"tools/call""#);
    let asked = story.say(ToClient, &ask(2));
    assert_eq!(asked.cause, Some(Cause { op: OpId(2), presumed: true }));
    assert_ne!(asked.op, call.op, "it is an operation of its own, with its own order under holds");
    assert_eq!(story.say(ToClient, r#""id":3,"method":"ping""#).cause, None, "a ping is nobody's");
    story.say(ToServer, r#""id":2,"method":"tools/list""#);
    assert_eq!(story.say(ToClient, &ask(4)).cause, None, "two are in flight");
}

#[test]
fn an_ambiguous_retry_stays_unlinked() {
    let mut story = Story::new();
    for id in 1..=2 {
        story.say(ToServer, &format!(r#""id":{id},"method":"tools/call","params":{{"name":"t"}}"#));
    }
    for id in 1..=2 {
        let ask = r#""resultType":"input_required","inputRequests":{"q":{}}"#;
        story.say(ToClient, &format!(r#""id":{id},"result":{{{ask}}}"#));
    }
    let retry = story
        .say(ToServer, r#""id":3,"method":"tools/call","params":{"name":"t","inputResponses":{"q":{}}}"#);
    assert_eq!((retry.op, retry.role), (Some(OpId(3)), Role::Request));
}

#[test]
fn subscription_events_belong_to_their_listen() {
    let mut story = Story::new();
    let listen = story.say(ToServer, r#""id":7,"method":"subscriptions/listen""#);
    let event = r#""method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}"#;
    assert_eq!(story.say(ToClient, event).op, listen.op);
}
