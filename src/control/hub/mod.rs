//! Several engines that are looked at as one: their records are told again in one log, in the order
//! of time, and what is wanted goes to the engine that it is about.

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

use super::api::{Facts, Point, Points, Tape};
use super::client::{Client, Notice};
use super::numbers::{Free, Numbers};
use super::sockets;
use crate::clock::{Clock, Stamp};
use crate::engine::{self, Engine, RunningEngine, Who};
use crate::log::breakpoint::{Controller, Snapshot};
use crate::log::record::{Body, Closed, Level, Note, Record, Seq, SessionId};
use crate::log::{Log, store::DEFAULT_BOUND};
use crate::tape::Status;

/// The seat that whoever looks through a hub has in it: in each engine it has another.
pub const OWN_SEAT: u32 = 0;

/// Engines that are looked at as one.
pub struct Hub {
    log: Arc<Log>,
    inner: Arc<Mutex<Inner>>,
    shown: watch::Sender<Snapshot>,
    recording: watch::Sender<Status>,
    running: watch::Sender<Vec<RunningEngine>>,
    /// What the engines know this one as.
    name: String,
    /// Whether it can decide on what is held.
    decides: bool,
}

#[derive(Default)]
struct Inner {
    members: Vec<HubEngine>,
    /// Whose each record of the log is, by its position less one, and which of theirs.
    owners: Vec<Option<(u16, Seq)>>,
    /// The queries of breakpoints, by their number here less one: those of several engines on the same
    /// query are one.
    points: Vec<String>,
    /// Queries that were broken on here: engines that come later break on them too.
    wanted: BTreeSet<String>,
    free: Free,
}

/// One of the engines.
struct HubEngine {
    path: PathBuf,
    machine: Machine,
    facts: Facts,
    client: Client,
    seat: Option<u32>,
    numbers: Numbers,
    points: Points,
    tape: Tape,
    /// Whether it has ended, or cannot be reached any more.
    gone: bool,
    /// How far what it told is behind it.
    behind: Duration,
    /// Its sessions that have not ended, by their number here.
    open: Vec<SessionId>,
    /// Its tape, opened when it is gone and something of it is wanted.
    shelf: Option<Arc<Log>>,
}

/// Where an engine runs. Only here are its files ours to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Ours,
    Other,
}

impl Hub {
    /// A hub without engines, whose log begins at the wall time `anchor`, and the handle on it. It is
    /// known to engines as `name`.
    pub fn new(name: &str, anchor: u64) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        Self::start(name, anchor, true)
    }

    /// The same for one who only looks: nothing is held for it.
    pub fn watching(name: &str, anchor: u64) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        Self::start(name, anchor, false)
    }

    fn start(name: &str, anchor: u64, decides: bool) -> (Arc<Self>, Engine, watch::Receiver<Status>) {
        let log = Log::new(Clock::since(anchor), DEFAULT_BOUND);
        let inner = Arc::<Mutex<Inner>>::default();
        log.set_archive(archive::Archive::new(Arc::clone(&inner)));
        let shown = watch::Sender::new(Snapshot { armed: true, ..Snapshot::default() });
        let (engine, requests) = Engine::new(Arc::clone(&log), shown.subscribe());
        let engine = engine.of(Who { seat: Some(OWN_SEAT), ..Who::person() });
        let engine = engine.numbered(Arc::new(Origins(Arc::clone(&inner))));
        let recording = watch::Sender::new(Status::default());
        let status = recording.subscribe();
        let running = watch::Sender::default();
        let hub = Arc::new(Self { log, inner, shown, recording, running, name: name.to_owned(), decides });
        tokio::spawn(commands::serve(Arc::clone(&hub), requests));
        tokio::spawn(lag::mind(Arc::downgrade(&hub)));
        (hub, engine, status)
    }

    /// Follows what runs.
    pub fn running(&self) -> watch::Receiver<Vec<RunningEngine>> {
        self.running.subscribe()
    }

    /// What engines know this one as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the engine behind the socket at `path` is one of these, and alive.
    pub fn knows(&self, path: &Path) -> bool {
        self.inner.lock().members.iter().any(|member| member.path == path && !member.gone)
    }

    /// How many of the engines live.
    pub fn living(&self) -> usize {
        self.inner.lock().members.iter().filter(|member| !member.gone).count()
    }

    /// The time here of what an engine stamped.
    fn stamp(&self, at: usize, stamp: Stamp) -> Stamp {
        let anchor = self.inner.lock().members[at].facts.anchor;
        let zero = self.log.clock().stamp(anchor);
        zero + Duration::from_nanos(stamp.nanos())
    }

    fn heard(&self, at: usize, notice: Notice) {
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

    /// Tells a record of an engine again.
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
            member.numbers.told(record, seq)
        });
        own(owners, appended.seq, u16::try_from(at).ok().map(|at| (at, record.seq)));
        // What was told can be asked for again.
        self.log.archived(appended.seq);
        if was_idle && !is_idle {
            let running = inner.running();
            self.running.send_replace(running);
        }
    }

    /// Says something of our own.
    fn remark(&self, inner: &mut Inner, session: SessionId, body: Body) {
        let seq = self.log.append(session, body);
        own(&mut inner.owners, seq, None);
    }

    /// Tells what an engine that has ended recorded and did not tell.
    fn read_rest(&self, at: usize) {
        let (path, told, pid) = {
            let inner = self.inner.lock();
            let member = &inner.members[at];
            (member.recording(), member.numbers.last(), member.facts.pid)
        };
        let Some(path) = path else { return };
        wait_for_end(pid);
        let Ok(opened) = crate::tape::open(&path, &mut |_, _| ()) else { return };
        for seq in told + 1..=opened.last {
            if let Some(record) = opened.log.get(seq) {
                self.tell(at, &record);
            }
        }
        self.inner.lock().members[at].shelf = Some(opened.log);
    }

    /// An engine has ended, or cannot be reached any more. What it said stays.
    fn lost(&self, at: usize) {
        let mut inner = self.inner.lock();
        inner.members[at].gone = true;
        let open = std::mem::take(&mut inner.members[at].open);
        if !open.is_empty() {
            let text = format!("the shadowcat of {} does not answer any more", inner.members[at].facts.name);
            let note = Note { frame: None, mark: None, level: Level::Warning, by: "shadowcat".into(), text };
            self.remark(&mut inner, SessionId(0), Body::Note(note));
        }
        for session in open {
            let reason = "its shadowcat does not answer any more".to_owned();
            self.remark(&mut inner, session, Body::Closed(Closed { reason, exit: None }));
        }
        drop(inner);
        self.show();
    }

    /// Shows the breakpoints and recordings of all engines as one.
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

/// What frames are called in the engines that they come from.
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
            let Facts { name, pid, .. } = &member.facts;
            place.is_none_or(|place| name == place || pid.to_string() == place)
        };
        // Of several the newest; whoever means another says which.
        let found = inner.members.iter().rev().filter(is_it).map(|member| member.numbers.seq(seq));
        found.into_iter().find(|local| *local > 0)
    }
}

/// Waits until a process has ended, and with it what it writes; not for long, it may do something else.
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

/// Notes whose the record at `seq` is. The log may have said something by itself before it.
fn own(owners: &mut Vec<Option<(u16, Seq)>>, seq: Seq, owner: Option<(u16, Seq)>) {
    let at = usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
    if owners.len() <= at {
        owners.resize(at + 1, None);
    }
    owners[at] = owner;
}

impl HubEngine {
    /// Its tape, where it is ours to open.
    fn recording(&self) -> Option<PathBuf> {
        self.tape.path.clone().filter(|_| self.machine == Machine::Ours)
    }
}

impl Inner {
    /// The engine of a record and its position there.
    fn owner(&self, seq: Seq) -> Option<(usize, Seq)> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        let (member, remote) = (*self.owners.get(at)?)?;
        Some((usize::from(member), remote))
    }

    /// The number here of the breakpoints on a query.
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
                if Some(controller.seat) == member.seat {
                    decides &= controller.decides;
                } else {
                    *controllers.entry(controller.name.clone()).or_default() |= controller.decides;
                }
            }
        }
        // What is to be broken on in whatever comes next.
        for query in self.wanted.clone() {
            let id = self.point(&query);
            if snapshot.points.iter().all(|point| point.id != id) {
                let point = Point { id, query, enabled: true, hits: 0, patience: 0 };
                snapshot.points.extend(point.breakpoint(id));
            }
        }
        let own = Controller { seat: OWN_SEAT, name: "you".into(), decides };
        let others = (1..).zip(controllers).map(|(seat, (name, decides))| Controller { seat, name, decides });
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
