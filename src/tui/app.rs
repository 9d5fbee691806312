//! The state of the screen, and the one way in which it changes: [`App::update`], which is pure
//! but for reading the log. What has to happen outside comes out as [`Effect`]s.

use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind, MouseEvent};
use ratatui::layout::Rect;
use tokio::sync::watch;

use super::ask::Ask;
use super::chord::Chord;
use super::command::Place;
use super::composer::{Composer, Sent};
use super::detail::Detail;
use super::frames::Frames;
use super::hold::Hold;
use super::keymap::{Keymap, Resolved};
use super::logs::Logs;
use super::overlay::Overlay;
use super::render::{Job, Rendered, Slot, View};
use super::theme::Theme;
use crate::clock::Stamp;
use crate::engine::{Command, Engine, Refusal, Reply};
use crate::log::record::{Level, Seq, SessionId};
use crate::log::world::World;
use crate::log::{Log, Tail};
use crate::tape::Status;

/// Something that happened to the screen.
#[derive(Debug)]
pub enum Input {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize(u16, u16),
    /// There may be new records.
    Records,
    /// Time has passed.
    Tick,
    Replied(Purpose, Result<Reply, Refusal>),
    Rendered(Rendered),
    /// An outside editor has been left; none when it failed.
    Edited(Result<String, String>),
    /// The process was asked to end.
    Terminated,
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Effect {
    Send(Command, Purpose),
    Render(Job),
    Copy(String),
    /// Opens the person's own editor on a text.
    Editor(String),
    Quit,
}

/// What a command was for, so that its answer finds its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Only a refusal is worth a word.
    Quiet,
    /// This is said when it is done.
    Say(String),
    /// A call of the composer.
    Call(SessionId),
    /// The edit or answer of a held frame, whose text is kept until it is taken.
    Edit(Seq),
}

/// How the screen looks, chosen by the person.
#[derive(Debug, Clone)]
pub struct Look {
    pub theme: Theme,
    pub ascii: bool,
    pub colour: bool,
    /// Where themes of the person's own are.
    pub themes: Option<PathBuf>,
    /// Why the theme that was asked for is not used.
    pub complaint: Option<String>,
    /// What to do while there is nothing to look at.
    pub waiting: Option<String>,
}

/// Where things were drawn last, for the mouse and for scrolling.
#[derive(Debug, Clone, Copy, Default)]
pub struct Areas {
    pub tabs: Rect,
    pub list: Rect,
    pub detail: Rect,
}

/// The state of the screen.
pub struct App {
    pub engine: Engine,
    pub world: World,
    tail: Tail,
    pub recording: watch::Receiver<Status>,
    pub look: Look,
    pub screen: Place,
    pub before_help: Place,
    /// The detail pane has the keys.
    pub in_detail: bool,
    pub zoomed: bool,
    pub(super) frames: Frames,
    pub(super) detail: Detail,
    pub(super) hold: Hold,
    pub(super) composer: Composer,
    pub(super) reply: Detail,
    pub(super) logs: Logs,
    pub(super) help_top: usize,
    pub(super) overlay: Option<Overlay>,
    pub(super) keymap: Keymap,
    pub toast: Option<(String, Level, Stamp)>,
    pub areas: Areas,
    pub size: (u16, u16),
    /// What is held is to be dropped at the end, not released.
    pub drops_held: bool,
    /// Ctrl-c was pressed once.
    pub(super) leaving: bool,
    /// The session whose server's end was announced last.
    pub(super) mourned: Option<SessionId>,
    /// Notes that were looked at for warnings.
    warned: usize,
    /// The question that was opened by itself.
    pub(super) offered_ask: Option<Seq>,
    effects: Vec<Effect>,
    changed: bool,
}

/// How long a toast stays.
const TOAST: Duration = Duration::from_secs(4);
/// Records folded in at once, so that a flood does not stop the keys.
const FOLD: usize = 20_000;

impl App {
    /// A screen on a running engine.
    pub fn new(engine: Engine, recording: watch::Receiver<Status>, look: Look, size: (u16, u16)) -> Self {
        let tail = engine.log().tail(1);
        let toast = look.complaint.clone().map(|text| (text, Level::Warning, engine.log().clock().now()));
        Self {
            engine,
            world: World::default(),
            tail,
            recording,
            look,
            screen: Place::Frames,
            before_help: Place::Frames,
            in_detail: false,
            zoomed: false,
            frames: Frames::new(),
            detail: Detail::new(Slot::Detail, View::Tree),
            hold: Hold::default(),
            composer: Composer::default(),
            reply: Detail::new(Slot::Reply, View::Pretty),
            logs: Logs::default(),
            help_top: 0,
            overlay: None,
            keymap: Keymap::default(),
            toast,
            areas: Areas::default(),
            size,
            drops_held: false,
            leaving: false,
            mourned: None,
            warned: 0,
            offered_ask: None,
            effects: Vec::new(),
            changed: true,
        }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn update(&mut self, input: Input) -> Vec<Effect> {
        self.changed = true;
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Input::Key(_) => self.changed = false,
            Input::Mouse(mouse) => self.mouse(mouse),
            Input::Paste(text) => self.paste(&text),
            Input::Resize(width, height) => self.size = (width, height),
            Input::Records => self.records(),
            Input::Tick => self.tick(),
            Input::Replied(purpose, reply) => self.replied(purpose, reply),
            Input::Rendered(rendered) => match rendered.slot {
                Slot::Detail => self.detail.take(rendered),
                Slot::Held => self.hold.detail.take(rendered),
                Slot::Reply => self.reply.take(rendered),
            },
            Input::Edited(text) => self.edited(text),
            Input::Terminated => self.effects.push(Effect::Quit),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// Whether anything changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn log(&self) -> &std::sync::Arc<Log> {
        self.engine.log()
    }

    pub fn now(&self) -> Stamp {
        self.log().clock().now()
    }

    /// How many records the view is behind the log.
    pub fn behind(&self) -> u64 {
        self.tail.behind()
    }

    /// Whether something on the screen moves by itself: a timer of something held or pending.
    pub fn is_ticking(&self) -> bool {
        self.toast.is_some() || !self.world.held.is_empty() || self.world.is_waiting()
    }

    /// The place whose keys apply.
    pub fn place(&self) -> Place {
        match self.screen {
            Place::Frames if self.in_detail => Place::Detail,
            screen => screen,
        }
    }

    /// Whether keys are text in an editor of this screen.
    pub fn is_inserting(&self) -> bool {
        match self.screen {
            Place::Intercept => self.hold.editing.as_ref().is_some_and(|editing| editing.inserting),
            Place::Compose => {
                use super::composer::{Draft, Focus};
                self.composer.focus == Focus::Draft
                    && matches!(
                        self.composer.draft,
                        Some(Draft::Message { .. } | Draft::Call { as_json: true, .. })
                    )
            }
            _ => false,
        }
    }

    /// The session that new messages go to: that of the selected frame, else the newest open one.
    pub fn session(&self) -> Option<SessionId> {
        let selected = self.frames.selected().and_then(|seq| self.world.row(seq)).map(|row| row.session);
        let open =
            |id: &SessionId| self.world.sessions.get(id).is_some_and(|session| session.closed.is_none());
        let newest =
            || self.world.sessions.values().rev().find(|session| session.closed.is_none()).map(|s| s.id);
        selected.filter(open).or_else(newest).or(selected)
    }

    /// The frame under the cursor of the list.
    pub fn frames_selected(&self) -> Option<Seq> {
        self.frames.selected()
    }

    /// The frame on line `at` of the list.
    pub fn frame_at(&self, at: usize) -> Option<Seq> {
        self.frames.lines.get(at).map(|line| line.seq)
    }

    /// Rows of the list that fit on the screen.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas.list.height).max(1)
    }

    /// Rows of the detail pane that fit on the screen.
    pub fn detail_height(&self) -> usize {
        usize::from(self.areas.detail.height).max(1)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn render(&mut self, job: Option<Job>) {
        self.effects.extend(job.map(Effect::Render));
    }

    pub(super) fn send(&mut self, command: Command, purpose: Purpose) {
        self.effects.push(Effect::Send(command, purpose));
    }

    /// Says something in one line, for a while.
    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        self.toast = Some((text.into(), level, self.now()));
    }

    fn key(&mut self, key: KeyEvent) {
        if self.text_key(key) {
            return;
        }
        let place = self.place();
        match self.keymap.press(place, Chord::from(key)) {
            Resolved::Command(command) => self.run(command),
            Resolved::Pending | Resolved::Nothing => {}
        }
    }

    fn records(&mut self) {
        let log = std::sync::Arc::clone(self.engine.log());
        let mut left = FOLD;
        while left > 0 {
            let records = self.tail.read(left.min(1024));
            if records.is_empty() {
                break;
            }
            left -= records.len();
            records.iter().for_each(|record| self.world.apply(record));
        }
        let touched = std::mem::take(&mut self.world.touched);
        let height = self.list_height();
        self.frames.sync(&self.world, &log, &touched, height);
        self.logs.sync(&self.world);
        self.warn();
        self.mourn();
    }

    /// Says what the engine warns of: a tape that fails, a lane that stopped reading.
    fn warn(&mut self) {
        let unseen = &self.world.notes[self.warned.min(self.world.notes.len())..];
        let warning = unseen.iter().rev().find(|(_, _, _, note)| note.level > Level::Info);
        let warning = warning.map(|(_, _, _, note)| (note.level, note.text.clone()));
        self.warned = self.world.notes.len();
        if let Some((level, text)) = warning {
            self.say(level, text);
        }
    }

    /// Says when a server has ended, since clients tend to hide exactly this.
    fn mourn(&mut self) {
        let Some(session) = self.world.sessions.values().next_back() else { return };
        let Some(closed) = &session.closed else { return };
        if self.mourned == Some(session.id) {
            return;
        }
        let how =
            closed.exit.map_or_else(|| closed.reason.clone(), |exit| format!("{}: {exit}", closed.reason));
        let next = match session.opened.pid {
            Some(_) => ". 9 shows its stderr, Space s r starts it again",
            None => "",
        };
        let text = format!("{}: {how}{next}", session.opened.name);
        self.mourned = Some(session.id);
        self.say(Level::Warning, text);
    }

    fn tick(&mut self) {
        self.changed = self.is_ticking();
        if let Some((_, _, since)) = self.toast
            && self.now().since(since) > TOAST
        {
            self.toast = None;
        }
    }

    fn replied(&mut self, purpose: Purpose, reply: Result<Reply, Refusal>) {
        match (purpose, reply) {
            (_, Err(refusal)) => self.say(Level::Warning, refusal.to_string()),
            (Purpose::Edit(seq), Ok(_)) => {
                if self.hold.editing.as_ref().is_some_and(|editing| editing.frame == seq) {
                    self.hold.editing = None;
                }
            }
            (Purpose::Call(session), Ok(Reply::Called(id))) => {
                self.composer.sent = Some(Sent::Id(session, id))
            }
            (Purpose::Call(_), Ok(Reply::Frame(seq))) => self.composer.sent = Some(Sent::Frame(seq)),
            (Purpose::Say(text), Ok(_)) => self.say(Level::Info, text),
            (Purpose::Quiet | Purpose::Call(_), Ok(_)) => {}
        }
    }

    /// Brings in line what follows from the rest of the state.
    fn settle(&mut self) {
        let log = std::sync::Arc::clone(self.engine.log());
        let height = self.list_height();
        self.frames.reveal(height);
        let shown = self.frames.selected();
        let job = self.detail.show(shown, &log);
        self.render(job);
        let width = usize::from(self.areas.detail.width).max(20);
        let job = self.detail.resize(width, &log);
        self.render(job);
        let job = self.hold.settle(&self.world, &log, width);
        self.render(job);
        if self.screen == Place::Compose {
            self.composer.refresh(&self.world, &log);
            let reply = self.composer.reply(&self.world, &log);
            let job = self.reply.show(reply, &log);
            self.render(job);
            let job = self.reply.resize(width, &log);
            self.render(job);
            let asked = self.world.asked.last().copied();
            if self.overlay.is_none() && asked.is_some() && asked != self.offered_ask {
                self.offered_ask = asked;
                self.open_ask();
            }
        }
        // A question that was answered elsewhere, or taken back, is not asked any more.
        if let Some(Overlay::Ask(ask)) = &self.overlay
            && !self.world.asked.contains(&ask.frame)
        {
            self.overlay = None;
        }
    }

    /// Opens the newest question of a server to our own client.
    pub(super) fn open_ask(&mut self) {
        let own = |seq: &&Seq| {
            let session = self.world.row(**seq).and_then(|row| self.world.sessions.get(&row.session));
            session.is_some_and(|session| session.opened.own_client)
        };
        let Some(seq) = self.world.asked.iter().rev().find(own).copied() else {
            self.say(Level::Info, "no server is asking anything");
            return;
        };
        let Some(record) = self.log().get(seq) else { return };
        let root =
            self.world.sessions.get(&record.session).and_then(|session| session.opened.directory.clone());
        let ask =
            record.frame().and_then(|frame| Ask::new(record.session, seq, frame, &root.unwrap_or_default()));
        self.overlay = ask.map(|ask| Overlay::Ask(Box::new(ask)));
    }
}
