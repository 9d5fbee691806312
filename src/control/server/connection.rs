//! A connection of one peer: its requests, commands and subscription.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::join::{check_version, first_line, join};
use super::worker::{Job, Work, work};
use super::{BATCH, BATCH_BYTES, ServerState, UNDER_WAY};
use crate::control::api::{Ask, Points, Tape};
use crate::control::schema::{self, Table};
use crate::control::wire::{self, ErrorObject, Incoming};
use crate::engine::{Engine, Who};
use crate::log::{Seq, Tail};
use crate::tape::format::write_record;

/// A connection of one peer.
pub(super) struct Connection {
    shared: Arc<ServerState>,
    /// Handle in the name of the peer; `None` until the peer has sent hello.
    engine: Option<Engine>,
    tail: Option<Subscription>,
}

struct Subscription {
    tail: Tail,
    /// Newest record when the subscription began; `None` once `log/caughtUp` has been sent.
    until: Option<Seq>,
}

impl Connection {
    pub(super) async fn serve(
        mut stream: UnixStream,
        shared: Arc<ServerState>,
        ended: watch::Receiver<bool>,
    ) {
        // Bytes behind the first line may be for the server that the peer attaches to: do not read
        // them.
        let Some(first) = first_line(&mut stream).await else { return };
        let Some((stream, first)) = join(stream, first, &shared).await else { return };
        let (read, write) = stream.into_split();
        let (lines, incoming) = mpsc::channel(UNDER_WAY);
        let reader = tokio::spawn(read_lines(read, lines));
        let mut connection = Self { shared, engine: None, tail: None };
        // `Err` means that the peer is gone, which needs no handling.
        let _ = connection.run(first, write, incoming, ended).await;
        reader.abort();
    }

    /// Serves the connection until the peer has closed its side and received its answers, or is
    /// gone.
    async fn run(
        &mut self,
        first: Vec<u8>,
        mut write: OwnedWriteHalf,
        mut incoming: mpsc::Receiver<io::Result<Vec<u8>>>,
        mut ended: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let (answers, mut outgoing) = mpsc::channel(UNDER_WAY);
        let (jobs, wanted) = mpsc::channel(UNDER_WAY);
        let mut jobs = Some(jobs);
        // The worker outlives this task: it finishes the commands and removes the peer as a
        // controller.
        tokio::spawn(work(Arc::clone(&self.shared), wanted, answers));
        let mut breakpoints = self.shared.engine.watch();
        let mut recording = self.shared.recording.clone();
        let mut early = Some(Ok(first));
        loop {
            let mut says_no_more = false;
            tokio::select! {
                line = next(&jobs, &mut early, &mut incoming) => match line {
                    Some((permit, Ok(line))) => {
                        if let Some(answer) = self.handle_line(&line, permit) {
                            write.write_all(&answer).await?;
                        }
                    }
                    Some((_, Err(error))) => {
                        let failure = ErrorObject::new(wire::INVALID_REQUEST, error.to_string());
                        return write.write_all(&wire::answer(&Value::Null, Err(failure))).await;
                    }
                    None => says_no_more = true,
                },
                line = outgoing.recv() => match line {
                    Some(line) => write.write_all(&line).await?,
                    None => return Ok(()),
                },
                // The engine ends: send the remaining records before closing.
                true = is_true(&mut ended), if self.is_told_everything() => return Ok(()),
                () = new_records(&mut self.tail) => write.write_all(&self.records()).await?,
                Ok(()) = breakpoints.changed(), if self.engine.is_some() => {
                    let points = Points::from(&*breakpoints.borrow_and_update());
                    write.write_all(&wire::notice("breakpoint/changed", &points)).await?;
                }
                Ok(()) = recording.changed(), if self.engine.is_some() => {
                    let tape = Tape::from(&*recording.borrow_and_update());
                    write.write_all(&wire::notice("tape/status", &tape)).await?;
                }
            }
            if says_no_more {
                jobs = None;
            }
        }
    }

    /// Returns `true` if the subscription has no more records to send.
    fn is_told_everything(&self) -> bool {
        self.tail.as_ref().is_none_or(|subscription| subscription.tail.behind() == 0)
    }

    /// Returns the lines of new records, followed by `log/caughtUp` once all earlier records are
    /// sent.
    fn records(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(Subscription { tail, until }) = &mut self.tail else { return out };
        let log = self.shared.engine.log();
        // Records can be large: read them one by one to keep few of them in memory.
        for record in std::iter::from_fn(|| tail.read(1).pop()).take(BATCH) {
            out.extend_from_slice(wire::RECORD.as_bytes());
            write_record(&mut out, &record, log.clock().wall(record.at));
            // Remove the line terminator of `write_record`: this record stands inside a line.
            out.pop();
            out.extend_from_slice(b"}\n");
            if out.len() >= BATCH_BYTES {
                break;
            }
        }
        if let Some(last) = until.filter(|last| tail.position() > *last) {
            *until = None;
            out.extend(wire::notice("log/caughtUp", &json!({ "last": last })));
        }
        out
    }

    /// Handles a request. Returns the answer, or `None` if the worker answers later or no answer is
    /// due.
    fn handle_line(&mut self, line: &[u8], permit: mpsc::Permit<'_, Job>) -> Option<Vec<u8>> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let request: Incoming = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => {
                let code = if error.is_data() { wire::INVALID_REQUEST } else { wire::PARSE_ERROR };
                return Some(wire::answer(&Value::Null, Err(ErrorObject::new(code, error.to_string()))));
            }
        };
        // A message without id is a notification. Peers have no notifications to send: ignore it.
        let id = request.id.clone()?;
        match self.begin(request) {
            Ok(Begun::Now) => Some(wire::answer(&id, Ok(wire::result(&json!({}))))),
            Ok(Begun::Later(work)) => {
                permit.send(Job { id, work });
                None
            }
            Err(failure) => Some(wire::answer(&id, Err(failure))),
        }
    }

    fn begin(&mut self, request: Incoming) -> Result<Begun, ErrorObject> {
        let Incoming { jsonrpc, method, params, .. } = request;
        if jsonrpc != "2.0" {
            return Err(ErrorObject::new(wire::INVALID_REQUEST, "jsonrpc must be \"2.0\""));
        }
        let Some(table) = schema::table(&method) else {
            let text = format!("there is no method {method:?}; `shadowcat ctl schema` lists them");
            return Err(ErrorObject::new(wire::UNKNOWN_METHOD, text));
        };
        let tagged = json!({ "method": method, "params": params.unwrap_or_else(|| json!({})) });
        let wrong =
            |error: serde_json::Error| ErrorObject::new(wire::INVALID_PARAMS, format!("{method}: {error}"));
        let ask = (table == Table::Asks)
            .then(|| serde_json::from_value::<Ask>(tagged.clone()).map_err(wrong))
            .transpose()?;
        if let Some(Ask::Hello { version, name }) = &ask {
            return self.hello(*version, name);
        }
        if let Some(Ask::Attach { .. }) = &ask {
            return Err(ErrorObject::new(
                wire::INVALID_REQUEST,
                "client/attach must be the first message of its connection",
            ));
        }
        let Some(engine) = &self.engine else {
            return Err(ErrorObject::new(wire::INVALID_REQUEST, "the first request must be hello"));
        };
        match ask {
            Some(Ask::Subscribe { from }) => {
                let log = engine.log();
                self.tail = Some(Subscription { tail: log.tail(from), until: Some(log.last()) });
                Ok(Begun::Now)
            }
            Some(Ask::Unsubscribe {}) => {
                self.tail = None;
                Ok(Begun::Now)
            }
            Some(ask) => Ok(Begun::Later(Work::Ask(ask))),
            None => {
                let command = serde_json::from_value(tagged).map_err(wrong)?;
                Ok(Begun::Later(Work::Command(engine.clone(), command)))
            }
        }
    }

    fn hello(&mut self, version: u32, name: &str) -> Result<Begun, ErrorObject> {
        check_version(version)?;
        const LONGEST_NAME: usize = 100;
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        self.engine = Some(self.shared.engine.of(Who { name: name.into(), controller: None }));
        Ok(Begun::Later(Work::Ask(Ask::Facts {})))
    }
}

/// Outcome of the first step of a request.
enum Begun {
    Now,
    Later(Work),
}

/// Returns the next line as soon as there is room for the job that it may contain.
async fn next<'a>(
    jobs: &'a Option<mpsc::Sender<Job>>,
    early: &mut Option<io::Result<Vec<u8>>>,
    incoming: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
) -> Option<(mpsc::Permit<'a, Job>, io::Result<Vec<u8>>)> {
    let Some(jobs) = jobs else { return std::future::pending().await };
    let permit = jobs.reserve().await.ok()?;
    let line = match early.take() {
        Some(line) => line,
        None => incoming.recv().await?,
    };
    Some((permit, line))
}

/// Waits until the value is `true`; returns `false` if the sender was dropped.
async fn is_true(flag: &mut watch::Receiver<bool>) -> bool {
    flag.wait_for(|flag| *flag).await.is_ok()
}

/// Waits until the subscription has something to send.
async fn new_records(subscription: &mut Option<Subscription>) {
    match subscription {
        // No records precede the subscription (e.g. the log is empty): `log/caughtUp` is due at
        // once.
        Some(Subscription { until: Some(last), tail }) if tail.position() > *last => {}
        Some(Subscription { tail, .. }) => tail.changed().await,
        None => std::future::pending().await,
    }
}

async fn read_lines(read: OwnedReadHalf, lines: mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut read = BufReader::new(read);
    loop {
        let next = wire::read_line(&mut read).await.transpose();
        let Some(next) = next else { return };
        let is_last = next.is_err();
        if lines.send(next).await.is_err() || is_last {
            return;
        }
    }
}
