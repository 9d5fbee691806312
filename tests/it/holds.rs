//! The order under holds, on the memory pair: by handling, and by random interleavings.

use std::collections::HashMap;

use proptest::prelude::*;
use shadowcat::intercept::Verdict;
use shadowcat::log::record::{Body, Outcome, Seq};
use shadowcat::mcp::Direction;

use crate::support::{Bench, Link};

fn request(id: u32, extra: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t{extra}"}}}}"#) + "\n"
}

fn response(id: u32, extra: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"x":"{extra}"}}}}"#) + "\n"
}

fn cancel(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#) + "\n"
}

const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n";

#[test]
fn others_overtake_a_held_call() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, "HOLD"));
    bench.receive(link.there, PING);
    bench.receive(link.there, &request(2, ""));
    assert_eq!(link.server.bytes(), (PING.to_owned() + &request(2, "")).as_bytes());
    let held = bench.session.held();
    bench.session.decide(held[0], "person", Verdict::Pass).unwrap();
    bench.flush();
    assert!(link.server.bytes().ends_with(request(1, "HOLD").as_bytes()));
}

#[test]
fn a_held_notification_freezes_its_lane_and_the_end_waits() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    let notification = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/HOLD\"}\n";
    bench.receive(link.there, notification);
    bench.receive(link.there, &request(2, ""));
    bench.session.end(link.there);
    assert!(link.server.bytes().is_empty());
    // The other way is free.
    bench.receive(link.back, PING);
    assert_eq!(link.client.bytes(), PING.as_bytes());
    bench.session.release_all("test", &|_| Verdict::Pass);
    bench.flush();
    assert_eq!(link.server.bytes(), (notification.to_owned() + &request(2, "")).as_bytes());
}

#[test]
fn a_cancelled_hold_is_withdrawn_on_both_sides_of_the_story() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, "HOLD"));
    bench.receive(link.there, &cancel(1));
    assert!(link.server.bytes().is_empty() && bench.session.held().is_empty());
    let withdrawn = bench.handling().iter().filter(|line| line.contains("\"outcome\":\"withdrawn\"")).count();
    assert_eq!(withdrawn, 2);
}

#[test]
fn a_held_reply_survives_the_cancellation_of_its_request() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, ""));
    bench.receive(link.back, &response(1, "HOLD"));
    bench.receive(link.there, &cancel(1));
    assert!(link.server.bytes().ends_with(cancel(1).as_bytes()));
    assert_eq!(bench.session.held().len(), 1);
    bench.session.release_all("test", &|_| Verdict::Pass);
    bench.flush();
    assert_eq!(link.client.bytes(), response(1, "HOLD").as_bytes());
}

#[test]
fn a_held_reply_outlives_its_server() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, ""));
    bench.receive(link.there, &request(2, "HOLD"));
    bench.receive(link.back, &response(1, "HOLD"));
    bench.session.end(link.back);
    bench.session.server_gone();
    assert!(!bench.session.is_delivered());
    assert_eq!(bench.session.held().len(), 1, "what was held for the server is dropped");
    bench.session.release_all("test", &|_| Verdict::Pass);
    bench.flush();
    assert_eq!(link.client.bytes(), response(1, "HOLD").as_bytes());
    assert!(bench.session.is_delivered());
}

#[test]
fn a_batch_that_answers_both_of_us_is_taken_apart() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.receive(link.there, &request(1, ""));
    bench.session.inject(Direction::ToServer, br#"{"jsonrpc":"2.0","id":"sc-1","method":"ping"}"#).unwrap();
    bench.flush();
    let theirs = response(1, "x");
    let batch = format!("[{}, {{\"jsonrpc\":\"2.0\",\"id\":\"sc-1\",\"result\":{{}}}}]\n", theirs.trim_end());
    bench.receive(link.back, &batch);
    assert_eq!(link.client.lines(), [format!("[{}]", theirs.trim_end())]);
}

#[test]
fn an_answer_goes_back_and_the_server_never_sees_the_call() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, "HOLD"));
    let held = bench.session.held();
    let answer = response(1, "made up");
    bench.session.decide(held[0], "person", Verdict::Answer(answer.trim_end().to_owned().into())).unwrap();
    bench.flush();
    assert_eq!((link.server.bytes(), link.client.bytes()), (vec![], answer.into_bytes()));
}

#[test]
fn an_edit_keeps_the_terminator_and_the_place() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, "HOLD").replace('\n', "\r\n"));
    let held = bench.session.held();
    bench.session.decide(held[0], "person", Verdict::replace("{oops".into())).unwrap();
    bench.flush();
    assert_eq!(link.server.bytes(), b"{oops\r\n");
    let handling = bench.handling().join("\n");
    assert!(
        handling.contains(r#""origin":"replaced","of":"#) && handling.contains(r#""verdict":"replace""#),
        "{handling}"
    );
}

#[test]
fn our_own_requests_are_answered_to_us_alone() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    let ours = r#"{"jsonrpc":"2.0","id":"sc-1","method":"ping"}"#;
    bench.session.inject(Direction::ToServer, ours.as_bytes()).unwrap();
    bench.flush();
    bench.receive(link.back, "{\"jsonrpc\":\"2.0\",\"id\":\"sc-1\",\"result\":{}}\n");
    // An id that only looks like ours is the peer's.
    let alike = "{\"jsonrpc\":\"2.0\",\"id\":\"sc-2\",\"result\":{}}\n";
    bench.receive(link.back, alike);
    assert_eq!(link.server.lines(), [ours]);
    assert_eq!(link.client.bytes(), alike.as_bytes());
}

#[test]
fn answers_to_our_own_held_request_stay_ours_even_when_it_was_edited() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    let ours = |extra: &str| format!(r#"{{"jsonrpc":"2.0","id":"sc-{extra}","method":"HOLD"}}"#);
    bench.session.inject(Direction::ToServer, ours("1").as_bytes()).unwrap();
    let answer = r#"{"jsonrpc":"2.0","id":"sc-1","result":{}}"#;
    bench.session.decide(bench.session.held()[0], "person", Verdict::Answer(answer.into())).unwrap();
    bench.session.inject(Direction::ToServer, ours("2").as_bytes()).unwrap();
    let edited = r#"{"jsonrpc":"2.0","id":"sc-2","method":"other"}"#;
    bench.session.decide(bench.session.held()[0], "person", Verdict::replace(edited.into())).unwrap();
    bench.flush();
    assert_eq!(link.server.lines(), [edited]);
    bench.receive(link.back, "{\"jsonrpc\":\"2.0\",\"id\":\"sc-2\",\"result\":{}}\n");
    assert!(link.client.bytes().is_empty());
}

#[test]
fn with_nobody_to_decide_nothing_is_held() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.breakpoints.leave(1);
    bench.receive(link.there, &request(1, "HOLD"));
    assert_eq!(link.server.bytes(), request(1, "HOLD").as_bytes());
}

#[test]
fn a_full_lane_is_told_by_its_reader_and_room_comes_back() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.breakpoints.hold_everything(true);
    for id in 0..500 {
        assert!(!bench.session.is_full(link.there));
        bench.receive(link.there, &request(id, ""));
    }
    assert!(bench.session.is_full(link.there) && !bench.session.is_full(link.back));
    bench.session.decide(bench.session.held()[0], "person", Verdict::Pass).unwrap();
    assert!(!bench.session.is_full(link.there));
}

// === random interleavings ===

#[derive(Debug, Clone)]
enum Step {
    /// A message on exchange `link`, held by the breakpoint if `hold`.
    Say { link: usize, said: Said, hold: bool },
    /// A verdict on the n-th held frame.
    Decide { which: usize, drop: bool },
}

#[derive(Debug, Clone, Copy)]
enum Said {
    Request(u32),
    Response(u32),
    ClientNotice,
    ServerNotice,
    Stray,
    Cancel(u32),
}

fn steps(links: usize) -> impl Strategy<Value = Vec<Step>> {
    let id = 1..4_u32;
    let said = prop_oneof![
        4 => id.clone().prop_map(Said::Request),
        4 => id.clone().prop_map(Said::Response),
        1 => Just(Said::ClientNotice),
        1 => Just(Said::ServerNotice),
        1 => Just(Said::Stray),
        1 => id.prop_map(Said::Cancel),
    ];
    let say = (0..links, said, prop::bool::weighted(0.4)).prop_map(|(link, said, hold)| Step::Say {
        link,
        said,
        hold,
    });
    let decide =
        (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, drop)| Step::Decide { which, drop });
    prop::collection::vec(prop_oneof![3 => say, 1 => decide], 1..60)
}

/// A message with a number that makes it unlike any other.
fn text(said: Said, hold: bool, number: usize) -> (Direction, String) {
    let mark = format!("{}{number}", if hold { "HOLD" } else { "" });
    let notice = || format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{mark}\"}}\n");
    match said {
        Said::Request(id) => (Direction::ToServer, request(id, &mark)),
        Said::Response(id) => (Direction::ToClient, response(id, &mark)),
        Said::ClientNotice => (Direction::ToServer, notice()),
        Said::ServerNotice => (Direction::ToClient, notice()),
        Said::Stray => (Direction::ToClient, format!("stray {mark}\n")),
        Said::Cancel(id) => {
            (Direction::ToServer, cancel(id).replace("}}", &format!(",\"reason\":\"{number}\"}}}}")))
        }
    }
}

fn play(links: usize, steps: Vec<Step>) {
    let mut bench = Bench::new();
    bench.break_on("body:HOLD");
    let link: Vec<Link> = (0..links).map(|_| bench.link(links > 1)).collect();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Say { link: at, said, hold } => {
                let (direction, text) = text(said, hold, number);
                let lane = if direction == Direction::ToServer { link[at].there } else { link[at].back };
                bench.receive(lane, &text);
            }
            Step::Decide { which, drop } => {
                let held = bench.session.held();
                if !held.is_empty() {
                    let verdict = if drop { Verdict::Drop } else { Verdict::Pass };
                    bench.session.decide(held[which % held.len()], "test", verdict).unwrap();
                    bench.flush();
                }
            }
        }
    }
    bench.session.release_all("test", &|_| Verdict::Pass);
    bench.flush();
    check(&bench, &link);
}

/// What must hold of every handling.
fn check(bench: &Bench, links: &[Link]) {
    let records = bench.log.window(1, usize::MAX);
    let mut outcomes: HashMap<Seq, Outcome> = HashMap::new();
    for record in &records {
        if let Body::Sent(sent) = &record.body {
            let before = outcomes.insert(sent.frame, sent.outcome);
            assert_eq!(before, None, "frame {} ended twice", sent.frame);
        }
    }
    let frames: Vec<_> = records.iter().filter_map(|record| Some((record.seq, record.frame()?))).collect();
    for (seq, _) in &frames {
        assert!(outcomes.contains_key(seq), "frame {seq} never ended");
    }
    for link in links {
        for (lane, sink) in [(link.there, &link.server), (link.back, &link.client)] {
            let out = sink.bytes();
            let place = |raw: &[u8]| out.windows(raw.len()).position(|window| window == raw);
            let arrived: Vec<_> = frames.iter().filter(|(_, frame)| frame.lane == lane).collect();
            let mut total = 0;
            for (at, (seq, frame)) in arrived.iter().enumerate() {
                let raw = frame.message.raw();
                let forwarded = outcomes[seq] == Outcome::Forwarded;
                assert_eq!(place(raw).is_some(), forwarded, "frame {seq}: {:?}", outcomes[seq]);
                if !forwarded {
                    continue;
                }
                total += raw.len();
                let freezes = frame.link.op.is_none()
                    && raw.windows(4).any(|window| window == b"HOLD")
                    && frame.message.kind().as_str() != "resp";
                for (_, later) in &arrived[at + 1..] {
                    let Some(there) = place(later.message.raw()) else { continue };
                    let same = frame.link.op.is_some() && frame.link.op == later.link.op;
                    if same || freezes {
                        assert!(place(raw) < Some(there), "frame {seq} was overtaken");
                    }
                }
            }
            assert_eq!(total, out.len(), "nothing else was written");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_on_two_lanes_keeps_its_order(steps in steps(1)) {
        play(1, steps);
    }

    #[test]
    fn any_interleaving_on_many_lanes_keeps_its_order(steps in steps(4)) {
        play(4, steps);
    }
}
