//! Several engines that are presented as one: their records are merged into one log in order of
//! time, and each command goes to the engine that it concerns.

mod archive;
mod arrival;
mod commands;
mod lag;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::api::{EngineFacts, Point, Points, Tape};
use super::client::{ControlClient, Notice};
use super::numbers::{Free, NumberMap};
use super::sockets;
use crate::clock::{Clock, Stamp};
use crate::engine::{self, Engine, RunningEngine, Who};
use crate::log::breakpoint::{Controller, Snapshot};
use crate::log::record::{Body, Closed, Level, Note, Record, Seq, SessionId};
use crate::log::{Log, store::DEFAULT_BOUND};
use crate::tape::Status;

/// Number of the hub's user as a controller of the hub itself; each engine gives the hub another.
pub const OWN_CONTROLLER: u32 = 0;

/// Engines that are presented as one.
pub struct Hub {
    log: Arc<Log>,
    inner: Arc<Mutex<Inner>>,
    shown: watch::Sender<Snapshot>,
    recording: watch::Sender<Status>,
    running: watch::Sender<Vec<RunningEngine>>,
    /// Name under which the engines know the hub.
    name: String,
    /// `true` if the hub registers as a controller of each engine, so that it can decide on held
    /// frames.
    decides: bool,
}

#[derive(Default)]
struct Inner {
    members: Vec<HubEngine>,
    /// Engine of each record of the log and the record's position there, by position minus one;
    /// `None` for records of the hub itself.
    owners: Vec<Option<(u16, Seq)>>,
    /// Queries of breakpoints, by their number in the hub minus one. Breakpoints of several engines
    /// with the same query share a number.
    points: Vec<String>,
    /// Queries of breakpoints that were set in the hub; engines that are attached later get them
    /// too.
    wanted: BTreeSet<String>,
    free: Free,
}

/// An attached engine.
struct HubEngine {
    path: PathBuf,
    machine: Machine,
    facts: EngineFacts,
    client: ControlClient,
    controller: Option<u32>,
    numbers: NumberMap,
    points: Points,
    tape: Tape,
    /// `true` if the engine has ended or cannot be reached any more.
    gone: bool,
    /// Delay between a record in the engine and its arrival here.
    behind: Duration,
    /// Open sessions, by their number in the hub.
    open: Vec<SessionId>,
    /// Log of the engine's tape, opened when the engine does not send a record that is needed.
    shelf: Option<Arc<Log>>,
}

/// The machine on which an engine runs: tapes can only be opened on this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Ours,
    Other,
}

impl Hub {
    /// Creates a hub without engines, whose log begins at the wall-clock time `anchor`
    /// (microseconds since the Unix epoch), and returns it with a handle for front ends and the
    /// state of the recordings. Engines know it as `name`.
    ///
    /// # Panics
    /// If called outside of a Tokio runtime.
    pub fn new(name: &str, anchor: u64) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        Self::start(name, anchor, true)
    }

    /// Creates a hub that only reads, like [`Hub::new`]: it is no controller of the engines, so no
    /// frames are held for it.
    ///
    /// # Panics
    /// If called outside of a Tokio runtime.
    pub fn watching(name: &str, anchor: u64) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        Self::start(name, anchor, false)
    }

    fn start(name: &str, anchor: u64, decides: bool) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        let log = Log::new(Clock::since(anchor), DEFAULT_BOUND);
        let inner = Arc::<Mutex<Inner>>::default();
        log.set_archive(archive::RemoteArchive::new(Arc::clone(&inner)));
        let shown = watch::Sender::new(Snapshot { armed: true, ..Snapshot::default() });
        let (engine, requests) = Engine::new(Arc::clone(&log), shown.subscribe());
        let engine = engine.of(Who { controller: Some(OWN_CONTROLLER), ..Who::person() });
        let engine = engine.numbered(Arc::new(Origins(Arc::clone(&inner))));
        let recording = watch::Sender::new(Status::default());
        let status = recording.subscribe();
        let running = watch::Sender::default();
        let hub = Arc::new(Self { log, inner, shown, recording, running, name: name.to_owned(), decides });
        tokio::spawn(commands::serve(Arc::clone(&hub), requests));
        tokio::spawn(lag::mind(Arc::downgrade(&hub)));
        (hub, engine, status)
    }

    /// Returns a receiver of the list of running engines.
    pub fn running(&self) -> watch::Receiver<Vec<RunningEngine>> {
        self.running.subscribe()
    }

    /// Returns the name under which the engines know the hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if the engine behind the socket at `path` is attached and has not ended.
    pub fn knows(&self, path: &Path) -> bool {
        self.inner.lock().members.iter().any(|member| member.path == path && !member.gone)
    }

    /// Returns the number of attached engines that have not ended.
    pub fn living(&self) -> usize {
        self.inner.lock().members.iter().filter(|member| !member.gone).count()
    }

    /// Converts a time stamp of engine `at` to the clock of the hub.
    fn stamp(&self, at: usize, stamp: Stamp) -> Stamp {
        let anchor = self.inner.lock().members[at].facts.anchor;
        let zero = self.log.clock().stamp(anchor);
        zero + Duration::from_nanos(stamp.nanos())
    }

    fn on_notice(&self, at: usize, notice: Notice) {
        match notice {
            Notice::Record(record) => self.tell(at, &record),
            Notice::CaughtUp => {}
            Notice::Breakpoints(points) => {
                self.inner.lock().members[at].points = points;
                self.show();
            }
            Notice::Tape(tape) => {
                self.inner.lock().members[at].tape = tape;
                self.show();
            }
        }
    }

    /// Appends a record of engine `at` to the log of the hub.
    fn tell(&self, at: usize, record: &Record) {
        let stamp = self.stamp(at, record.at);
        let mut inner = self.inner.lock();
        let Inner { members, owners, free, .. } = &mut *inner;
        let member = &mut members[at];
        let was_idle = member.numbers.sessions().next().is_none();
        member.numbers.learn(record, free);
        let is_idle = member.numbers.sessions().next().is_none();
        let session = member.numbers.session(record.session);
        match &record.body {
            Body::Opened(_) => member.open.push(session),
            Body::Closed(_) => member.open.retain(|open| *open != session),
            _ => {}
        }
        let appended = self.log.append_at(stamp, session, |seq| {
            member.numbers.map(record.seq, seq);
            member.numbers.translated(record, seq)
        });
        own(owners, appended.seq, u16::try_from(at).ok().map(|at| (at, record.seq)));
        // The engine can send this record again, so the log may evict it.
        self.log.archived(appended.seq);
        if was_idle && !is_idle {
            let running = inner.running();
            self.running.send_replace(running);
        }
    }

    /// Appends a record of the hub itself.
    fn remark(&self, inner: &mut Inner, session: SessionId, body: Body) {
        let seq = self.log.append(session, body);
        own(&mut inner.owners, seq, None);
    }

    /// Appends the records that an engine wrote to its tape before it ended, but did not send.
    fn read_rest(&self, at: usize) {
        let (path, newest, pid) = {
            let inner = self.inner.lock();
            let member = &inner.members[at];
            (member.recording(), member.numbers.last(), member.facts.pid)
        };
        let Some(path) = path else { return };
        wait_for_end(pid);
        let Ok(opened) = crate::tape::open(&path, &mut |_, _| ()) else { return };
        for seq in newest + 1..=opened.last {
            if let Some(record) = opened.log.get(seq) {
                self.tell(at, &record);
            }
        }
        self.inner.lock().members[at].shelf = Some(opened.log);
    }

    /// Marks engine `at` as gone and closes its open sessions. Its records stay in the log.
    fn lost(&self, at: usize) {
        let mut inner = self.inner.lock();
        inner.members[at].gone = true;
        let open = std::mem::take(&mut inner.members[at].open);
        if !open.is_empty() {
            let text = format!("the shadowcat of {} no longer answers", inner.members[at].facts.name);
            let note = Note { frame: None, mark: None, level: Level::Warning, by: "shadowcat".into(), text };
            self.remark(&mut inner, SessionId(0), Body::Note(note));
        }
        for session in open {
            let reason = "its shadowcat no longer answers".to_owned();
            self.remark(&mut inner, session, Body::Closed(Closed { reason, exit: None }));
        }
        drop(inner);
        self.show();
    }

    /// Publishes the merged state of the engines: breakpoints, recordings and the list of engines.
    fn show(&self) {
        let mut inner = self.inner.lock();
        let snapshot = inner.snapshot();
        let status = inner.status();
        let running = inner.running();
        drop(inner);
        self.running.send_replace(running);
        self.shown.send_replace(snapshot);
        self.recording.send_replace(status);
    }
}

/// Conversion between frame numbers of the hub and those of its engines.
struct Origins(Arc<Mutex<Inner>>);

impl engine::Numbers for Origins {
    fn there(&self, seq: Seq) -> Option<(Option<String>, Seq)> {
        let inner = self.0.lock();
        let (at, remote) = inner.owner(seq)?;
        let name = &inner.members[at].facts.name;
        let pid = inner.members[at].facts.pid;
        let same = inner.members.iter().filter(|member| member.facts.name == *name).count();
        let place = match (inner.members.len(), same) {
            (0 | 1, _) => None,
            (_, 1) => Some(name.clone()),
            _ => Some(pid.to_string()),
        };
        Some((place, remote))
    }

    fn here(&self, place: Option<&str>, seq: Seq) -> Option<Seq> {
        let inner = self.0.lock();
        let is_it = |member: &&HubEngine| {
            let EngineFacts { name, pid, .. } = &member.facts;
            place.is_none_or(|place| name == place || pid.to_string() == place)
        };
        // Of several matching engines the newest is meant; `place` can select another.
        let found = inner.members.iter().rev().filter(is_it).map(|member| member.numbers.seq(seq));
        found.into_iter().find(|local| *local > 0)
    }
}

/// Waits until a process has ended and written its tape. Gives up after 2 s: the process may go on
/// with other work.
fn wait_for_end(pid: u32) {
    const POLL_INTERVAL: Duration = Duration::from_millis(20);
    const STEPS: u32 = 100;
    for _ in 0..STEPS {
        if !sockets::is_running(pid) {
            return;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Notes the owner of the record at `seq`. The log may have appended gaps of its own before it.
fn own(owners: &mut Vec<Option<(u16, Seq)>>, seq: Seq, owner: Option<(u16, Seq)>) {
    let at = usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
    if owners.len() <= at {
        owners.resize(at + 1, None);
    }
    owners[at] = owner;
}

impl HubEngine {
    /// Returns the path of the engine's tape, if it is on this machine.
    fn recording(&self) -> Option<PathBuf> {
        self.tape.path.clone().filter(|_| self.machine == Machine::Ours)
    }
}

impl Inner {
    /// Returns the engine of the record at `seq` and the record's position there.
    fn owner(&self, seq: Seq) -> Option<(usize, Seq)> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        let (member, remote) = (*self.owners.get(at)?)?;
        Some((usize::from(member), remote))
    }

    /// Returns the hub's number of the breakpoints with this query, which is assigned if needed.
    fn point(&mut self, query: &str) -> u32 {
        let known = self.points.iter().position(|known| known == query);
        let index = known.unwrap_or_else(|| {
            self.points.push(query.to_owned());
            self.points.len() - 1
        });
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    fn snapshot(&mut self) -> Snapshot {
        let living: Vec<usize> = (0..self.members.len()).filter(|at| !self.members[*at].gone).collect();
        let mut snapshot = Snapshot {
            armed: living.is_empty() || living.iter().any(|at| self.members[*at].points.armed),
            everything: living.iter().any(|at| self.members[*at].points.everything),
            ..Snapshot::default()
        };
        let mut controllers: BTreeMap<String, bool> = BTreeMap::new();
        let mut decides = true;
        for at in living {
            for point in self.members[at].points.points.clone() {
                let id = self.point(&point.query);
                match snapshot.points.iter_mut().find(|known| known.id == id) {
                    Some(known) => {
                        known.hits += point.hits;
                        known.enabled |= point.enabled;
                    }
                    None => snapshot.points.extend(point.breakpoint(id)),
                }
            }
            let member = &self.members[at];
            for amended in &member.points.amended {
                let line = Bytes::from(amended.line.clone());
                snapshot.amended.insert(member.numbers.seq(amended.frame), line);
            }
            for controller in &member.points.controllers {
                if Some(controller.id) == member.controller {
                    decides &= controller.decides;
                } else {
                    *controllers.entry(controller.name.clone()).or_default() |= controller.decides;
                }
            }
        }
        // Add the breakpoints that are kept for engines that are attached later.
        for query in self.wanted.clone() {
            let id = self.point(&query);
            if snapshot.points.iter().all(|point| point.id != id) {
                let point = Point { id, query, enabled: true, hits: 0, patience: 0 };
                snapshot.points.extend(point.breakpoint(id));
            }
        }
        let own = Controller { id: OWN_CONTROLLER, name: "you".into(), decides };
        let others = (1..).zip(controllers).map(|(id, (name, decides))| Controller { id, name, decides });
        snapshot.controllers = std::iter::once(own).chain(others).collect();
        snapshot
    }

    fn running(&self) -> Vec<RunningEngine> {
        let living = self.members.iter().filter(|member| !member.gone);
        let running = |member: &HubEngine| RunningEngine {
            name: member.facts.name.clone(),
            mode: member.facts.mode.clone(),
            target: member.facts.target.clone(),
            pid: member.facts.pid,
            is_idle: member.numbers.sessions().next().is_none(),
            behind: member.behind,
        };
        living.map(running).collect()
    }

    fn status(&self) -> Status {
        let living = || self.members.iter().filter(|member| !member.gone).map(|member| &member.tape);
        Status {
            path: living().find_map(|tape| tape.path.clone()),
            bytes: living().map(|tape| tape.bytes).sum(),
            frames: living().map(|tape| tape.frames).sum(),
            failing: living().find_map(|tape| tape.failing.clone()),
            sealed: false,
        }
    }
}
