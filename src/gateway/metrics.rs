//! Metrics of `/metrics`: a fold of the log, in the OpenMetrics 1.0 text format that Prometheus reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::health::UpstreamState;
use crate::clock::Stamp;
use crate::log::record::{Body, Channel, Frame, HELD_BY_ORDER, OpId, Origin, Record, Role, Seq, SessionId};
use crate::log::{Log, Tail};
use crate::mcp::{Direction, Kind, Method};

/// Counters, gauges and histograms of a gateway.
pub struct Metrics {
    registry: Mutex<Registry>,
    processes: Gauge,
    started: Counter<u64, AtomicU64>,
    fold: Mutex<Fold>,
}

/// Media type of [`Metrics::text`] (OpenMetrics 1.0).
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the histogram buckets, in seconds: some tools answer within milliseconds, others take
/// minutes.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Interval at which the log is read; the log keeps more records than arrive in between.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of open requests above which those older than [`LONG`] are forgotten.
const ASKED: usize = 65_536;
/// Age from which an open request may be forgotten.
const LONG: Duration = Duration::from_secs(3600);

/// State of the fold, from which the metrics are computed.
struct Fold {
    tail: Tail,
    sessions: Gauge,
    opened: Counter,
    messages: Family<OfMessage, Counter>,
    requests: Family<OfRequest, Counter>,
    durations: Family<OfMethod, Histogram>,
    responses: Family<OfStatus, Counter>,
    held: Gauge,
    /// Frames that a breakpoint or a rule holds.
    holding: HashSet<Seq>,
    lost: Counter<u64, AtomicU64>,
    open: HashSet<SessionId>,
    /// Requests without an answer: session, time of arrival, and method label.
    asked: HashMap<OpId, (SessionId, Stamp, &'static str)>,
    upstream: UpstreamState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMessage {
    direction: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMethod {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: u16,
}

impl Metrics {
    /// Creates metrics that follow `log` in a background task until they are dropped.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn follow(log: &Arc<Log>) -> Arc<Self> {
        let metrics = Arc::new(Self::new(log.tail(1)));
        let following = Arc::downgrade(&metrics);
        tokio::spawn(async move {
            loop {
                // Poll at an interval: waking up for every record would cost more.
                tokio::time::sleep(POLL_INTERVAL).await;
                let Some(metrics) = following.upgrade() else { return };
                metrics.catch_up();
            }
        });
        metrics
    }

    /// Counts the records that were added since the last call.
    fn catch_up(&self) {
        /// Maximum number of records read at once.
        const BATCH: usize = 1024;
        let mut fold = self.fold.lock();
        loop {
            let records = fold.tail.read(BATCH);
            if records.is_empty() {
                return;
            }
            records.iter().for_each(|record| fold.apply(record));
        }
    }

    fn new(tail: Tail) -> Self {
        let mut registry = Registry::with_prefix("shadowcat");
        let histogram: fn() -> Histogram = || Histogram::new(BOUNDS);
        let fold = Fold {
            tail,
            sessions: Gauge::default(),
            opened: Counter::default(),
            messages: Family::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            responses: Family::default(),
            held: Gauge::default(),
            holding: HashSet::new(),
            lost: Counter::default(),
            open: HashSet::new(),
            asked: HashMap::new(),
            upstream: UpstreamState::default(),
        };
        let (processes, started) = (Gauge::default(), Counter::<u64, AtomicU64>::default());
        registry.register(
            "sessions",
            "Open sessions of clients that identified themselves",
            fold.sessions.clone(),
        );
        registry.register("sessions_opened", "Sessions opened so far", fold.opened.clone());
        registry.register("messages", "JSON-RPC messages on the wire", fold.messages.clone());
        registry.register("requests", "Requests of clients that were answered", fold.requests.clone());
        registry.register(
            "request_duration_seconds",
            "Time from a request of a client to its answer",
            fold.durations.clone(),
        );
        registry.register("http_responses", "Responses given to clients", fold.responses.clone());
        registry.register("held", "Frames held for a decision", fold.held.clone());
        registry.register("records_lost", "Records dropped to keep within memory", fold.lost.clone());
        registry.register("processes", "Server processes that run", processes.clone());
        registry.register("processes_started", "Server processes started so far", started.clone());
        Self { registry: Mutex::new(registry), processes, started, fold: Mutex::new(fold) }
    }

    /// Returns the metrics as text. `processes` holds the numbers of server processes that run and that
    /// were started so far; `None` counts as zero.
    pub fn text(&self, processes: Option<(usize, usize)>) -> String {
        self.catch_up();
        let (running, started) = processes.unwrap_or_default();
        self.processes.set(i64::try_from(running).unwrap_or(i64::MAX));
        // The HTTP adapter counts the processes that it starts: copy its total.
        self.started.inner().store(started as u64, Ordering::Relaxed);
        let mut out = String::new();
        // Writing to a `String` does not fail; ignore the result.
        let _ = text::encode(&mut out, &self.registry.lock());
        out
    }

    /// Returns the state in which the server was last seen.
    pub fn upstream(&self) -> UpstreamState {
        self.catch_up();
        self.fold.lock().upstream.clone()
    }
}

impl Fold {
    fn apply(&mut self, record: &Record) {
        match &record.body {
            // Count a session once its client has identified itself: other sessions were refused, or are
            // shadowcat's own.
            Body::Facts(facts) if facts.side == Direction::ToServer => {
                self.opened.inc_by(u64::from(self.open.insert(record.session)));
            }
            Body::Closed(_) => {
                self.open.remove(&record.session);
                self.asked.retain(|_, (session, ..)| *session != record.session);
            }
            Body::Frame(frame) => self.frame(record, frame),
            Body::Held(hold) if &*hold.by != HELD_BY_ORDER => {
                self.holding.insert(hold.frame);
            }
            Body::Sent(sent) => {
                self.holding.remove(&sent.frame);
            }
            Body::Gap(gap) => drop(self.lost.inc_by(gap.last + 1 - gap.first)),
            _ => {}
        }
        self.sessions.set(i64::try_from(self.open.len()).unwrap_or(i64::MAX));
        self.held.set(i64::try_from(self.holding.len()).unwrap_or(i64::MAX));
    }

    fn frame(&mut self, record: &Record, frame: &Frame) {
        let status = frame.http.as_ref().and_then(|http| http.status);
        if let Some(status) = status.filter(|_| frame.direction == Direction::ToClient) {
            self.upstream = match (frame.origin, frame.message.outcome(&["message"])) {
                (Origin::Answered(_), Some(why)) if matches!(status, 502..=504) => {
                    let why = crate::mcp::json::unescape(why).unwrap_or_default();
                    UpstreamState::Down(why.trim_start_matches("shadowcat: ").to_owned())
                }
                (Origin::Answered(_), _) => std::mem::take(&mut self.upstream),
                _ if status >= 500 => {
                    UpstreamState::Down(format!("the server answered with status {status}"))
                }
                _ => UpstreamState::Up,
            };
            let is_first = frame.http.as_ref().is_some_and(|http| http.event.is_none());
            if is_first {
                self.responses.get_or_create(&OfStatus { status }).inc();
            }
        }
        if frame.channel != Channel::Main || !matches!(frame.origin, Origin::Wire | Origin::Answered(_)) {
            return;
        }
        let all = match frame.message.kind() {
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&frame.message),
        };
        let direction = match frame.direction {
            Direction::ToServer => "to_server",
            Direction::ToClient => "to_client",
        };
        for (message, link) in all.iter().zip(frame.links()) {
            let kind = message.kind().as_str();
            self.messages.get_or_create(&OfMessage { direction, kind }).inc();
            let Some(op) = link.op else { continue };
            match (frame.direction, link.role) {
                (Direction::ToServer, Role::Request | Role::Retry) => {
                    // Clients can invent method names: unknown ones share a label, to bound the number.
                    let method = message.method().and_then(Method::find).map_or("other", |known| known.name);
                    if self.asked.len() >= ASKED {
                        self.asked.retain(|_, (_, at, _)| record.at.since(*at) < LONG);
                    }
                    self.asked.insert(op, (record.session, record.at, method));
                }
                (Direction::ToClient, Role::Response | Role::InputRequired) => {
                    let Some((_, at, method)) = self.asked.remove(&op) else { continue };
                    let outcome = match message.kind() {
                        Kind::Failure { .. } => "error",
                        _ if message.is_error() => "tool_error",
                        _ => "ok",
                    };
                    self.requests.get_or_create(&OfRequest { method, outcome }).inc();
                    let took = record.at.since(at).as_secs_f64();
                    self.durations.get_or_create(&OfMethod { method }).observe(took);
                }
                _ => {}
            }
        }
    }
}
