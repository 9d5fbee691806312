//! Tests of the frame order under holds, in memory: single cases and random interleavings.

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

#[test]
fn full_lane_reports_full_until_a_frame_leaves() {
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

#[test]
fn cancelling_a_held_request_withdraws_both_frames() {
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
fn held_reply_survives_the_end_of_its_server() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    bench.receive(link.there, &request(1, ""));
    bench.receive(link.there, &request(2, "HOLD"));
    bench.receive(link.back, &response(1, "HOLD"));
    bench.session.end(link.back);
    bench.session.server_gone();
    assert!(!bench.session.is_delivered());
    assert_eq!(bench.session.held().len(), 1, "frames held for the server are dropped");
    bench.session.accept_all("test");
    bench.flush();
    assert_eq!(link.client.bytes(), response(1, "HOLD").as_bytes());
    assert!(bench.session.is_delivered());
}

// === random interleavings ===

#[derive(Debug, Clone)]
enum Step {
    /// Message on the link with index `link`, held by the breakpoint if `hold` is set.
    Say { link: usize, said: Said, hold: bool },
    /// Verdict on the held frame with index `which`, modulo their number.
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

/// Returns the direction and text of a message that `number` makes unique.
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
    bench.session.accept_all("test");
    bench.flush();
    check(&bench, &link);
}

/// Checks that each frame ends exactly once, and that no frame is overtaken within its operation or
/// on a blocked lane.
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
