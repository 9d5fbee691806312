//! Tests of interceptors and the pipeline: pending verdicts, batches, amendments, and a chain that
//! is replaced while sessions run.

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use shadowcat::intercept::{Chain, Inspected, Interceptor, Ruling, Verdict, priority};
use shadowcat::log::record::{Body, VerdictKind};
use tokio::sync::oneshot;

use crate::support::Bench;

/// Interceptor whose verdict on a message of `tool` arrives through a channel.
struct Slow {
    tool: &'static str,
    verdict: Mutex<Option<oneshot::Receiver<Verdict>>>,
}

impl Interceptor for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
        let is_mine = frame.messages().any(|message| message.target() == Some(self.tool));
        let verdict = is_mine.then(|| self.verdict.lock().unwrap().take()).flatten()?;
        Some(Ruling::later(async move { verdict.await.unwrap_or(Verdict::Pass) }))
    }
}

/// Interceptor that drops every message of a tool.
struct Block(&'static str);

impl Interceptor for Block {
    fn name(&self) -> &str {
        "block"
    }

    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
        frame.messages().any(|message| message.target() == Some(self.0)).then(|| Verdict::Drop.into())
    }
}

fn call(id: u32, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn slow(bench: &Bench) -> oneshot::Sender<Verdict> {
    let (sender, receiver) = oneshot::channel();
    let slow = Slow { tool: "slow", verdict: Mutex::new(Some(receiver)) };
    let chain = Chain::of_breakpoints(&bench.breakpoints).with(priority::RULES, Arc::new(slow));
    bench.chain.replace(chain);
    sender
}

#[tokio::test]
async fn only_its_interceptor_resolves_a_pending_verdict() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    let verdict = slow(&bench);
    bench.receive(link.there, &line(&call(1, "slow")));
    bench.receive(link.there, &line(&call(2, "other")));
    assert_eq!(link.server.lines(), [call(2, "other")], "other frames overtake the pending one");
    // The pending frame is released neither by accept-all nor by the last detach.
    bench.session.accept_all("test");
    assert!(bench.session.held().is_empty(), "a pending frame does not count as held");
    assert!(bench.session.is_deciding());
    bench.breakpoints.controllers().detach(1).unwrap();
    bench.session.accept_all("nobody decides");
    bench.flush();
    assert_eq!(link.server.lines().len(), 1);
    verdict.send(Verdict::replace(Bytes::from(call(1, "changed")))).unwrap();
    bench.run_pending().await;
    assert_eq!(link.server.lines(), [call(2, "other"), call(1, "changed")]);
    let ruled: Vec<(String, VerdictKind)> = bench
        .log
        .window(1, usize::MAX)
        .iter()
        .filter_map(|record| match &record.body {
            Body::Ruled(ruled) => Some((ruled.by.to_string(), ruled.verdict)),
            _ => None,
        })
        .collect();
    let slow = |verdict| ("slow".to_owned(), verdict);
    assert_eq!(
        ruled,
        [slow(VerdictKind::Delay), slow(VerdictKind::Replace)],
        "both verdicts name their interceptor"
    );
}

#[tokio::test]
async fn user_overrides_a_pending_verdict_by_frame_number() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    let verdict = slow(&bench);
    bench.receive(link.there, &line(&call(1, "slow")));
    let frame = bench.log.last() - 1;
    assert!(bench.session.held_frame(frame).is_some());
    bench.session.decide(frame, "person", Verdict::Pass).unwrap();
    bench.flush();
    verdict.send(Verdict::Drop).unwrap();
    bench.run_pending().await;
    assert_eq!(link.server.lines(), [call(1, "slow")], "the verdict of the interceptor comes too late");
}

#[tokio::test]
async fn a_pending_request_is_withdrawn_when_its_sender_cancels_it() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    let verdict = slow(&bench);
    bench.receive(link.there, &line(&call(1, "slow")));
    bench.receive(
        link.there,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n",
    );
    verdict.send(Verdict::Pass).unwrap();
    bench.run_pending().await;
    assert!(link.server.lines().is_empty());
    assert!(!bench.session.is_deciding());
}

#[test]
fn a_batch_does_not_bypass_a_breakpoint_on_a_tool() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("tool:rm");
    let batch = format!("[{}, {}]\n", call(1, "ls"), call(2, "rm"));
    bench.receive(link.there, &batch);
    assert!(link.server.bytes().is_empty(), "the whole batch is held");
    bench.session.accept_all("test");
    bench.flush();
    assert_eq!(link.server.bytes(), batch.as_bytes());
    // The answer is a batch as well, and each element belongs to its call.
    let answer =
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}},{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}]\n";
    bench.receive(link.back, answer);
    assert_eq!(bench.session.held().len(), 1, "the batch with the reply to rm is held");
}

#[test]
fn a_batch_does_not_bypass_an_interceptor() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.chain.replace(Chain::new().with(priority::POLICIES, Arc::new(Block("rm"))));
    bench.receive(link.there, &format!("[{}]\n", call(1, "rm")));
    bench.receive(link.there, &format!("[{}]\n", call(2, "ls")));
    assert_eq!(link.server.lines(), [format!("[{}]", call(2, "ls"))]);
}

#[test]
fn replaced_chain_applies_to_new_frames_but_not_to_held_ones() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("tool:rm");
    bench.receive(link.there, &line(&call(1, "rm")));
    bench.chain.replace(Chain::of_breakpoints(&bench.breakpoints).with(-200, Arc::new(Block("rm"))));
    bench.session.accept_all("test");
    bench.flush();
    assert_eq!(link.server.lines(), [call(1, "rm")], "the frame arrived under the previous chain");
    bench.breakpoints.arm(false);
    bench.receive(link.there, &line(&call(2, "rm")));
    assert_eq!(link.server.lines(), [call(1, "rm")]);
}

#[test]
fn amendment_is_recorded_and_forwarded_once_accepted() {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("tool:rm");
    bench.receive(link.there, &line(&call(1, "rm")));
    let frame = bench.session.held()[0];
    bench.session.amend(frame, "ann", Bytes::from(call(1, "ls"))).unwrap();
    bench.session.amend(frame, "bob", Bytes::from(call(1, "df"))).unwrap();
    assert_eq!(bench.breakpoints.watch().borrow().amended[&frame], call(1, "df").as_bytes());
    let amended: Vec<String> =
        bench.handling().into_iter().filter(|line| line.contains("\"r\":\"amended\"")).collect();
    assert_eq!(amended.len(), 2);
    assert!(amended[0].contains("\"by\":\"ann\"") && amended[0].contains(&call(1, "ls")), "{}", amended[0]);
    bench.session.accept(frame, "ann").unwrap();
    bench.flush();
    assert_eq!(link.server.lines(), [call(1, "df")]);
    assert!(bench.breakpoints.watch().borrow().amended.is_empty());
    assert!(bench.session.amend(frame, "ann", Bytes::new()).is_err(), "the frame is no longer held");
}
