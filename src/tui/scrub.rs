//! Playhead: the position that the screen shows in a recording, or in a session that still grows.
//!
//! The cursor of the list and the playhead are one position: each follows the other.

use std::time::Duration;

use crate::clock::{Clock, Stamp};
use crate::log::Log;
use crate::log::record::{FrameKind, Note, Seq};
use crate::log::world::{OperationSummary, Row, World};
use crate::mcp::{Direction, json};
use crate::tape::player::{Player, Speed};

/// State of the playhead, and the timeline and the card around it.
pub struct Scrub {
    /// Player that moves the playhead.
    pub player: Player,
    /// Frame to which the player was moved last.
    at: Option<Seq>,
    /// Number of times that the visible time span was halved.
    pub zoom: u32,
    /// Timeline.
    pub lanes: Lanes,
    /// State at the playhead.
    pub card: Card,
}

/// Timeline of a recording: counts for each column of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes {
    /// Beginning of the visible time span.
    pub from: Stamp,
    /// End of the visible time span.
    pub until: Stamp,
    width: usize,
    rows: usize,
    /// Numbers of frames to the server, without notifications and stderr.
    pub to_server: Vec<u32>,
    /// Numbers of frames to the client, without notifications and stderr.
    pub to_client: Vec<u32>,
    /// Numbers of notifications.
    pub notices: Vec<u32>,
    /// Numbers of lines on stderr.
    pub stderr: Vec<u32>,
    /// Numbers of errors.
    pub errors: Vec<u32>,
    /// Numbers of frames that were held at some time.
    pub held: Vec<u32>,
    /// Numbers of operations in flight during the column.
    pub in_flight: Vec<u32>,
    /// Operations that are drawn one by one, as far as there is room.
    pub spans: Vec<OperationSpan>,
}

/// Operation in the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationSpan {
    /// Number of the operation.
    pub op: u32,
    /// First column.
    pub from: usize,
    /// Last column.
    pub until: usize,
    /// Row that the operation is drawn in, less than [`SLOTS`].
    pub slot: usize,
}

/// Number of rows for operations that are drawn one by one.
pub const SLOTS: usize = 2;

/// State at the playhead, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    at: Option<(Seq, Seq)>,
    /// Open sessions.
    pub sessions: Vec<SessionSummary>,
    /// Operations without an answer: number, description and start.
    pub in_flight: Vec<(u32, String, Stamp)>,
    /// Number of further operations without an answer.
    pub more: usize,
    /// Subscriptions in force.
    pub subscriptions: Vec<String>,
    /// Estimated number of tokens so far: bytes divided by four.
    pub tokens: u64,
}

/// Session at the playhead, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// Name and number of the session.
    pub title: String,
    /// Protocol version, or else the era.
    pub era: String,
    /// Client and server, as far as known: name and capabilities.
    pub sides: Vec<(String, String)>,
    /// Names of the tools in the newest list.
    pub tools: Vec<String>,
    /// Names of the tools that the first list did not have.
    pub added: Vec<String>,
    /// Names of the tools that only the first list had.
    pub removed: Vec<String>,
}

/// Maximum number of operations in flight that are described.
const NAMED: usize = 12;

impl Scrub {
    /// Creates a playhead at the beginning that plays by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            player: Player::new(clock, Speed::NORMAL),
            at: None,
            zoom: 0,
            lanes: Lanes::default(),
            card: Card::default(),
        }
    }

    /// Moves the player to the cursor if the cursor was moved.
    pub fn follow(&mut self, world: &World, selected: Option<Seq>) {
        if selected == self.at {
            return;
        }
        self.at = selected;
        if let Some(place) = selected.and_then(|seq| world.row_index(seq)) {
            self.player.step_to(place, &world.rows[..]);
        }
    }

    /// Advances the player and returns the last frame that it passed, if any.
    pub fn advance(&mut self, world: &World) -> Option<Seq> {
        let came = self.player.advance(&world.rows[..]);
        let seq = world.rows.get(came.end.checked_sub(1)?).filter(|_| !came.is_empty())?.seq;
        Some(seq)
    }

    /// Stores the frame under the cursor after the cursor followed the player.
    pub fn arrived(&mut self, selected: Option<Seq>) {
        self.at = selected;
    }

    /// Returns `true` if there is nothing left to play.
    pub fn is_over(&self, world: &World) -> bool {
        self.player.passed() >= world.rows.len()
    }

    /// Returns the time until the next frame is due; `None` if the player is paused or at the end.
    pub fn wait(&self, world: &World) -> Option<Duration> {
        self.player.wait(&world.rows[..])
    }

    /// Returns the time of the playhead, which moves between frames while it plays.
    pub fn time(&self, world: &World, selected: Option<Seq>) -> Stamp {
        // A playhead that was stopped between two frames stays there.
        match self.player.is_playing() || (selected.is_some() && selected == self.at) {
            true => self.player.position().min(world.now),
            false => selected.and_then(|seq| world.row(seq)).map_or(world.now, |row| row.at),
        }
    }

    /// Redraws the timeline if it has changed, `width` columns wide and around `time`.
    pub fn picture(&mut self, world: &World, width: usize, time: Stamp) {
        let begin = world.rows.first().map_or(Stamp::default(), |row| row.at);
        let whole = world.now.max(time).since(begin).max(Duration::from_millis(1));
        let shown = whole / 2_u32.pow(self.zoom.min(20));
        let from = match self.zoom {
            0 => begin,
            _ => {
                // The window moves only when the playhead leaves its middle, not with every step.
                let old = self.lanes.from;
                let inside = time >= old + shown / 8 && time <= old + shown * 7 / 8;
                let same = self.lanes.until.since(old) == shown;
                let around = Stamp::from_nanos(time.nanos().saturating_sub(nanos(shown / 2)));
                if inside && same { old } else { around.max(begin) }
            }
        };
        let until = from + shown;
        // A large session that grows is redrawn only after it has grown by 2 %.
        let grown = world.rows.len() - self.lanes.rows.min(world.rows.len());
        let fresh = grown * 50 <= world.rows.len() && (grown == 0 || world.rows.len() > 50_000);
        let same_window = self.zoom == 0 && self.lanes.from == from || self.lanes.until == until;
        if self.lanes.width == width && self.lanes.from == from && same_window && fresh {
            return;
        }
        self.lanes = Lanes::draw(world, width, from, until);
    }

    /// Rewrites the card if the position or the world has changed.
    pub fn describe(&mut self, world: &World, log: &Log, seq: Seq) {
        if self.card.at != Some((seq, world.last)) {
            self.card = Card::new(world, log, seq);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Lanes {
    fn draw(world: &World, width: usize, from: Stamp, until: Stamp) -> Self {
        let none = || vec![0; width];
        let mut lanes = Self {
            from,
            until,
            width,
            rows: world.rows.len(),
            to_server: none(),
            to_client: none(),
            notices: none(),
            stderr: none(),
            errors: none(),
            held: none(),
            in_flight: none(),
            spans: Vec::new(),
        };
        if width == 0 {
            return lanes;
        }
        let first = world.rows.partition_point(|row| row.at < from);
        let last = world.rows.partition_point(|row| row.at <= until);
        for row in &world.rows[first..last] {
            let Some(column) = lanes.column(row.at) else { continue };
            let lane = match (row.kind, row.direction) {
                (FrameKind::Stderr, _) => &mut lanes.stderr,
                (FrameKind::Notification, _) => &mut lanes.notices,
                (_, Direction::ToServer) => &mut lanes.to_server,
                (_, Direction::ToClient) => &mut lanes.to_client,
            };
            lane[column] += 1;
            lanes.errors[column] += u32::from(row.is_error);
        }
        for seq in world.held_ever() {
            if let Some(column) = world.row(seq).and_then(|row| lanes.column(row.at)) {
                lanes.held[column] += 1;
            }
        }
        lanes.operations(world);
        lanes
    }

    /// Returns the column of a time; `None` if the time is not visible.
    pub fn column(&self, time: Stamp) -> Option<usize> {
        let shown = self.until.since(self.from).as_nanos().max(1);
        if time < self.from || time > self.until || self.width == 0 {
            return None;
        }
        let at = time.since(self.from).as_nanos() * (self.width as u128 - 1) / shown;
        usize::try_from(at).ok()
    }

    fn operations(&mut self, world: &World) {
        let mut free = [0; SLOTS];
        let mut change = vec![0_i64; self.width + 1];
        for operation in world.operations.iter() {
            let end = end_of(operation, world);
            if end < self.from || operation.started > self.until {
                continue;
            }
            // An operation that began earlier is drawn from the left edge.
            let from = self.column(operation.started).unwrap_or(0);
            let until = self.column(end).unwrap_or(self.width - 1);
            change[from] += 1;
            change[until + 1] -= 1;
            let label = operation.id.0.to_string().len() + 2;
            let slot = (0..SLOTS).find(|slot| free[*slot] <= from);
            if let Some(slot) = slot.filter(|_| until >= from + label) {
                free[slot] = until + 1;
                self.spans.push(OperationSpan { op: operation.id.0, from, until, slot });
            }
        }
        let mut running = 0;
        for (column, change) in change.iter().take(self.width).enumerate() {
            running += change;
            self.in_flight[column] = u32::try_from(running).unwrap_or(0);
        }
    }
}

fn end_of(operation: &OperationSummary, world: &World) -> Stamp {
    operation.ended().unwrap_or_else(|| match world.sessions.get(&operation.session) {
        Some(session) => session.closed_at.map_or(world.now, |(_, at)| at),
        None => world.now,
    })
}

impl Card {
    fn new(world: &World, log: &Log, seq: Seq) -> Self {
        let moment = world.moment(seq);
        let what = |row: &Row| {
            let method = world.text(row.method).unwrap_or("?");
            world.text(row.target).map_or_else(|| method.to_owned(), |target| format!("{method} {target}"))
        };
        let sessions = moment.sessions.iter().map(|session| {
            let sides = [("client", session.client), ("server", session.server)];
            let sides = sides.into_iter().filter_map(|(side, facts)| {
                let facts = facts?;
                let name = facts.name.as_deref().unwrap_or("?");
                let release = facts.release.as_deref().unwrap_or_default();
                let can = facts.capabilities.as_deref().map(keys).unwrap_or_default();
                Some((format!("{side} {name} {release}"), can.join(" ")))
            });
            let facts = session.server.or(session.client);
            let era = facts.and_then(|facts| facts.version.clone().or(facts.era.map(|era| era.to_string())));
            let tools = tools(log, &session.tools);
            let first = tools_if(log, &session.first_tools, &session.tools);
            let missing = |from: &[String], all: &[String]| -> Vec<String> {
                all.iter().filter(|tool| !from.contains(tool)).cloned().collect()
            };
            SessionSummary {
                title: format!("{} s{}", session.name, session.session.0),
                era: era.unwrap_or_else(|| "era not known yet".into()),
                sides: sides.collect(),
                added: first.as_deref().map(|first| missing(first, &tools)).unwrap_or_default(),
                removed: first.as_deref().map(|first| missing(&tools, first)).unwrap_or_default(),
                tools,
            }
        });
        let named =
            moment.in_flight.iter().take(NAMED).filter_map(|operation| {
                Some((operation.id.0, what(world.first(operation)?), operation.started))
            });
        let until = world.rows.partition_point(|row| row.seq <= seq);
        Self {
            at: Some((seq, world.last)),
            sessions: sessions.collect(),
            in_flight: named.collect(),
            more: moment.in_flight.len().saturating_sub(NAMED),
            subscriptions: moment.subscriptions.iter().map(|row| what(row)).collect(),
            tokens: world.rows[..until].iter().map(|row| row.size).sum::<u64>() / 4,
        }
    }
}

/// Returns the names of the tools on the pages of a list.
fn tools(log: &Log, pages: &[Seq]) -> Vec<String> {
    let mut names = Vec::new();
    for record in pages.iter().filter_map(|page| log.get(*page)) {
        let Some(list) = record.frame().and_then(|frame| frame.message.outcome(&["tools"])) else { continue };
        for tool in json::elements(list, 0..list.len()) {
            let name = json::lookup(list, tool, &["name"]);
            names.extend(name.and_then(|name| Some(json::unescape(&list[name])?.into_owned())));
        }
    }
    names
}

/// Returns the names of the tools, unless the pages are those of the `known` list.
fn tools_if(log: &Log, pages: &[Seq], known: &[Seq]) -> Option<Vec<String>> {
    (pages != known).then(|| tools(log, pages))
}

fn keys(object: &str) -> Vec<String> {
    let text = object.as_bytes();
    let key = |member: json::Member| Some(json::unescape(&text[member.key])?.into_owned());
    json::members(text, 0..text.len()).filter_map(key).collect()
}

/// Returns the bookmarks of a world, the newest for each letter, in the order of their frames.
pub fn bookmarks(world: &World) -> Vec<(char, Seq, &str)> {
    let mut marks: Vec<(char, Seq, &str)> = Vec::new();
    for (_, _, _, Note { frame, mark, text, .. }) in &world.notes {
        if let (Some(frame), Some(mark)) = (frame, mark) {
            marks.retain(|(other, ..)| other != mark);
            marks.push((*mark, *frame, text));
        }
    }
    marks.sort_by_key(|(_, frame, _)| *frame);
    marks
}
